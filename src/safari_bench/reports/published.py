"""What papers report, beside what was measured: values of the same protocol, and the others with why they differ.

published_results.csv holds facts copied from the tables of papers and project pages, each with its source, number of
images, noise level with its unit, task detail and, where stated, calls of the network.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from safari_bench.reports.records import Line
from safari_bench.reports.registered import published_name
from safari_bench.reports.templates import fill
from safari_bench.reports.vocabulary import METRICS

__all__ = ["Comparison", "compare", "published", "render_published", "same_protocol"]

#: methods that share a name with what is here, and what sets them apart
_OTHERWISE = {
    "PnP-ADMM": "a DnCNN denoises there, the diffusion prior here",
    "ADMM-TV": "another solver and weight of total variation there",
}
_REFLECT, _CIRCULAR = {"boundary": "reflect"}, {"boundary": "circular"}
_MOTION = {"class": "MotionBlur", "taps": 61, "intensity": 0.5}
#: task detail as published -> the operator here that does that. None: no operator here does.
_DETAILS: dict[str, dict[str, Any] | None] = {
    "antialiased bicubic x4": {"class": "BicubicDownsample", "factor": 4},
    "bicubic x4": {"class": "BicubicDownsample", "factor": 4},
    "128x128 hole": {"class": "BoxInpainting", "hole": 128, "margin": 16},
    "92% removed": {"class": "RandomInpainting", "fraction": 0.92},
    "70% removed": {"class": "RandomInpainting", "fraction": 0.7},
    "61x61 std 3.0": {"class": "GaussianBlur", "taps": 61, "std": 3.0, **_REFLECT},
    "61x61, std 3-9 per image, circular": None,
    "61x61 intensity 0.5": {**_MOTION, **_REFLECT},  # the released code of DPS pads by reflection
    "61x61 intensity 0.5, circular": {**_MOTION, **_CIRCULAR},
}
_UNITS = {"minus_one_one": "[-1, 1]", "zero_one": "[0, 1]"}


@dataclass(frozen=True)
class Comparison:
    """One published value beside one line of the table.

    Attributes:
        row: of published_results.csv.
        label: the line's; "" if nothing here is that method on that dataset and kind of task.
        task: the line's.
        here: the measured value, NaN if there is none.
        reasons: in what the protocols differ; empty if in nothing that is known.
    """

    row: Mapping[str, Any]
    label: str
    task: str
    here: float
    reasons: tuple[str, ...]


@lru_cache(maxsize=1)
def published() -> pd.DataFrame:
    """The facts, one row per value; sigma, value, n_images and nfe are numbers, nfe NaN where it is not stated."""
    return pd.read_csv(Path(__file__).parent / "published_results.csv")


def compare(lines: Sequence[Line], table: pd.DataFrame) -> list[Comparison]:
    """Every published value with the line it is nearest to in protocol; all lines to which it is equal.

    Args:
        lines: as `records.lines` gives them.
        table: their `statistics.summary`.
    """
    found: list[Comparison] = []
    for fact in published().to_dict("records"):
        row = {str(name): value for name, value in fact.items()}
        pairs = [_pair(row, line, table) for line in lines if _comparable(line, row)]
        same = [pair for pair in pairs if not pair.reasons]
        nearest = sorted(pairs, key=lambda pair: len(pair.reasons))[:1]
        found += same or nearest or [Comparison(row, "", "", math.nan, ("not measured here",))]
    return found


def render_published(lines: Sequence[Line], table: pd.DataFrame, *, everything: bool = False) -> str:
    """Published values of the same protocol beside the measured ones, in Markdown; "" if there are none.

    Args:
        everything: also those of another protocol, each with what differs.
    """
    found = compare(lines, table)
    same = [_beside(pair) for pair in found if not pair.reasons]
    others = [
        [*_described(pair.row, "method"), pair.row["source"], "; ".join(pair.reasons)] for pair in found if pair.reasons
    ]
    return fill("published.md.j2", {"pipe": _table}, same=same, others=others if everything else [])


def same_protocol(lines: Sequence[Line], table: pd.DataFrame) -> pd.DataFrame:
    """Every measured value that published ones of the same protocol stand beside, one row for each of those."""
    columns = ["dataset", "task", "sampler", "metric", "n_images", "here", "published", "difference", "source"]
    rows = []
    for pair in compare(lines, table):
        if not pair.reasons:
            row, value = pair.row, float(pair.row["value"])
            head = [row["dataset"], pair.task, pair.label, row["metric"], row["n_images"]]
            rows.append([*head, pair.here, value, pair.here - value, row["source"]])
    return pd.DataFrame(rows, columns=columns)


def _table(rows: Sequence[Sequence[str]], head: str) -> str:
    return tabulate(rows, head.split("|"), tablefmt="pipe", disable_numparse=True)


def _beside(pair: Comparison) -> list[str]:
    m = METRICS[pair.row["metric"]]
    values = [m.text(pair.here), f"{pair.row['value']:g}", f"{pair.here - pair.row['value']:+.{m.digits}f}"]
    return [pair.row["dataset"], pair.task, pair.label, m.title, *values, pair.row["source"]]


def _described(row: Mapping[str, Any], *names: str) -> list[str]:
    task = f"{row['task']} ({row['task_detail']})"
    return [row["dataset"], task, *(row[name] for name in names), row["metric"], f"{row['value']:g}"]


def _comparable(line: Line, row: Mapping[str, Any]) -> bool:
    """Whether a line is of the published value's method, dataset and kind of task."""
    if published_name(line.first.sampler) != row["method"]:
        return False
    return bool(line.first.dataset == row["dataset"] and line.first.task.startswith(row["task"]))


def _pair(row: Mapping[str, Any], line: Line, table: pd.DataFrame) -> Comparison:
    first = line.first
    chosen = table[(table.dataset == first.dataset) & (table.task == first.heading)]
    chosen = chosen[(chosen.sampler == first.label) & (chosen.metric == row["metric"])]
    n = int(chosen.n.iloc[0]) if len(chosen) else 0
    here = float(chosen["mean"].iloc[0]) if len(chosen) else math.nan
    reasons = [*_of_images(row, first.spec), *_of_task(row, first.spec["task"])]
    if row["method"] in _OTHERWISE:
        reasons.append(_OTHERWISE[row["method"]])
    if n == 0:
        reasons.append(f"no {row['metric']} here")
    elif n != row["n_images"]:
        reasons.append(f"{n} images here, {row['n_images']} there")
    calls = line.rows["nfe"].mean() if "nfe" in line.rows else math.nan
    if math.isfinite(row["nfe"]) and math.isfinite(calls) and calls != row["nfe"]:
        reasons.append(f"{calls:g} calls of the network here, {row['nfe']:g} there")
    return Comparison(row, first.label, first.heading, here, tuple(reasons))


def _of_images(row: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    """In what images and prior differ."""
    dataset, prior = spec.get("dataset", {}), spec.get("prior", {}).get("name", "none")
    wanted = {"size": [256, 256], "split": "validation"}
    differing = [f"{k} {dataset.get(k)} here, {v} there" for k, v in wanted.items() if dataset.get(k) != v]
    if prior not in (f"{row['dataset']}256", "none"):
        differing.append(f"prior {prior} here, that of {row['dataset']}256 there")
    return differing


def _of_task(row: Mapping[str, Any], task: Mapping[str, Any]) -> list[str]:
    """In what operator and noise differ."""
    operator = dict(task.get("operator", {}))
    operator["class"] = str(operator.get("_target_", "")).rpartition(".")[2]
    if operator["class"] == "MotionBlur":
        operator.setdefault("boundary", "circular")  # by an FFT, see operators.motion
    wanted = _DETAILS[row["task_detail"]]
    if wanted is None:
        reasons = [f"no operator here is {row['task_detail']!r}"]
    else:
        reasons = [f"{k} {operator.get(k)} here, {v} there" for k, v in wanted.items() if operator.get(k) != v]
    law, level, unit = task.get("noise", "gaussian"), task.get("sigma"), str(task.get("sigma_range"))
    if (law, level, unit) != ("gaussian", row["sigma"], row["sigma_range"]):
        there = f"{row['sigma']} on {_UNITS[row['sigma_range']]}"
        reasons.append(f"{law} noise of {level} on {_UNITS.get(unit, unit)} here, gaussian of {there} there")
    return reasons
