"""Scores against what a sweep varied: one picture for each key whose values are numbers."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from safari_bench.reports.columns import keys
from safari_bench.reports.facets import heading, number
from safari_bench.reports.figures import Styles, axis_label, error_bar, panels
from safari_bench.reports.records import Line
from safari_bench.reports.vocabulary import headline

__all__ = ["against"]


def against(lines: Sequence[Line], table: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """For each numeric key of the facets, its name and a PNG: the headline scores over it, one line per sampler.

    A panel holds the cells that differ in this key and the method only; error bars are the means' 95 % intervals.

    Args:
        lines: as `records.lines` gives them.
        table: their `statistics.summary`.
    """
    numbers: dict[tuple[Any, ...], Any] = {(f.dataset, f.task, f.sampler, f.metric): f for f in table.itertuples()}
    scores = headline({place[3] for place, f in numbers.items() if f.n})
    for key in keys(lines):
        groups = _groups(lines, key)
        if groups and scores:
            yield key, panels(groups, [partial(_plot, key, score, numbers) for score in scores])


def _groups(lines: Sequence[Line], key: str) -> dict[str, list[Line]]:
    """Panel's title -> lines, of those in which the key has several values, all of them numbers."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        first = line.first
        if number(first.facet.get(key)) is not None:
            rest = {other: value for other, value in first.facet.items() if other != key}
            found.setdefault(f"{first.dataset}: {heading(first.task, rest)}", []).append(line)
    return {title: group for title, group in found.items() if len({_at(line, key) for line in group}) > 1}


def _at(line: Line, key: str) -> float:
    value = number(line.first.facet[key])
    assert value is not None  # _groups keeps no other
    return value


def _plot(
    key: str, score: str, numbers: dict[tuple[Any, ...], Any], axes: Axes, panel: Sequence[Line], styles: Styles
) -> None:
    curves: dict[str, list[tuple[float, Any]]] = {}
    for line in panel:
        first = line.first
        found = numbers.get((first.dataset, first.heading, first.label, score))
        if found is not None and found.n:
            curves.setdefault(first.label, []).append((_at(line, key), found))
    for label, points in curves.items():
        points.sort(key=lambda point: point[0])
        means = [found.mean for _, found in points]
        axes.errorbar([x for x, _ in points], means, error_bar([found for _, found in points]), elinewidth=0.6,
                      linewidth=1, **styles[label])  # fmt: skip
    axes.set(xlabel=key, ylabel=axis_label(score))
    values = sorted({_at(line, key) for line in panel})
    if values[0] > 0 and values[-1] >= 10 * values[0]:
        axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values], minor=False)
    axes.minorticks_off()
