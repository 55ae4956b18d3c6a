"""Whether the order of psi's settings depends on the step size: all at one zeta, and each at its own."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from safari_bench.ablation.components import BOTH, NAMES, named
from safari_bench.ablation.effects import interval

__all__ = ["OBJECTIVE", "chosen", "pairs"]

#: what the best zeta is best in.
OBJECTIVE = "haarpsi"
_SHOWN = (OBJECTIVE, "psnr")


def chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """The best zeta of every named setting, by mean HaarPSI; nothing where zeta or the settings do not vary.

    Returns:
        Columns dataset, task, setting, zeta, mean, best, edge, shared: one row per zeta; shared marks the zeta that is
        best for spatial and frequency, which is how conf/tuned chooses it.
    """
    found: list[tuple[Any, ...]] = []
    for place, scores in _scores(frame):
        means = scores[OBJECTIVE].mean().unstack("zeta")
        shared = means.loc[BOTH].idxmax()
        for setting in means.index:
            best = means.loc[setting].idxmax()
            for zeta, mean in means.loc[setting].items():
                edge = zeta == best and zeta in (means.columns[0], means.columns[-1])
                found.append((*place, setting, zeta, mean, zeta == best, edge, zeta == shared))
    return pd.DataFrame(found, columns=["dataset", "task", "setting", "zeta", "mean", "best", "edge", "shared"])


def pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """Every setting less every other, per image, at the shared zeta and each at its own.

    A setting's own zeta for an image is the best on the other images, so that no image chooses for itself.

    Returns:
        Columns dataset, task, response, steps ("shared" or "own"), one, other, images, difference, ci_low, ci_high.
    """
    found: list[tuple[Any, ...]] = []
    for place, scores in _scores(frame):
        objective = scores[OBJECTIVE]
        shared: Any = objective.mean().unstack("zeta").loc[BOTH].idxmax()
        for response in scores:
            at = {
                "shared": scores[response].xs(shared, axis=1, level="zeta"),
                "own": _at_own(scores[response], objective),
            }
            for steps, table in at.items():
                for one, other in combinations(table.columns, 2):
                    difference = (table[one] - table[other]).to_numpy()
                    found.append((*place, response, steps, one, other, len(table), *interval(difference)))
    columns = ["dataset", "task", "response", "steps", "one", "other", "images", "difference", "ci_low", "ci_high"]
    return pd.DataFrame(found, columns=columns)


def _at_own(scores: pd.DataFrame, objective: pd.DataFrame) -> pd.DataFrame:
    """Images x settings, each image at the zeta that is best on the other images."""
    others = (objective.sum() - objective) / (len(objective) - 1)  # mean over the other images
    columns = {}
    for setting in scores.columns.unique("setting"):
        best = others[setting].to_numpy().argmax(axis=1)
        columns[setting] = scores[setting].to_numpy()[np.arange(len(scores)), best]
    return pd.DataFrame(columns, index=scores.index)


def _scores(frame: pd.DataFrame) -> Iterator[tuple[tuple[str, str], dict[str, pd.DataFrame]]]:
    """(dataset, task), response -> images x (setting, zeta), for tasks where both vary and nothing is missing."""
    shown = [name for name in _SHOWN if name in frame]
    for (dataset, task), group in frame.groupby(["dataset", "task"], sort=False):
        if OBJECTIVE not in shown:
            return
        called: list[Any] = [named(row) for row in group.itertuples()]
        rows = group.assign(setting=called)
        places = rows.groupby(["setting", "zeta", "image_id"], dropna=False).size()
        full = rows.setting.nunique() * rows.zeta.nunique() * rows.image_id.nunique()
        if rows.zeta.nunique() < 2 or rows.image_id.nunique() < 2 or BOTH not in set(rows.setting):
            continue
        if rows.setting.isna().any() or (places != 1).any() or len(places) != full:
            continue
        order = [name for name in (BOTH, *NAMES.values()) if name in set(rows.setting)]
        columns = pd.MultiIndex.from_product(
            [list(dict.fromkeys(order)), sorted(rows.zeta.unique())], names=["setting", "zeta"]
        )
        yield (
            (str(dataset), str(task)),
            {
                key: rows.pivot(index="image_id", columns=["setting", "zeta"], values=key).reindex(columns=columns)
                for key in shown
            },
        )
