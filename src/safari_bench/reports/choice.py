"""The best configuration of each method on each task, from a sweep over tuning images."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safari_bench.ledger import flatten
from safari_bench.reports.records import Line, Record, TableError, lines, load
from safari_bench.reports.vocabulary import metric as known

__all__ = ["PSNR_WITHIN", "Choice", "choose"]

#: dB below the best PSNR of a sweep's configurations of one method on one task, from which perception does not excuse
PSNR_WITHIN = 0.5


@dataclass(frozen=True)
class Choice:
    """What a sweep says of one method on one task.

    Attributes:
        prior, task, sampler: names.
        settings: the keys of the sampler's node that the sweep varied, with their best values; dotted.
        others: its other keys.
        score: mean of the metric over images, then over datasets.
        candidates: configurations that were compared.
        datasets: dataset -> number of images.
        at_edge: keys whose best value is the smallest or largest of a grid; draws from an interval have none.
        runner_up: the second best score of those that are not out; NaN if there is none.
        trials: every configuration, best first: the keys that were varied, and its score (NaN where an image failed).
    """

    prior: str
    task: str
    sampler: str
    settings: Mapping[str, Any]
    others: Mapping[str, Any]
    score: float
    candidates: int
    datasets: Mapping[str, int]
    at_edge: tuple[str, ...]
    runner_up: float
    trials: tuple[Mapping[str, Any], ...] = ()


def choose(run_folder: Path, metric: str = "haarpsi") -> list[Choice]:
    """The best configuration per prior, task and sampler. A configuration with an image that failed is out.

    So is one whose mean PSNR is more than PSNR_WITHIN below the best one's, the same rule for every method: scores of
    perception alone prefer sharp pictures of something else.

    Args:
        run_folder: results/<name> of a sweep with dataset.split=tuning.
        metric: a column of the rows; what is best is what the tables say of it.

    Raises:
        TableError: see `records.load`; a cell is not of tuning images; no cell has the metric.
    """
    groups: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines(load(Path(run_folder))):
        record = line.first
        split = record.spec["dataset"].get("split")
        if split != "tuning":
            raise TableError(
                f"{record.folder}: images are of split {split!r}; settings are chosen on tuning images only: run the "
                "sweep with dataset.split=tuning"
            )
        if metric in line.rows:
            prior = record.run["config"]["prior"]["name"]
            groups.setdefault((prior, record.task, record.sampler), []).append(line)
    if not groups:
        raise TableError(f"{run_folder}: no row has the metric {metric}; name another one")
    return [_best(key, found, metric) for key, found in groups.items()]


def _best(key: tuple[str, str, str], found: list[Line], metric: str) -> Choice:
    by_settings: dict[str, list[Line]] = {}
    for line in found:
        by_settings.setdefault(json.dumps(_settings(line.first), sort_keys=True), []).append(line)
    datasets = {line.first.dataset: len(line.ids) for line in found}
    losses = {text: _loss(members, metric, set(datasets)) for text, members in by_settings.items()}
    if all("psnr" in line.rows for line in found):
        psnr = {text: _mean(by_settings[text], "psnr") for text, loss in losses.items() if loss < math.inf}
        losses |= dict.fromkeys((text for text in psnr if psnr[text] < max(psnr.values()) - PSNR_WITHIN), math.inf)
    ranked = sorted(losses, key=lambda text: (losses[text], text))
    best = by_settings[ranked[0]]
    if losses[ranked[0]] == math.inf:
        raise TableError(f"{'/'.join(key)}: every configuration has an image without {metric}; widen the sweep")
    second = losses[ranked[1]] if len(ranked) > 1 else math.inf
    tried = [_settings(members[0].first) for members in by_settings.values()]
    varied = [
        name
        for name in dict.fromkeys(k for v in tried for k in v)
        if len({json.dumps(values.get(name)) for values in tried}) > 1
    ]
    settings = {name: value for name, value in _settings(best[0].first).items() if name in varied}
    others = {name: value for name, value in _settings(best[0].first).items() if name not in varied}
    return Choice(
        *key,
        settings=settings,
        others=others,
        score=_mean(best, metric),
        candidates=len(by_settings),
        datasets=datasets,
        at_edge=tuple(name for name in varied if _is_edge(settings.get(name), [values.get(name) for values in tried])),
        runner_up=_mean(by_settings[ranked[1]], metric) if second < math.inf else math.nan,
        trials=tuple(
            {name: _settings(by_settings[text][0].first).get(name) for name in varied}
            | {metric: _mean(by_settings[text], metric) if _complete(by_settings[text], set(datasets)) else math.nan}
            for text in ranked
        ),
    )


def _settings(record: Record) -> dict[str, Any]:
    return flatten(record.spec["sampler"])


def _complete(members: list[Line], datasets: set[str]) -> bool:
    covered = {line.first.dataset for line in members} == datasets  # a dataset may stand twice: in two precisions
    return covered and all((line.rows.status == "ok").all() for line in members)


def _loss(members: list[Line], metric: str, datasets: set[str]) -> float:
    loss = known(metric).loss(_mean(members, metric)) if _complete(members, datasets) else math.nan
    return math.inf if math.isnan(loss) else loss


def _mean(members: list[Line], metric: str) -> float:
    return sum(float(line.rows[metric].astype(float).mean()) for line in members) / len(members)


def _is_edge(value: Any, tried: list[Any]) -> bool:
    numbers = [v for v in tried if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(tried) or any(float(f"{v:.8g}") != v for v in numbers):  # nobody types more: drawn
        return False
    return len(set(numbers)) > 2 and value in (min(numbers), max(numbers))
