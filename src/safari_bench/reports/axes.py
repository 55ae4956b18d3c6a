"""Scores against what a sweep varied: one picture for each key whose values are numbers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from safari_bench.reports.columns import keys, varied
from safari_bench.reports.facets import heading, number
from safari_bench.reports.figures import Styles, axis_label, error_bar, panels, say_infinite
from safari_bench.reports.records import Line
from safari_bench.reports.variants import name_variants
from safari_bench.reports.vocabulary import headline

__all__ = ["against"]

#: (dataset, heading, label, score) -> row of the summary
_Numbers = Mapping[tuple[Any, ...], Any]


@dataclass(frozen=True)
class _Point(Line):
    """A line of the tables that is a point of a curve here. `first.label` is the curve's.

    Args:
        x: the value of the key.
        label: the line's own.
    """

    x: float = 0.0
    label: str = ""


def against(lines: Sequence[Line], table: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """For each numeric key that was varied, its name and a PNG: the headline scores over it, one curve per sampler.

    A curve holds cells that differ in this key only; error bars are the means' 95 % intervals.

    Args:
        lines: as `records.lines` gives them.
        table: their `statistics.summary`.
    """
    numbers: _Numbers = {(f.dataset, f.task, f.sampler, f.metric): f for f in table.itertuples()}
    scores = headline({place[3] for place, f in numbers.items() if f.n})
    for key in [*keys(lines), *varied(lines)]:
        groups = _groups(lines, key)
        if groups and scores:
            yield key, panels(groups, [partial(_plot, key, score, numbers) for score in scores])


def _groups(lines: Sequence[Line], key: str) -> dict[str, list[_Point]]:
    """Panel's title -> the points in it, of panels in which some curve has several."""
    found: dict[str, list[_Point]] = {}
    for line in lines:
        first = line.first
        x = number({**first.varied, **first.facet}.get(key))
        if x is not None:
            rest = {other: value for other, value in first.facet.items() if other != key}
            curve = replace(first, label=_curve(line, key))
            point = _Point((curve, *line.records[1:]), x, first.label)
            found.setdefault(f"{first.dataset}: {heading(first.task, rest)}", []).append(point)
    return {title: points for title, points in found.items() if len(points) > len({p.first.label for p in points})}


def _curve(line: Line, key: str) -> str:
    """The line's label without the key."""
    first = line.first
    if key not in first.varied:
        return first.label
    rest = {other: value for other, value in first.varied.items() if other != key}
    named = name_variants(first.sampler, {"this": rest, "other": {}})  # a second one, so that keys are spelt out
    return named["this"][0] if rest else first.sampler


def _plot(key: str, score: str, numbers: _Numbers, axes: Axes, panel: Sequence[Line], styles: Styles) -> None:
    points = [point for point in panel if isinstance(point, _Point)]
    curves: dict[str, list[tuple[float, Any]]] = {}
    for point in points:
        found = numbers.get((point.first.dataset, point.first.heading, point.label, score))
        if found is not None and found.n:
            curves.setdefault(point.first.label, []).append((point.x, found))
    say_infinite(axes, [label for label, members in curves.items() if any(math.isinf(f.mean) for _, f in members)])
    for label, members in curves.items():
        members.sort(key=lambda member: member[0])
        means, bars = [found.mean for _, found in members], error_bar([found for _, found in members])
        axes.errorbar([x for x, _ in members], means, bars, elinewidth=0.6, linewidth=1, **styles[label])
    axes.set(xlabel=key, ylabel=axis_label(score))
    values = sorted({point.x for point in points})
    if values[0] > 0 and values[-1] >= 10 * values[0]:
        axes.set_xscale("log")
    if len(values) <= 8:
        axes.set_xticks(values, [f"{value:g}" for value in values], minor=False)
        axes.minorticks_off()
