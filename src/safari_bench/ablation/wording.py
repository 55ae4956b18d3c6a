"""How a study says a number, and how often something holds over tasks."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from safari_bench.ablation.frame import RESPONSES

__all__ = ["bare", "caveat", "heads", "judged", "level", "mean_cell", "number", "side", "step_caveat", "table", "tally"]

_DIGITS = {"dB": 2, "": 3}


def number(value: float, unit: str) -> str:
    """Without sign or unit."""
    return f"{value:.{_DIGITS[unit]}f}"


def judged(value: float, low: float, high: float, unit: str) -> str:
    """A difference with its interval, so that one sees on which side of zero it is."""
    digits = _DIGITS[unit]
    ends = f"[{low:+.{digits}f}, {high:+.{digits}f}]" if math.isfinite(low) else "no interval"
    return f"{value:+.{digits}f}{' ' + unit if unit else ''} {ends}"


def bare(value: float, row: Any) -> str:
    """As `judged`, without the unit, which stands in the head of the column."""
    return judged(value, row.ci_low, row.ci_high, RESPONSES[row.response][1]).replace(" dB", "")


def side(row: Any) -> int:
    """1 or -1 where the interval lies above or below zero, 0 where it does not, or is missing."""
    return int(row.ci_low > 0) - int(row.ci_high < 0)


def tally(rows: Sequence[Any], words: tuple[str, str]) -> str:
    """On how many tasks a difference lies above and below zero, and its range.

    Args:
        rows: one per task, with value, ci_low, ci_high and response.
        words: what a value above zero is called, and one below.
    """
    sides = [side(row) for row in rows]
    unit = RESPONSES[rows[0].response][1]
    ends = [f"{end:+.{_DIGITS[unit]}f}" for end in (min(r.value for r in rows), max(r.value for r in rows))]
    said = f"{words[0]} on {sides.count(1)}, {words[1]} on {sides.count(-1)}, not distinguishable on {sides.count(0)}"
    return f"{said} of {len(rows)} tasks (from {ends[0]} to {ends[1]}{' ' + unit if unit else ''})"


def level(value: Any) -> str:
    """A value of one of psi's keys."""
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def caveat(frame: pd.DataFrame) -> str:
    """What intervals over these images are worth."""
    said = "Intervals are Student's, 95 %, over images. They and the tests take images as independent"
    crops = frame.image_id[frame.dataset == "photos"].unique()
    sources = {str(image).split("-")[0] for image in crops}
    if len(sources) < len(crops):
        said += (
            f", which those of photos are not: {len(crops)} crops of {len(sources)} photographs, so that their "
            "intervals are narrower than they should be"
        )
    return said + ". Intervals are not corrected for their number."


def step_caveat(psi: pd.DataFrame) -> str | None:
    """What a comparison of settings at one step size is worth; None where there is none, or each task has several.

    Args:
        psi: as `frame.with_psi` gives it.
    """
    tasks = psi.groupby(["dataset", "task"], sort=False)
    if not len(psi) or tasks.label.nunique().max() < 2 or tasks.zeta.nunique().max() > 1:
        return None
    first: list[Any] = list(tasks.zeta.first().reset_index().itertuples())
    zetas = ", ".join(f"{row.task} {level(row.zeta)}" for row in first)
    return (
        f"All settings of a task have one zeta ({zetas}). L is a sum over the parts of psi, so that more parts or "
        "larger weights also take larger steps, and a difference between settings here is one of step size too: "
        "results/ablation_zeta shows how much that can be."
    )


def heads() -> list[str]:
    """Heads of columns, one per response."""
    return [f"{heading}, {unit}" if unit else heading for heading, unit in RESPONSES.values()]


def mean_cell(row: Any) -> str:
    """A mean and half of its interval; row as `components.means` gives it."""
    unit = RESPONSES[row.response][1]
    half = (row.ci_high - row.ci_low) / 2
    return number(row.mean, unit) + (f" ± {number(half, unit)}" if math.isfinite(half) else "")


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table under a heading."""
    return f"### {title}\n\n" + tabulate(list(rows), headers=head, tablefmt="pipe", disable_numparse=True)
