"""Rows -> means with confidence intervals."""

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from safari_bench.ledger import COST, HEAD
from safari_bench.tables.records import Line
from safari_bench.tables.vocabulary import FACTS, METRICS, rank

__all__ = ["RESAMPLES", "interval", "per_image", "scores", "summary"]

#: bootstrap resamples per interval.
RESAMPLES = 2000


def scores(columns: Iterable[str]) -> list[str]:
    """Those columns of the rows that hold a metric or a cost, in the order of the tables."""
    return sorted(set(columns) - {*HEAD, *FACTS, "image_file", "variant"}, key=lambda name: rank(name, list(METRICS)))


def per_image(lines: Sequence[Line]) -> pd.DataFrame:
    """All rows of all cells, whatever their status, in the order of the tables and of the dataset's images."""
    found = []
    for number, line in enumerate(lines):
        places = {image: place for place, image in enumerate(line.ids)}
        rows = line.rows
        found.append(rows.assign(variant=line.first.label, line=number, place=rows.image_id.map(places)))
    every = pd.concat(found, ignore_index=True).sort_values(["line", "place"], kind="stable")
    after = HEAD.index("sampler") + 1
    metrics = [name for name in scores(every.columns.drop(["line", "place"])) if name not in COST]
    facts = [name for name in FACTS if name in every]
    return every[[*HEAD[:after], "variant", *HEAD[after:], *metrics, *facts, *COST, "image_file"]]


def summary(lines: Sequence[Line]) -> pd.DataFrame:
    """One row per line of the tables and metric: n, mean and 95 % interval over images.

    Several seeds of an image are averaged first. n counts the images whose value is finite; with one the interval is
    NaN, with none the mean too. A line without any score is there with n = 0, for every metric its neighbours have.
    A score of all pictures as one set has no interval; its n is the least of any seed.
    """
    known: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        names = [*scores(line.rows.columns), *line.set_scores]
        known.setdefault((line.first.dataset, line.first.task), set()).update(names)
    found = []
    for line in lines:
        first, images = line.first, _mean_over_seeds(line)
        task = first.spec["task"]
        for name in scores(known[first.dataset, first.task]):
            values = images[name].to_numpy() if name in images else np.empty(0)
            statistics = interval(values, "/".join([*(record.run["run_id"] for record in line.records), name]))
            if name in line.set_scores:
                statistics = _of_sets(line.set_scores[name])
            noise = task.get("sigma"), task.get("sigma_range")
            found.append((first.dataset, first.task, *noise, first.label, name, *statistics))
    columns = ["dataset", "task", "sigma", "sigma_range", "sampler", "metric", "n", "mean", "ci_low", "ci_high"]
    return pd.DataFrame(found, columns=columns)


def interval(values: np.ndarray, name: str) -> tuple[int, float, float, float]:
    """n, mean and the 95 % percentile bootstrap interval of the mean over images.

    Args:
        values: one per image; those that are not finite are left out.
        name: of these values. It seeds the resampling, so that an interval depends on nothing else in the table.
    """
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return len(values), float(values[0]) if len(values) else math.nan, math.nan, math.nan
    digest = hashlib.sha256(name.encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:16], "little"))
    batch = max(1, 2**20 // len(values))  # keeps resamples of large sets to some 10 MB at a time
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, batch=batch, method="percentile", random_state=random)
    low, high = found.confidence_interval
    return len(values), float(values.mean()), float(low), float(high)


def _of_sets(found: Sequence[tuple[int, float]]) -> tuple[int, float, float, float]:
    """As `interval`, of the set scores of several seeds."""
    finite = [(n, value) for n, value in found if math.isfinite(value)]
    if not finite:
        return 0, math.nan, math.nan, math.nan
    return min(n for n, _ in finite), math.fsum(value for _, value in finite) / len(finite), math.nan, math.nan


def _mean_over_seeds(line: Line) -> pd.DataFrame:
    rows = line.rows
    rows = rows[rows.status == "ok"]
    return rows.groupby("image_id")[scores(rows.columns)].mean()
