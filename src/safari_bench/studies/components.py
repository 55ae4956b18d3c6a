"""What each part of psi gains alone and together, per image against no conditioning; means along one varied key."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from safari_bench.studies.effects import interval
from safari_bench.studies.frame import RESPONSES, WEIGHTS, varied
from safari_bench.tables.comparisons import holm, permutation
from safari_bench.tables.vocabulary import metric

__all__ = ["NAMES", "components", "curve_key", "means", "named"]

#: which of pixel, spatial, frequency have weight -> what that setting is called
NAMES = {
    (False, False, False): "no conditioning",
    (False, True, False): "spatial only",
    (False, False, True): "frequency only",
    (True, False, False): "pixel only (DPS)",
    (False, True, True): "spatial and frequency",
    (True, True, True): "all together",
}


def named(setting: Any) -> str | None:
    """The name of a setting with one weight for each part; None for those that have no name."""
    return NAMES.get((setting.pixel > 0, setting.spatial > 0, setting.low > 0 or setting.high > 0))


def components(frame: pd.DataFrame) -> pd.DataFrame:
    """The gain of every named setting over no conditioning, per image: mean, 95 % interval, Holm-corrected p.

    Nothing for tasks where a name has several settings, or that lack no conditioning.

    Args:
        frame: as `load_study` gives it.

    Returns:
        Columns dataset, task, response, setting, images, mean, gain, ci_low, ci_high, p_holm; the correction is over
        the settings of one response.
    """
    found: list[tuple[Any, ...]] = []
    for (dataset, task), group in frame.groupby(["dataset", "task"], sort=False):
        names = {setting.label: named(setting) for setting in group.drop_duplicates(list(WEIGHTS)).itertuples()}
        known = [name for name in names.values() if name]
        if (
            NAMES[False, False, False] not in known
            or len(set(known)) < len(known)
            or len(names) < group.label.nunique()
        ):
            continue
        for response in RESPONSES:
            table = group.assign(name=group.label.map(names)).pivot(index="image_id", columns="name", values=response)
            found += [(dataset, task, response, *row) for row in _gains(table, response)]
    columns = ["dataset", "task", "response", "setting", "images", "mean", "gain", "ci_low", "ci_high", "p_holm"]
    return pd.DataFrame(found, columns=columns)


def _gains(table: pd.DataFrame, response: str) -> Iterator[tuple[Any, ...]]:
    base = table[NAMES[False, False, False]].to_numpy()
    others = [name for name in NAMES.values() if name in table and name != NAMES[False, False, False]]
    plain = metric("psnr")  # a difference of means, whichever direction is better
    p = holm([permutation(plain, table[name].to_numpy(), base) for name in others])
    yield NAMES[False, False, False], len(base), float(base.mean()), 0.0, np.nan, np.nan, np.nan
    for name, corrected in zip(others, p, strict=True):
        values = table[name].to_numpy()
        yield name, len(base), float(values.mean()), *interval(values - base), float(corrected)


def means(frame: pd.DataFrame) -> pd.DataFrame:
    """Every response of every setting: mean over images and Student's 95 % interval. One row each."""
    found = []
    for (dataset, task, label), group in frame.groupby(["dataset", "task", "label"], sort=False):
        first = group.iloc[0]
        for response in RESPONSES:
            settings = [first[key] for key in (*WEIGHTS, "cutoff", "factor")]
            found.append((dataset, task, label, *settings, response, len(group), *interval(group[response].to_numpy())))
    columns = [
        "dataset",
        "task",
        "label",
        *WEIGHTS,
        "cutoff",
        "factor",
        "response",
        "images",
        "mean",
        "ci_low",
        "ci_high",
    ]
    return pd.DataFrame(found, columns=columns)


def curve_key(frame: pd.DataFrame) -> str | None:
    """The one key that varies; None if several do."""
    keys = varied(frame)
    return keys[0] if len(keys) == 1 else None
