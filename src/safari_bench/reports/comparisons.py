"""Which differences from the best are more than chance: paired permutation tests on the same images and measurements.

Under the null hypothesis it does not matter which of two methods an image's score came from, so scores are exchanged
within images at random. The statistic is the one the table shows: how much nearer to best one mean is than the other.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from safari_bench.reports.records import Line
from safari_bench.reports.statistics import infinite, large
from safari_bench.reports.vocabulary import Metric, metric

__all__ = ["ALPHA", "BEST", "DRAWS", "EXACT", "LIKE_BEST", "Marks", "compare", "holm", "marks", "permutation"]

#: level below which a corrected p-value counts as a difference.
ALPHA = 0.05
#: images up to which all 2^n exchanges are tried; beyond, DRAWS of them at random.
EXACT, DRAWS = 14, 9999
#: marks in a table; LIKE_BEST is a verdict too.
BEST, LIKE_BEST = "best", "not distinguishable"
#: the other verdicts. With few images or many methods even the clearest difference would not fall below ALPHA.
WORSE, NOT_TESTABLE = "worse", "too few images"
Marks = dict[tuple[str, str, str, str], str]
_COLUMNS = ["dataset", "task", "metric", "best", "other", "images"]
_COLUMNS += ["best_mean", "other_mean", "p", "p_holm", "verdict", "test"]
_UNIT = ["image_id", "seed", "y_sha256"]


def compare(lines: Sequence[Line], table: pd.DataFrame) -> pd.DataFrame:
    """The best line of every column against each of the others, one row each.

    Scores count where both have one for the same image, seed and measurement; several seeds of an image are averaged
    first. p_holm is corrected over the column. Means are over the shared images, so they may differ from the table's.
    p is NaN where nothing is shared. The verdict is WORSE, LIKE_BEST or NOT_TESTABLE.

    Args:
        lines: as `records.lines` gives them.
        table: their `statistics.summary`.
    """
    numbers: dict[tuple[Any, ...], Any] = {(f.dataset, f.task, f.metric, f.sampler): f for f in table.itertuples()}
    found: list[tuple[Any, ...]] = []
    for place, group in groupby(lines, key=lambda line: (line.first.dataset, line.first.heading)):
        members = list(group)
        labels = [line.first.label for line in members]
        rows = pd.concat([line.rows.assign(label=line.first.label) for line in members], ignore_index=True)
        rows = rows[rows.status == "ok"].set_index([*_UNIT, "label"])
        names = table.metric[(table.dataset == place[0]) & (table.task == place[1])].unique()
        for m in (metric(name) for name in names):
            best = _best(m, [numbers[*place, m.name, label] for label in labels])
            if best is not None and not m.of_set:  # a score of a set has no images to pair
                of_images = pd.Series(large(rows[m.name].to_numpy(dtype=float)), rows.index)
                values = of_images.unstack("label").reindex(columns=labels)
                found += _column(m, values, best, place)
    return pd.DataFrame(found, columns=_COLUMNS)


def marks(table: pd.DataFrame, comparisons: pd.DataFrame) -> Marks:
    """(dataset, task, metric, sampler) -> BEST or LIKE_BEST, for the entries of a table that deserve either.

    BEST is the best of a column and what reads the same. There is none in a column with one line.
    """
    found: Marks = {}
    alike = comparisons[comparisons.verdict == LIKE_BEST]
    for place in zip(alike.dataset, alike.task, alike.metric, alike.other, strict=True):
        found[place] = LIKE_BEST
    for _, group in table.groupby(["dataset", "task", "metric"], sort=False):
        column: list[Any] = list(group.itertuples())
        losses = _losses(metric(column[0].metric), column)
        known = [loss for loss in losses if not np.isnan(loss)]
        for row, loss in zip(column, losses, strict=True):
            if len(column) > 1 and known and loss == min(known):
                found[row.dataset, row.task, row.metric, row.sampler] = BEST
    return found


def permutation(m: Metric, a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided p-value of the paired permutation test that the mean of a is as near to best as the mean of b.

    Args:
        m: says what is best; the statistic is the difference of `m.loss` of the two means.
        a: one score per image, (n,); infinite ones as `statistics.large` gives them.
        b: the other method's scores of the same images.

    Returns:
        Exact for up to EXACT images, as that of scipy.stats.permutation_test. Else from DRAWS exchanges, the same ones
        whenever n is the same, which SciPy's would not be. NaN for n = 0.
    """
    if len(a) == 0:
        return float("nan")
    middle, half = (a + b).mean() / 2, (a - b) / 2
    moved = np.concatenate([signs @ half for signs in np.array_split(_signs(len(a)), 10)]) / len(a)
    differences = np.abs(m.loss(middle + moved) - m.loss(middle - moved))
    seen = abs(float(m.loss(float(a.mean())) - m.loss(float(b.mean()))))
    as_large = int((differences >= seen - 1e-9 * np.abs(half).mean()).sum())
    exact = len(a) <= EXACT
    return as_large / len(moved) if exact else (as_large + 1) / (len(moved) + 1)


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down correction of p-values, in their order. NaN stays NaN and does not count.

    The same numbers as statsmodels' multipletests, which collects garbage at every call: most of a table's time.
    """
    corrected = np.array(p, dtype=float)
    order = np.argsort(corrected)[: np.isfinite(corrected).sum()]  # NaN sorts last
    steps = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def _column(m: Metric, values: pd.DataFrame, best: str, place: tuple[str, str]) -> Iterator[tuple[Any, ...]]:
    """values: (image, seed, y) x lines, NaN where there is no score."""
    images, _ = pd.factorize(values.index.get_level_values("image_id"))
    found: list[tuple[str, np.ndarray, np.ndarray]] = []
    for other in (label for label in values.columns if label != best):
        a, b = values[best].to_numpy(), values[other].to_numpy()
        both = ~(np.isnan(a) | np.isnan(b))
        seeds = np.bincount(images[both], minlength=1)
        shared = seeds > 0
        of_best, of_other = (np.bincount(images[both], of[both], len(seeds))[shared] / seeds[shared] for of in (a, b))
        found.append((other, of_best, of_other))
    p = [permutation(m, a, b) for _, a, b in found]
    compared = int(np.isfinite(p).sum())
    for (other, a, b), raw, corrected in zip(found, p, holm(p), strict=True):
        means = [infinite(float(of.mean())) if len(of) else np.nan for of in (a, b)]
        exact = len(a) <= EXACT
        smallest = compared * (2 / 2 ** len(a) if exact else 1 / (DRAWS + 1))
        testable = len(a) > 0 and smallest <= ALPHA
        verdict = NOT_TESTABLE if not testable else WORSE if corrected < ALPHA else LIKE_BEST
        test = f"exact, {2 ** len(a)} exchanges" if exact else f"{DRAWS} random exchanges"
        yield *place, m.name, best, other, len(a), *means, raw, corrected, verdict, test


def _losses(m: Metric, column: Sequence[Any]) -> list[float]:
    """Of means as they read in the table; NaN for lines scored on fewer images than others."""
    most = max(row.n for row in column)
    return [m.loss(round(float(row.mean), m.digits)) if row.n == most else float("nan") for row in column]


def _best(m: Metric, column: Sequence[Any]) -> str | None:
    """The line nearest to best; of those that read the same, the one that is nearest indeed, then the first."""
    ranked = [
        (loss, float(m.loss(float(row.mean))), number)
        for number, (loss, row) in enumerate(zip(_losses(m, column), column, strict=True))
        if not np.isnan(loss)
    ]
    return str(column[min(ranked)[2]].sampler) if ranked else None


@lru_cache(maxsize=2)
def _signs(n: int) -> np.ndarray:
    """Rows of n signs: every pattern, or DRAWS random ones; int8."""
    if n <= EXACT:
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(n).integers(0, 2, size=(DRAWS, n), dtype=np.int8)
    return (2 * bits - 1).astype(np.int8)
