"""What each part of psi gains alone and together, per image against no conditioning; means of every setting."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from safari_bench.ablation.effects import COLUMNS, interval, of_parts, tested
from safari_bench.ablation.frame import KEYS, WEIGHTS, responses
from safari_bench.reports.comparisons import holm, permutation
from safari_bench.reports.vocabulary import metric

__all__ = ["BOTH", "FREQUENCY", "NAMES", "NOTHING", "PIXEL", "SPATIAL", "components", "means", "named", "names"]
__all__ += ["smallest_p", "together"]

NOTHING, SPATIAL, FREQUENCY = "no conditioning", "spatial only", "frequency only"
PIXEL, BOTH, ALL = "pixel only (DPS)", "spatial and frequency", "all together"
#: which of pixel, spatial, frequency have weight -> what that setting is called
NAMES = {
    (False, False, False): NOTHING,
    (False, True, False): SPATIAL,
    (False, False, True): FREQUENCY,
    (True, False, False): PIXEL,
    (False, True, True): BOTH,
    (True, True, True): ALL,
}


def named(setting: Any) -> str | None:
    """The name of a setting with one weight for each part; None for those that have no name."""
    return NAMES.get((setting.pixel > 0, setting.spatial > 0, setting.low > 0 or setting.high > 0))


def names(group: pd.DataFrame) -> dict[str, str]:
    """Label -> name of each setting of a task, in the order of NAMES; empty where a setting has none or shares it."""
    settings = group.drop_duplicates("label")
    if settings[list(WEIGHTS)].isna().any(axis=None):
        return {}
    rows: list[Any] = list(settings.itertuples())
    found = {str(row.label): named(row) for row in rows}
    if None in found.values() or len(set(found.values())) < len(found):
        return {}
    return {label: name for name in NAMES.values() for label, own in found.items() if own == name}


def components(frame: pd.DataFrame) -> pd.DataFrame:
    """The gain of every named setting over no conditioning, per image: mean, 95 % interval, Holm-corrected p.

    Nothing for tasks where a name has several settings, or that lack no conditioning.

    Args:
        frame: as `load_study` gives it.

    Returns:
        Columns dataset, task, response, setting, images, mean, gain, ci_low, ci_high, p_holm, p_smallest; the
        correction is over the settings of one response, and p_smallest is what the clearest difference would reach.
    """
    found: list[tuple[Any, ...]] = []
    for place, table in _by_name(frame):
        for response, scores in table.items():
            if NOTHING in scores:
                found += [(*place, response, *row) for row in _gains(scores)]
    columns = ["dataset", "task", "response", "setting", "images", "mean", "gain", "ci_low", "ci_high", "p_holm"]
    return pd.DataFrame(found, columns=[*columns, "p_smallest"])


def together(frame: pd.DataFrame) -> pd.DataFrame:
    """Whether spatial and frequency together gain the sum of their gains, and what each gains beside the other.

    Returns:
        The last three effects of `effects.effects`, from the named settings with none, one and both of the two.
    """
    found: list[tuple[Any, ...]] = []
    for place, table in _by_name(frame):
        for response, scores in table.items():
            if {NOTHING, SPATIAL, FREQUENCY, BOTH} <= set(scores):
                columns = [scores[name].to_numpy() for name in (BOTH, SPATIAL, FREQUENCY, NOTHING)]
                for effect, values in of_parts(*columns).items():
                    found.append((*place, response, effect, len(values), *tested(values), np.nan))
    return pd.DataFrame(found, columns=COLUMNS)


def smallest_p(images: int, comparisons: int) -> float:
    """The p that Holm's correction leaves to a difference that every image shares."""
    one = permutation(metric("psnr"), np.ones(images), np.zeros(images))
    return min(1.0, float(one * comparisons))


def means(frame: pd.DataFrame) -> pd.DataFrame:
    """Every response of every setting: mean over images and Student's 95 % interval. One row each."""
    found = []
    for (dataset, task, label), group in frame.groupby(["dataset", "task", "label"], sort=False):
        first = group.iloc[0]
        for response in responses(frame):
            settings = [first[key] for key in (*KEYS, "zeta")]
            found.append((dataset, task, label, *settings, response, len(group), *interval(group[response].to_numpy())))
    columns = ["dataset", "task", "label", *KEYS, "zeta", "response", "images", "mean", "ci_low", "ci_high"]
    return pd.DataFrame(found, columns=columns)


def _by_name(frame: pd.DataFrame) -> Iterator[tuple[tuple[str, str], dict[str, pd.DataFrame]]]:
    """(dataset, task), response -> images x names."""
    for (dataset, task), group in frame.groupby(["dataset", "task"], sort=False):
        known = names(group)
        if known:
            named_rows = group.assign(name=group.label.map(known))
            yield (
                (str(dataset), str(task)),
                {key: named_rows.pivot(index="image_id", columns="name", values=key) for key in responses(frame)},
            )


def _gains(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    base = table[NOTHING].to_numpy()
    others = [name for name in NAMES.values() if name in table and name != NOTHING]
    plain = metric("psnr")  # a difference of means, whichever direction is better
    p = holm([permutation(plain, table[name].to_numpy(), base) for name in others])
    least = smallest_p(len(base), len(others))
    yield NOTHING, len(base), float(base.mean()), 0.0, np.nan, np.nan, np.nan, least
    for name, corrected in zip(others, p, strict=True):
        values = table[name].to_numpy()
        yield name, len(base), float(values.mean()), *interval(values - base), float(corrected), least
