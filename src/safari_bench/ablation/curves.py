"""Along one key of psi: the change per image from its first level, and which levels are best."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from safari_bench.ablation.effects import interval
from safari_bench.ablation.frame import FAILURES, failing, responses, varied

__all__ = ["best_levels", "changes", "curve_key"]


def curve_key(frame: pd.DataFrame) -> str | None:
    """The one key that varies, at one step size a task; None if several do."""
    keys = varied(frame)
    steps = frame.groupby(["dataset", "task"]).zeta.nunique().max() if len(frame) else 0
    return keys[0] if len(keys) == 1 and steps <= 1 else None


def changes(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """Every response at every level: mean, and the change per image from the lowest level with its 95 % interval.

    Args:
        frame: as `load_study` gives it, with one key that varies.
        key: as `curve_key` gives it.

    Returns:
        Columns dataset, task, response, the key, images, mean, change, ci_low, ci_high; no interval at the first level.
    """
    found: list[tuple[Any, ...]] = []
    for place, response, table in _tables(frame, key):
        first = table.iloc[:, 0].to_numpy()
        for level in table:
            values = table[level].to_numpy()
            moved = (0.0, np.nan, np.nan) if level == table.columns[0] else interval(values - first)
            found.append((*place, response, level, len(values), float(values.mean()), *moved))
    columns = ["dataset", "task", "response", key, "images", "mean", "change", "ci_low", "ci_high"]
    return pd.DataFrame(found, columns=columns)


def best_levels(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """The best level of every response against each of the others, per image.

    Best is the highest mean of PSNR and HaarPSI, and the least of each failure (`frame.failing`), so that an advantage
    is better in every row.

    Returns:
        Columns dataset, task, response, best, other, images, advantage, ci_low, ci_high.
    """
    found: list[tuple[Any, ...]] = []
    for place, response, table in _tables(failing(frame), key):
        merit = -table if response in FAILURES else table
        best = merit.mean().idxmax()
        for other in (level for level in merit.columns if level != best):
            advantage = (merit[best] - merit[other]).to_numpy()
            found.append((*place, response, best, other, len(advantage), *interval(advantage)))
    columns = ["dataset", "task", "response", "best", "other", "images", "advantage", "ci_low", "ci_high"]
    return pd.DataFrame(found, columns=columns)


def _tables(frame: pd.DataFrame, key: str) -> Iterator[tuple[tuple[str, str], str, pd.DataFrame]]:
    """(dataset, task), response, images x levels in order."""
    for (dataset, task), group in frame.groupby(["dataset", "task"], sort=False):
        for response in responses(frame):
            yield (str(dataset), str(task)), response, group.pivot(index="image_id", columns=key, values=response)
