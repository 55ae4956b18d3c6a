"""Means and intervals -> a table for people."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd
from tabulate import tabulate

from safari_bench.tables.records import Line
from safari_bench.tables.statistics import RESAMPLES
from safari_bench.tables.vocabulary import FACTS, HEADLINE, NOTHING, Metric, metric

__all__ = ["render"]

_RANGES = {"minus_one_one": "[-1, 1]", "zero_one": "[0, 1]"}
_LAWS = {"rate": "poisson", "fraction": "salt_pepper", "quality": "jpeg", "bits": "quantization"}


def render(name: str, lines: Sequence[Line], table: pd.DataFrame, *, legend: bool = True) -> str:
    """The tables of a run, in Markdown that also reads well in a terminal.

    Args:
        name: the run's.
        lines: as `records.lines` gives them.
        table: their `statistics.summary`.
        legend: whether to end with a line for every column.
    """
    parts = [f"# {name}"]
    for dataset, of_dataset in groupby(lines, key=lambda line: line.first.dataset):
        members = list(of_dataset)
        parts += [f"## {dataset}", _caption(members), *_overview(members, table[table.dataset == dataset])]
        for task, of_task in groupby(members, key=lambda line: line.first.task):
            chosen = table[(table.dataset == dataset) & (table.task == task)]
            group = list(of_task)
            parts += [f"### {task}, {_noise(group[0].first.spec['task'])}", *_block(group, chosen)]
    if legend:
        parts += ["## How to read this", _legend(list(dict.fromkeys(table.metric)))]
    return "\n\n".join(parts) + "\n"


def _caption(lines: Sequence[Line]) -> str:
    records = [record for line in lines for record in line.records]
    said = {
        "images": [str(len(lines[0].ids))],
        "prior": [name for name in _distinct(r.spec.get("prior", {}).get("name") for r in records) if name != "none"],
        "seed": _distinct(r.spec.get("seed") for r in records),
        "precision": _distinct(r.spec.get("precision") for r in records),
        "computed on": _distinct(_machine(r.run.get("machine", {})) for r in records),
    }
    for key in dict.fromkeys(key for r in records for key in r.run.get("caption", {})):
        said[key] = _distinct(r.run.get("caption", {}).get(key) for r in records)
    text = " · ".join(f"{key}: {', '.join(values)}" for key, values in said.items() if values)
    odd = _differing_measurements(records)
    warning = f"**{odd} measurements differ between samplers: the scores of those images do not compare.**"
    return f"{text}\n\n{warning}" if odd else text


def _machine(machine: Mapping[str, Any]) -> str | None:
    return machine.get("processor") if machine.get("device") in (None, "cpu") else machine["device"]


def _distinct(values: Any) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _differing_measurements(records: Sequence[Any]) -> int:
    """How many (task, seed, image) were not seen as the same y by every sampler."""
    rows = pd.concat([r.rows for r in records], ignore_index=True)
    rows = rows[rows.y_sha256 != ""]
    return int((rows.groupby(["task", "seed", "image_id"]).y_sha256.nunique() > 1).sum())


def _noise(task: Mapping[str, Any]) -> str:
    law = task.get("noise", "gaussian")
    if law in ("gaussian", "speckle"):
        sigma = task.get("sigma")
        scale = _RANGES.get(str(task.get("sigma_range")), str(task.get("sigma_range")))
        return f"{law} noise of sigma {sigma:g} on {scale}" if sigma else "no noise"
    said = [f" {key} {task[key]:g}" for key, owner in _LAWS.items() if owner == law and key in task]
    return f"{law} noise{''.join(said)}" if law not in (None, "none") else "no noise"


def _overview(lines: Sequence[Line], table: pd.DataFrame) -> list[str]:
    """The headline scores of every sampler on every task; nothing if there is one task only."""
    tasks = list(dict.fromkeys(line.first.task for line in lines))
    headline = [metric(name) for name in HEADLINE if name in set(table.metric)]
    if len(tasks) < 2 or not headline:
        return []
    labels = list(dict.fromkeys(line.first.label for line in lines))
    numbers: dict[tuple[Any, ...], Any] = {(f.task, f.sampler, f.metric): f for f in table.itertuples()}
    by_place = {(line.first.task, line.first.label): line for line in lines}
    columns = []
    for task in tasks:
        present = [label for label in labels if (task, label) in by_place]
        parts = [[_cell(by_place[task, label], m, numbers[task, label, m.name]) for m in headline] for label in present]
        parts = [[text.split(" ")[0] for text in texts] for texts in parts]  # intervals stand in the task's own table
        for place, m in enumerate(headline):
            _embolden(parts, place, m, [numbers[task, label, m.name] for label in present])
        columns.append(dict(zip(present, (" / ".join(dict.fromkeys(texts)) for texts in parts), strict=True)))
    cells = [[label.replace("|", "\\|"), *(column.get(label, NOTHING) for column in columns)] for label in labels]
    text = tabulate(
        cells,
        headers=["sampler", *tasks],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left", *["right"] * len(tasks)],
    )
    return [f"### All tasks: {' / '.join(m.heading for m in headline)}", text]


def _block(lines: Sequence[Line], table: pd.DataFrame) -> list[str]:
    """The table of one task, and its notes."""
    metrics = [metric(name) for name in dict.fromkeys(table.metric)]
    numbers: dict[tuple[Any, Any], Any] = {(found.sampler, found.metric): found for found in table.itertuples()}
    notes: dict[str, int] = {}
    cells = []
    for line in lines:
        marks = [f"({notes.setdefault(note, len(notes) + 1)})" for note in _notes(line)]
        label = " ".join([line.first.label, *marks]).replace("|", "\\|")
        cells.append([label, *(_cell(line, m, numbers[line.first.label, m.name]) for m in metrics)])
    for column, m in enumerate(metrics, start=1):
        _embolden(cells, column, m, [numbers[line.first.label, m.name] for line in lines])
    text = tabulate(
        cells,
        headers=["sampler", *(m.heading for m in metrics)],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left", *["right"] * len(metrics)],
    )
    return [text, *(["\n".join(f"- ({n}) {note}" for note, n in notes.items())] if notes else [])]


def _cell(line: Line, m: Metric, found: Any) -> str:
    if found.n == 0:
        status = set(line.rows.status)
        if status == {"unsupported"}:
            return "n/s"
        return "failed" if "failed" in status and "ok" not in status else NOTHING
    text = f"{found.mean:z.{m.digits}f}"
    half = (found.ci_high - found.ci_low) / 2
    return f"{text} ± {half:.{m.digits}f}" if m.interval and math.isfinite(half) else text


def _embolden(cells: list[list[str]], column: int, m: Metric, found: Sequence[Any]) -> None:
    """Marks the best value of a column, among lines that were scored on equally many images."""
    most = max(f.n for f in found)
    losses = [m.loss(round(f.mean, m.digits)) if f.n == most else math.nan for f in found]
    best = min((loss for loss in losses if math.isfinite(loss)), default=None)
    for cell, loss in zip(cells, losses, strict=True):
        if loss == best and len(cells) > 1:
            cell[column] = f"**{cell[column]}**"


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
    notes += [note for fact, note in FACTS.items() if fact in rows and (rows[fact] == 0).any()]
    if len(line.records) > 1:
        notes.append(f"mean of {len(line.records)} seeds per image")
    return notes


def _one_line(reason: str) -> str:
    """The last line that says something, which in a traceback is the one that matters."""
    said = [" ".join(line.split()) for line in reason.splitlines() if line.strip()]
    return said[-1][:300] if said else "no reason given"


def _legend(names: Sequence[str]) -> str:
    known = [metric(name) for name in names]
    lines = [f"- {m.heading}: {m.meaning}" for m in known]
    lines += [
        "- ↑ higher is better, ↓ lower is better, → nearer to that number is better",
        "- **bold**: the best of a column, among lines scored on equally many images",
        f"- ±: half the 95 % bootstrap interval of the mean over images, {RESAMPLES} resamples; both ends: table1.csv",
        f"- n/s: not supported, failed: no image worked, {NOTHING}: not computed or not finite",
        "- without the diffusion prior: degraded (the measurement as a picture), tv (total variation), biharmonic "
        "(holes filled from their rims), wiener (the posterior mean under a stationary Gaussian)",
    ]
    return "\n".join(lines)
