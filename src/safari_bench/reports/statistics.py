"""Rows -> means with confidence intervals."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, rankdata

from safari_bench.ledger import COST, HEAD
from safari_bench.reports.columns import of_record
from safari_bench.reports.records import Line
from safari_bench.reports.vocabulary import FACTS, METRICS, best_of, headline, metric, rank

__all__ = ["RESAMPLES", "infinite", "interval", "large", "per_image", "ranks", "scores", "summary", "wide"]

#: bootstrap resamples per interval.
RESAMPLES = 2000

#: stands for infinity where sums and percentiles of it would be NaN
_LARGE = 1e100

#: task is the line's heading, facet included
_PLACE = ("dataset", "task", "sigma", "sigma_range", "sampler")


def scores(columns: Iterable[str]) -> list[str]:
    """Those columns of the rows that hold a metric or a cost, in the order of the tables."""
    return sorted(set(columns) - {*HEAD, *FACTS, "image_file", "variant"}, key=lambda name: rank(name, list(METRICS)))


def per_image(lines: Sequence[Line]) -> pd.DataFrame:
    """All rows of all cells, whatever their status, in the order of the tables and of the dataset's images."""
    found, seen, extra = [], set[Path](), dict[str, None]()
    for number, line in enumerate(lines):
        places = {image: place for place, image in enumerate(line.ids)}
        for record in (record for record in line.records if record.folder not in seen):
            seen.add(record.folder)  # a method without a prior may stand in several tables
            more = {name: value for name, value in of_record(record, lines).items() if name not in HEAD}
            extra |= dict.fromkeys(more)
            rows = record.rows
            found.append(rows.assign(variant=record.label, line=number, place=rows.image_id.map(places), **more))
    every = pd.concat(found, ignore_index=True).sort_values(["line", "place"], kind="stable")
    after = HEAD.index("sampler") + 1
    metrics = [name for name in scores(every.columns.drop(["line", "place", *extra])) if name not in COST]
    facts = [name for name in FACTS if name in every]
    return every[[*HEAD[:after], "variant", *extra, *HEAD[after:], *metrics, *facts, *COST, "image_file"]]


def summary(lines: Sequence[Line]) -> pd.DataFrame:
    """One row per line of the tables and metric: n, mean and 95 % interval over images.

    Several seeds of an image are averaged first. n counts the images that have a value; with one the interval is NaN,
    with none the mean too. An infinite value, the PSNR of equal images, makes the mean infinite. A line without any
    score is there with n = 0, for every metric its neighbours have. A score of all pictures as one set has no interval;
    its n is the least of any seed. With k > 1 seeds the headline scores have a second row, `vocabulary.best_of` k, over
    the images that every seed restored.
    """
    known: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        names = [*scores(line.rows.columns), *_best_over_seeds(line), *line.set_scores]
        known.setdefault((line.first.dataset, line.first.heading), set()).update(names)
    found = []
    for line in lines:
        first, images = line.first, pd.concat([_mean_over_seeds(line), _best_over_seeds(line)], axis=1)
        task = first.spec["task"]
        for name in scores(known[first.dataset, first.heading]):
            values = images[name].to_numpy() if name in images else np.empty(0)
            statistics = interval(values, "/".join([*(record.run["run_id"] for record in line.records), name]))
            if name in line.set_scores:
                statistics = _of_sets(line.set_scores[name])
            noise = task.get("sigma"), task.get("sigma_range")
            n, *rest = statistics
            found.append((first.dataset, first.heading, *noise, first.label, name, n, len(line.records), *rest))
    columns = [*_PLACE, "metric", "n", "seeds", "mean", "ci_low", "ci_high"]
    return pd.DataFrame(found, columns=columns)


def wide(lines: Sequence[Line], table: pd.DataFrame) -> pd.DataFrame:
    """One row per line of the tables: how its images ended, and mean, n and interval of every metric side by side.

    Args:
        table: their `summary`.
    """
    numbers: dict[tuple[Any, ...], Any] = {(f.dataset, f.task, f.sampler, f.metric): f for f in table.itertuples()}
    names = scores(table.metric)
    found = []
    for line in lines:
        first, status = line.first, line.rows.status.value_counts()
        noise = first.spec["task"].get("sigma"), first.spec["task"].get("sigma_range")
        row = dict(zip(_PLACE, (first.dataset, first.heading, *noise, first.label), strict=True))
        row |= {"images": len(line.ids), "seeds": len(line.records)}
        row |= {word: int(status.get(word, 0)) for word in ("ok", "failed", "unsupported")}
        for name in names:
            of = numbers.get((first.dataset, first.heading, first.label, name))
            row |= {name: of.mean if of else math.nan, f"{name}_n": of.n if of else 0}
            row |= {f"{name}_{end}": getattr(of, end) if of else math.nan for end in ("ci_low", "ci_high")}
        found.append(row)
    return pd.DataFrame(found)


def ranks(table: pd.DataFrame) -> pd.DataFrame:
    """The rank of a sampler on a task, averaged over the tasks of a dataset, for every metric that has a best.

    Rank 1 is best; what reads the same shares a rank. Samplers without a score, or scored on fewer images than others,
    share the last places. A sampler that was not run on every task has the rank NaN.

    Args:
        table: as `summary` gives it.

    Returns:
        Columns dataset, sampler, metric, tasks (how many it was run on) and rank.
    """
    found = []
    for (dataset, name), group in table.groupby(["dataset", "metric"], sort=False):
        m = metric(str(name))
        scored = [part for _, part in group.groupby("task", sort=False) if part.n.max() > 0]
        if m.best is None or not scored:
            continue
        places: dict[str, list[float]] = {}
        for part in scored:
            rows: list[Any] = list(part.itertuples())
            most = max(row.n for row in rows)
            losses = [m.loss(round(float(row.mean), m.digits)) if row.n == most else math.inf for row in rows]
            for sampler, place in zip(part.sampler, rankdata(losses), strict=True):
                places.setdefault(sampler, []).append(float(place))
        for sampler, of_sampler in places.items():
            everywhere = len(of_sampler) == len(scored)
            mean = sum(of_sampler) / len(of_sampler) if everywhere else math.nan
            found.append((dataset, sampler, name, len(of_sampler), mean))
    return pd.DataFrame(found, columns=["dataset", "sampler", "metric", "tasks", "rank"])


def interval(values: np.ndarray, name: str) -> tuple[int, float, float, float]:
    """n, mean and the 95 % percentile bootstrap interval of the mean over images.

    Args:
        values: one per image; NaN is left out.
        name: of these values. It seeds the resampling, so that an interval depends on nothing else in the table.
    """
    values = large(values[~np.isnan(values)])
    if len(values) < 2:
        return len(values), infinite(float(values[0])) if len(values) else math.nan, math.nan, math.nan
    digest = hashlib.sha256(name.encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:16], "little"))
    batch = max(1, 2**20 // len(values))  # keeps resamples of large sets to some 10 MB at a time
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, batch=batch, method="percentile", random_state=random)
    low, high = found.confidence_interval
    return len(values), infinite(float(values.mean())), infinite(float(low)), infinite(float(high))


def large(values: np.ndarray) -> np.ndarray:
    """Infinite values become finite ones beside which all others vanish; NaN stays."""
    clipped: np.ndarray = np.clip(values, -_LARGE, _LARGE)
    return clipped


def infinite(value: float) -> float:
    """Undoes `large`, of a mean or percentile."""
    return math.copysign(math.inf, value) if abs(value) > math.sqrt(_LARGE) else value


def _of_sets(found: Sequence[tuple[int, float]]) -> tuple[int, float, float, float]:
    """As `interval`, of the set scores of several seeds."""
    known = [(n, value) for n, value in found if not math.isnan(value)]
    if not known:
        return 0, math.nan, math.nan, math.nan
    return min(n for n, _ in known), sum(value for _, value in known) / len(known), math.nan, math.nan


def _mean_over_seeds(line: Line) -> pd.DataFrame:
    rows = line.rows
    rows = rows[rows.status == "ok"]
    return rows.groupby("image_id")[scores(rows.columns)].mean()


def _best_over_seeds(line: Line) -> pd.DataFrame:
    """The best of each headline score over all seeds, NaN for an image that one of them did not restore."""
    k, of_image = len(line.records), line.rows[line.rows.status == "ok"].groupby("image_id")
    found = {}
    for name in headline([str(name) for name in line.rows if line.rows[name].notna().any()]) if k > 1 else ():
        best = of_image[name].max() if metric(name).best == "high" else of_image[name].min()
        found[best_of(name, k)] = best.where(of_image[name].count() == k)
    return pd.DataFrame(found)
