"""Which setting prevents which failure: less of it than another setting shows on the same images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from safari_bench.ablation.components import NOTHING, PIXEL, names
from safari_bench.ablation.effects import interval
from safari_bench.ablation.frame import FAILURES, failing

__all__ = ["failures"]

_PRIOR_ALONE = NOTHING, "unconditional"


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """The change per image of every failure, each setting against a plain one.

    Plain is no conditioning (the sampler unconditional), and the pixel residual alone (the sampler dps), as far as a
    task has them. Nothing for tasks whose settings of psi have no names, such as a factorial's.

    Args:
        frame: as `load_study` gives it.

    Returns:
        Columns dataset, task, failure, setting, against, images, change, ci_low, ci_high: negative is less of the
        failure; the interval is Student's, 95 %, over images.
    """
    found: list[tuple[Any, ...]] = []
    for (dataset, task), group in failing(frame).groupby(["dataset", "task"], sort=False):
        called = _called(group)
        if called:
            rows = group.assign(setting=group.label.map(called))
            found += [(dataset, task, *row) for row in _of_task(rows, list(called.values()))]
    columns = ["dataset", "task", "failure", "setting", "against", "images", "change", "ci_low", "ci_high"]
    return pd.DataFrame(found, columns=columns)


def _called(group: pd.DataFrame) -> dict[str, str]:
    """Label -> what a setting is called: psi's by its parts, a method by its name."""
    if group.spatial.notna().all():
        return names(group)
    return {str(label): str(label) for label in group.label.unique()}


def _of_task(rows: pd.DataFrame, settings: list[str]) -> Iterator[tuple[Any, ...]]:
    for failure in (name for name in FAILURES if name in rows):
        table = rows.pivot(index="image_id", columns="setting", values=failure)
        for against in (*_PRIOR_ALONE, PIXEL, "dps"):
            for setting in settings if against in settings else []:
                difference = (table[setting] - table[against]).to_numpy()
                if setting not in (against, *_PRIOR_ALONE) and np.isfinite(difference).all():
                    yield failure, setting, against, len(difference), *interval(difference)
