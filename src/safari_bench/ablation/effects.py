"""What each weight of psi does: main effects and interactions of a full factorial, within images.

Every image sees every setting, so that images are blocks: an effect is a contrast of one image's scores, and its
interval and its test are over images. Beside them stands the F test of a repeated-measures analysis of variance, which
asks another question: whether any of the levels differ.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.weightstats import DescrStatsW

from safari_bench.ablation.frame import KEYS, responses, varied

__all__ = ["COLUMNS", "FREQUENCY_BESIDE", "SPATIAL_BESIDE", "SYNERGY", "complete", "effects", "interval", "of_parts"]
__all__ += ["tested"]

SYNERGY, FREQUENCY_BESIDE, SPATIAL_BESIDE = (
    "spatial + frequency",
    "frequency beside spatial",
    "spatial beside frequency",
)
COLUMNS = ["dataset", "task", "response", "effect", "images", "value", "ci_low", "ci_high", "p", "p_f"]


def effects(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, task, response and effect; nothing for tasks whose settings are no full factorial.

    ``a``
        main effect: the score at a's largest weight less that at its smallest, mean over the other factors' levels.
    ``a x b``
        interaction: the effect of a at b's largest weight less that at b's smallest, mean over the others' levels.
    ``spatial + frequency``
        synergy: the gain of the largest weights of all factors over the smallest of all, less the gain of spatial
        alone and the gain of the others alone. Negative: both together gain less than the sum.
    ``frequency beside spatial``, ``spatial beside frequency``
        what the second part gains where the first has its largest weight: the largest weights of all factors less
        those of one part with the smallest of the other. Unlike synergy, it does not look at the smallest of all,
        which may be a sampler without any condition.

    Interval, 95 %, and p are Student's over images, of the contrast itself, so that p < 0.05 exactly where the interval
    leaves out zero. p_f is the F test's of `AnovaRM` over all levels, which takes their differences as equally variable
    (no correction for sphericity); NaN for the last three.

    Args:
        frame: as `load_study` gives it.
    """
    found: list[tuple[object, ...]] = []
    for (dataset, task), group in frame.groupby(["dataset", "task"], sort=False):
        factors = varied(group)
        if not complete(group, factors):
            continue
        for response in responses(frame):
            found += [(dataset, task, response, *row) for row in _of_response(group, factors, response)]
    return pd.DataFrame(found, columns=COLUMNS)


def complete(group: pd.DataFrame, factors: Sequence[str]) -> bool:
    """Whether two factors or more were combined at all of their levels, once for each of several images."""
    if len(factors) < 2 or group.image_id.nunique() < 2:
        return False
    settings = int(np.prod([group[factor].nunique() for factor in factors]))
    counts = group.groupby([*factors, "image_id"]).size()
    return bool((counts == 1).all() and len(counts) == settings * group.image_id.nunique())


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of one value per image and Student's 95 % interval; the interval is NaN for one image."""
    statistics = DescrStatsW(values)
    low, high = statistics.tconfint_mean() if len(values) > 1 else (np.nan, np.nan)
    return float(statistics.mean), float(low), float(high)


def tested(values: np.ndarray) -> tuple[float, float, float, float]:
    """As `interval`, and Student's p that the mean is 0; p is NaN where all values are the same."""
    same = len(values) < 2 or np.ptp(values) == 0
    return *interval(values), np.nan if same else float(DescrStatsW(values).ttest_mean()[1])


def of_parts(both: np.ndarray, spatial: np.ndarray, frequency: np.ndarray, none: np.ndarray) -> dict[str, np.ndarray]:
    """What two parts do together; one value per image, from an image's scores with both, each alone and neither."""
    return {
        SYNERGY: both - spatial - frequency + none,
        FREQUENCY_BESIDE: both - spatial,
        SPATIAL_BESIDE: both - frequency,
    }


def _of_response(group: pd.DataFrame, factors: list[str], response: str) -> Iterator[tuple[object, ...]]:
    order = [factor for factor in KEYS if factor in factors]
    levels = [sorted(group[factor].unique()) for factor in order]
    table = group.set_index(["image_id", *order])[response]
    images = list(group.image_id.unique())
    cube = np.array([[table[(image, *at)] for at in product(*levels)] for image in images], dtype=float)
    cube = cube.reshape(len(images), *map(len, levels))
    p = _p_values(group, order, response)
    for count in (1, 2):
        for some in combinations(range(len(order)), count):
            name = " x ".join(order[axis] for axis in some)
            yield name, len(images), *tested(_contrast(cube, some)), p.get(name, np.nan)
    if "spatial" in order:
        for name, values in _parts(cube, order.index("spatial")).items():
            yield name, len(images), *tested(values), np.nan


def _contrast(cube: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Highest less lowest level along each axis given, mean over the others; one value per image."""
    for axis in axes:
        ends = np.take(cube, [0, -1], axis=axis + 1)
        cube = np.diff(ends, axis=axis + 1)
    values: np.ndarray = cube.reshape(len(cube), -1).mean(1)
    return values


def _parts(cube: np.ndarray, spatial: int) -> dict[str, np.ndarray]:
    """Contrasts of spatial with all other factors together; one value per image."""
    ends = np.moveaxis(cube, spatial + 1, 1).reshape(len(cube), cube.shape[spatial + 1], -1)
    return of_parts(ends[:, -1, -1], ends[:, -1, 0], ends[:, 0, -1], ends[:, 0, 0])


def _p_values(group: pd.DataFrame, factors: list[str], response: str) -> dict[str, float]:
    if group[response].nunique() == 1:
        return {}
    table = AnovaRM(group, response, "image_id", within=factors).fit().anova_table
    return {name.replace(":", " x "): float(p) for name, p in table["Pr > F"].items()}
