"""Means, ranks and marks -> tables of text, before any markup."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

from safari_bench.reports.columns import settings_name
from safari_bench.reports.comparisons import BEST, Marks
from safari_bench.reports.records import Line, Record
from safari_bench.reports.vocabulary import FACTS, NOTHING, Metric, headline, metric

__all__ = ["Part", "Sheet", "dataset_caption", "different_measurements", "sheets"]

_RANGES = {"minus_one_one": "[-1, 1]", "zero_one": "[0, 1]"}
_LAWS = {"rate": "poisson", "fraction": "salt_pepper", "quality": "jpeg", "bits": "quantization"}


@dataclass(frozen=True)
class Part:
    """A piece of an entry's text, and its mark: BEST, LIKE_BEST or nothing."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Sheet:
    """One table.

    Args:
        head: of every column after that of the samplers.
        rows: (label, entries); an entry's parts stand side by side, with " / " between them.
        notes: numbered from 1; labels refer to them as "(1)".
    """

    dataset: str
    title: str
    head: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Sequence[Part]]]]
    notes: Sequence[str] = ()


def sheets(lines: Sequence[Line], table: pd.DataFrame, ranks: pd.DataFrame, marks: Marks) -> Iterator[Sheet]:
    """For each dataset an overview of its tasks, if there are several, and a table of every task.

    Args:
        lines: as `records.lines` gives them.
        table, ranks, marks: their `statistics.summary` and `ranks`, and `comparisons.marks`.
    """
    numbers: dict[tuple[Any, ...], Any] = {(f.dataset, f.task, f.sampler, f.metric): f for f in table.itertuples()}
    for dataset, of_dataset in groupby(lines, key=lambda line: line.first.dataset):
        members = list(of_dataset)
        yield from _overview(members, numbers, ranks[ranks.dataset == dataset], marks)
        for task, of_task in groupby(members, key=lambda line: line.first.heading):
            group = list(of_task)
            names = table.metric[(table.dataset == dataset) & (table.task == task)]
            yield _of_task(group, [metric(name) for name in dict.fromkeys(names)], numbers, marks)


def dataset_caption(lines: Sequence[Line]) -> str:
    """What the lines of one dataset have in common."""
    records = [record for line in lines for record in line.records]
    numbers = _shared(lines, lambda record: str(record.spec.get("numbers", "")))
    runs = _distinct(r.place.run_folder.resolve().name for r in records)
    said = {
        "runs": runs if len(runs) > 1 else [],
        "images": _distinct(len(line.ids) for line in lines),
        "prior": [name for name in _distinct(r.spec.get("prior", {}).get("name") for r in records) if name != "none"],
        "seed": _distinct(r.spec.get("seed") for r in records),
        "prior calls an image": _calls(records),
        "precision": _shared(lines, lambda record: str(record.spec.get("precision"))),
        "settings": _shared(lines, settings_name),
        "version of the numbers": numbers if len(numbers) > 1 else [],
        "computed on": _distinct(_machine(r.run.get("machine", {})) for r in records),
    }
    for key in dict.fromkeys(key for r in records for key in r.run.get("caption", {})):
        said[key] = _distinct(r.run.get("caption", {}).get(key) for r in records)
    return " · ".join(f"{key}: {', '.join(values)}" for key, values in said.items() if values)


def _shared(lines: Sequence[Line], said: Callable[[Record], str]) -> list[str]:
    """What is said of most cells first; of anything else, the methods."""
    methods: dict[str, list[str]] = {}
    for record in (record for line in lines for record in line.records if said(record)):
        methods.setdefault(said(record), []).append(record.sampler)
    first, *others = sorted(methods, key=lambda word: -len(methods[word])) or [""]
    return [first, *(f"{word} ({', '.join(dict.fromkeys(methods[word]))})" for word in others)] if first else []


def _calls(records: Sequence[Record]) -> list[str]:
    """The most calls of the prior that any image had, and the least, over methods that call it."""
    nfe = pd.concat([record.rows.nfe.astype(float) for record in records]).dropna()
    nfe = nfe[nfe > 0]
    if nfe.empty:
        return []
    least, most = int(nfe.min()), int(nfe.max())
    return [str(most) if least == most else f"at most {most}, at least {least}"]


def different_measurements(lines: Sequence[Line]) -> int:
    """How many (task, seed, image) were not seen as the same y by every sampler."""
    found = [r.rows.assign(task=r.heading) for line in lines for r in line.records]
    rows = pd.concat(found, ignore_index=True)
    rows = rows[rows.y_sha256 != ""]
    return int((rows.groupby(["task", "seed", "image_id"]).y_sha256.nunique() > 1).sum())


def _machine(machine: Mapping[str, Any]) -> str | None:
    return machine.get("processor") if machine.get("device") in (None, "cpu") else machine["device"]


def _distinct(values: Any) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _noise(task: Mapping[str, Any]) -> str:
    law = task.get("noise", "gaussian")
    if law in ("gaussian", "speckle"):
        sigma = task.get("sigma")
        scale = _RANGES.get(str(task.get("sigma_range")), str(task.get("sigma_range")))
        return f"{law} noise of sigma {sigma:g} on {scale}" if sigma else "no noise"
    said = [f" {key} {task[key]:g}" for key, owner in _LAWS.items() if owner == law and key in task]
    return f"{law} noise{''.join(said)}" if law not in (None, "none") else "no noise"


def _noises(lines: Sequence[Line]) -> str:
    """The noise of every task, with its unit; once if it is the same, else with the tasks it is of."""
    tasks: dict[str, list[str]] = {}
    for line in lines:
        tasks.setdefault(_noise(line.first.spec["task"]), []).append(line.first.heading)
    if len(tasks) == 1:
        return next(iter(tasks))
    return "; ".join(f"{noise} ({', '.join(dict.fromkeys(names))})" for noise, names in tasks.items())


def _overview(
    lines: Sequence[Line], numbers: Mapping[tuple[Any, ...], Any], ranks: pd.DataFrame, marks: Marks
) -> Iterator[Sheet]:
    """The headline scores of every sampler on every task, and its mean rank; nothing if there is one task only."""
    dataset = lines[0].first.dataset
    tasks = list(dict.fromkeys(line.first.heading for line in lines))
    held = Counter(key[3] for key, found in numbers.items() if key[0] == dataset and found.n)
    # a score that only some cells have compares nothing: they were scored with other weights or by another version
    shown = [metric(name) for name in headline([name for name in held if held[name] >= held["psnr"]])]
    if len(tasks) < 2 or not shown:
        return
    by_place = {(line.first.heading, line.first.label): line for line in lines}
    rows = []
    for label in dict.fromkeys(line.first.label for line in lines):
        entries = []
        for task in tasks:
            line, parts = by_place.get((task, label)), [Part(NOTHING)]
            if line is not None:
                found = [(m, numbers.get((dataset, task, label, m.name))) for m in shown]
                mark = {m.name: marks.get((dataset, task, m.name, label), "") for m in shown}
                # intervals stand in the task's own table
                parts = [Part(_value(line, m, f).split(" ")[0], mark[m.name]) for m, f in found if f is not None]
            entries.append(list(dict.fromkeys(parts)))
        rows.append((label, [*entries, _mean_ranks(ranks, label, shown)]))
    split = any(line.first.facet for line in lines)  # the headings say enough
    title = f"All tasks{'' if split else f', {_noises(lines)}'}: {' / '.join(m.heading for m in shown)}"
    yield Sheet(dataset, title, [*tasks, "mean rank"], rows)


def _mean_ranks(ranks: pd.DataFrame, label: str, shown: Sequence[Metric]) -> list[Part]:
    parts = []
    for m in shown:
        column = ranks[ranks.metric == m.name].set_index("sampler")["rank"].round(1)
        rank = float(column.get(label, math.nan))
        best = BEST if rank == column.min() and len(column) > 1 else ""
        parts.append(Part(f"{rank:.1f}" if math.isfinite(rank) else NOTHING, best))
    return list(dict.fromkeys(parts))


def _of_task(
    lines: Sequence[Line], metrics: Sequence[Metric], numbers: Mapping[tuple[Any, ...], Any], marks: Marks
) -> Sheet:
    first = lines[0].first
    place = first.dataset, first.heading
    notes: dict[str, int] = {}
    rows = []
    for line in lines:
        label = line.first.label
        numbered = [f"({notes.setdefault(note, len(notes) + 1)})" for note in _notes(line)]
        entries = [
            [Part(_value(line, m, numbers[*place, label, m.name]), marks.get((*place, m.name, label), ""))]
            for m in metrics
        ]
        rows.append((" ".join([label, *numbered]), entries))
    title = f"{first.heading}, {_noise(first.spec['task'])}"
    return Sheet(first.dataset, title, [m.heading for m in metrics], rows, list(notes))


def _value(line: Line, m: Metric, found: Any) -> str:
    if found.n == 0:
        status = set(line.rows.status)
        if status == {"unsupported"}:
            return "n/s"
        if m.learned and "ok" in status and (m.name in line.rows or m.name in line.set_scores):
            return "n/a"
        return "failed" if "failed" in status and "ok" not in status else NOTHING
    text = m.text(found.mean)
    if m.of_set:
        return f"{text} ({found.n})"
    half = (found.ci_high - found.ci_low) / 2
    text = f"{text} ± {half:.{m.digits}f}" if m.interval and math.isfinite(half) else text
    restored = line.rows.image_id[line.rows.status == "ok"].nunique()
    return text if found.n == restored else f"{text} ({found.n} of {restored} images)"


def _notes(line: Line) -> list[str]:
    """What a reader must know of a line beyond its numbers."""
    rows, notes = line.rows, []
    expected = len(line.ids) * len(line.records)
    if len(rows) < expected:
        notes.append(f"{len(rows)} of {expected} images so far")
    for status, word in (("unsupported", "n/s"), ("failed", "failed")):
        reasons = list(rows.reason[rows.status == status])
        if reasons:
            share = "" if len(reasons) == expected else f", {len(reasons)} of {expected} images"
            others = len(set(reasons)) - 1
            more = f" (and {others} other reasons, see per_image.csv)" if others else ""
            notes.append(f"{word}{share}: {_one_line(reasons[0])}{more}")
    notes += dict.fromkeys(note for record in line.records for note in record.sets.get("notes", []))
    notes += [note for fact, note in FACTS.items() if fact in rows and (rows[fact] == 0).any()]
    if len(line.records) > 1:
        notes.append(f"mean of {len(line.records)} seeds per image")
    return notes


def _one_line(reason: str) -> str:
    """The last line that says something, which in a traceback is the one that matters."""
    said = [" ".join(line.split()) for line in reason.splitlines() if line.strip()]
    return said[-1][:300] if said else "no reason given"
