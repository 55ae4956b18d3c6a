"""Curves and scatters, one panel for each dataset and heading. The same rows give the same bytes."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from safari_bench.reports.pictures import load, radial_power, restoration
from safari_bench.reports.records import Line
from safari_bench.reports.vocabulary import SAMPLERS, metric, rank

__all__ = ["Styles", "axis_label", "cost", "distortion", "error_bar", "panels", "say_infinite", "spectrum"]

_COLUMNS = 4  # panels side by side
_PANEL = 3.0, 2.6  # inches
_LETTER, _LEADING = 0.085, 0.16  # inches: a wide letter and a line of the legend
_TITLE = 36  # letters of a panel's title that fit above it; longer ones are set smaller
_MARKERS = "osD^v<>PX*"  # none that reads like another at four points
_MOST = 64  # images that a spectrum is averaged over: the first ones of the dataset
_REFERENCE = "reference"
_CURVE: Mapping[str, Any] = {"markevery": (0.1, 0.2), "linewidth": 1}
_LOOK: Any = {"font.size": 8, "axes.grid": True, "grid.color": "0.9", "axes.axisbelow": True, "legend.frameon": False}
Styles: TypeAlias = Mapping[str, Mapping[str, Any]]
#: draws one panel, that of some lines of one task.
Plot: TypeAlias = Callable[[Axes, Sequence[Line], Styles], None]
#: label -> frequency as a fraction of Nyquist, power, and power of the references.
Spectra: TypeAlias = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def distortion(lines: Sequence[Line], table: pd.DataFrame) -> bytes:
    """Perception against distortion: mean HaarPSI over mean PSNR, with their 95 % intervals. A PNG.

    Args:
        lines: as `records.lines` gives them.
        table: their `statistics.summary`.
    """
    return panels(_titled(lines), [_scatter(table, "psnr", "haarpsi")])


def cost(lines: Sequence[Line], table: pd.DataFrame) -> bytes:
    """Quality against cost: mean HaarPSI over calls of the prior and over seconds per image. A PNG."""
    return panels(_titled(lines), [_scatter(table, "nfe", "haarpsi"), _scatter(table, "seconds", "haarpsi")])


def spectrum(lines: Sequence[Line]) -> bytes:
    """Radially averaged power of the saved pictures: of the references, and of each line relative to them. A PNG.

    Means over images and channels of the power, for the first 64 images of a dataset that are saved; a line is compared
    with the references of its own images.

    Raises:
        TableError: a picture cannot be read.
    """
    spectra = {place: _spectra(panel) for place, panel in _tasks(lines).items()}

    def power(axes: Axes, panel: Sequence[Line], styles: Styles) -> None:
        for label, (frequency, found, _) in spectra[_place(panel[0])].items():
            axes.plot(frequency, 10 * np.log10(found), **_CURVE, **styles[label])
        axes.set(xlabel="frequency / Nyquist", ylabel="power in dB", xscale="log")

    def excess(axes: Axes, panel: Sequence[Line], styles: Styles) -> None:
        for label, (frequency, found, reference) in spectra[_place(panel[0])].items():
            axes.plot(frequency, 10 * np.log10(found / reference), **_CURVE, **styles[label])
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -30), min(high, 30))  # a smooth picture would flatten the rest
        axes.set(xlabel="frequency / Nyquist", ylabel="dB over reference")

    return panels(_titled(lines), [power, excess])


def _scatter(table: pd.DataFrame, across: str, up: str) -> Plot:
    numbers: dict[tuple[Any, ...], Any] = {(f.dataset, f.task, f.sampler, f.metric): f for f in table.itertuples()}

    def plot(axes: Axes, panel: Sequence[Line], styles: Styles) -> None:
        shown: dict[str, tuple[Any, Any]] = {}
        endless: list[str] = []
        for line in panel:
            place = *_place(line), line.first.label
            x, y = numbers.get((*place, across)), numbers.get((*place, up))
            if x is not None and y is not None and x.n and y.n:
                if not (math.isfinite(x.mean) and math.isfinite(y.mean)):
                    endless.append(place[2])
                    continue
                shown[place[2]] = x, y
                errors = [error_bar([x]) if metric(across).interval else None, error_bar([y])]
                axes.errorbar(
                    x.mean, y.mean, errors[1], errors[0], elinewidth=0.6, linestyle="none", **styles[place[2]]
                )
        axes.set(xlabel=axis_label(across), ylabel=axis_label(up))
        axes.margins(x=0.1)
        if across == "nfe":
            axes.set_xscale("symlog", linthresh=1)  # methods without a prior are at 0
            axes.set_xlim(left=-0.3)
        elif across == "seconds":
            axes.set_xscale("log")
        _look_at_the_crowd(axes, shown, both=metric(across).interval)
        say_infinite(axes, endless)

    return plot


def _look_at_the_crowd(axes: Axes, shown: Mapping[str, tuple[Any, Any]], *, both: bool) -> None:
    """Leave what lies far out (Tukey, 1977: three times the quartiles' distance beyond them) off the panel, which would
    otherwise show it and a blot, and say so in its corner.
    """
    far: set[str] = set()
    limits = []
    for side in (0, 1) if both else (1,):
        means = {label: pair[side].mean for label, pair in shown.items()}
        if len(means) < 4:
            return
        first, third = np.quantile(list(means.values()), [0.25, 0.75])
        fence = 3 * (third - first)
        far |= {label for label, mean in means.items() if not first - fence <= mean <= third + fence}
    for side, set_limits in ((0, axes.set_xlim), (1, axes.set_ylim)) if both else ((1, axes.set_ylim),):
        near = [pair[side] for label, pair in shown.items() if label not in far]
        ends = [_ends(found) for found in near]
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        limits.append((set_limits, low - 0.05 * (high - low), high + 0.05 * (high - low)))
    off: set[str] = set()
    for side, (set_limits, low, high) in zip((0, 1) if both else (1,), limits, strict=True):
        if far and high > low:
            set_limits(low, high)
            off |= {label for label in far if not low <= shown[label][side].mean <= high}
    if off:
        said = "off the panel:\n" + "\n".join(label for label in shown if label in off)
        place = (0.98, "right") if both else (0.5, "center")
        axes.text(place[0], 0.03, said, transform=axes.transAxes, ha=place[1], va="bottom", fontsize=6, color="0.4")


def say_infinite(axes: Axes, labels: Sequence[str]) -> None:
    """Name in a corner the lines whose score is infinite, as the PSNR of equal images is: no point can show it."""
    if labels:
        said = "∞:\n" + "\n".join(dict.fromkeys(labels))
        axes.text(0.02, 0.97, said, transform=axes.transAxes, va="top", fontsize=6, color="0.4")


def _ends(found: Any) -> tuple[float, float]:
    """Of the interval, or of the mean where there is none."""
    if math.isfinite(found.ci_low) and math.isfinite(found.ci_high):
        return min(found.ci_low, found.mean), max(found.ci_high, found.mean)
    return found.mean, found.mean


def error_bar(found: Sequence[Any]) -> np.ndarray | None:
    """How far the intervals of some means reach below and above them, (2, n); None unless all have one."""
    ends = np.array([[f.mean - f.ci_low for f in found], [f.ci_high - f.mean for f in found]])
    return ends.clip(min=0) if np.isfinite(ends).all() else None


def axis_label(name: str) -> str:
    """What stands along the axis of a score."""
    return {"seconds": "seconds per image", "nfe": "calls of the prior (NFE)", "psnr": "PSNR in dB"}.get(
        name, metric(name).title
    )


def _spectra(panel: Sequence[Line]) -> Spectra:
    """Of the reference first. A line whose pictures differ in size has none."""
    clean: dict[Path, np.ndarray] = {}
    found: Spectra = {}
    for line in panel:
        pairs = []
        for image in line.ids[:_MOST]:
            path, _ = restoration(line, image)
            reference = line.first.reference(path.name) if path else None
            if reference and reference not in clean and (picture := load(reference)):
                clean[reference] = radial_power(np.asarray(picture))
            if path and reference in clean and (picture := load(path)):
                pairs.append((radial_power(np.asarray(picture)), clean[reference]))
        if pairs and len({len(power) for pair in pairs for power in pair}) == 1:
            found[line.first.label] = _curve(*np.mean(pairs, axis=0))
    if found:
        mean = np.mean(list(clean.values()), axis=0)
        found = {_REFERENCE: _curve(mean, mean), **found}
    return found


def _curve(power: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rounding = (1 / 255) ** 2 / 12  # white, what 8 bits add; below it a saved picture holds nothing
    frequency = np.arange(len(power)) / (len(power) - 1)
    return frequency[1:], power[1:] + rounding, reference[1:] + rounding


def _place(line: Line) -> tuple[str, str]:
    return line.first.dataset, line.first.heading


def _tasks(lines: Sequence[Line]) -> dict[tuple[str, str], list[Line]]:
    return {place: list(group) for place, group in groupby(lines, key=_place)}


def _styles(lines: Sequence[Line]) -> Styles:
    """A colour and a marker for every sampler and configuration, the same in all panels."""
    ordered = sorted(lines, key=lambda line: rank(line.first.sampler, SAMPLERS))
    labels = list(dict.fromkeys(line.first.label for line in ordered))
    colors = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
    styles: dict[str, dict[str, Any]] = {_REFERENCE: {"color": "black", "marker": "", "label": _REFERENCE}}
    for number, label in enumerate(labels):
        again, color = divmod(number, 10)  # a colour's second method is hollow, and of another shape
        style = {"color": colors[color], "marker": _MARKERS[(number + 3 * again) % 10], "markersize": 5, "label": label}
        styles[label] = style | ({"markerfacecolor": "white"} if again % 2 else {})
    return styles


def _titled(lines: Sequence[Line]) -> dict[str, list[Line]]:
    return {f"{dataset}: {task}": panel for (dataset, task), panel in _tasks(lines).items()}


def panels(groups: Mapping[str, Sequence[Line]], plots: Sequence[Plot]) -> bytes:
    """One panel for each group, the plots of a group below each other; one legend for all. A PNG.

    Args:
        groups: title of a panel -> its lines.
    """
    styles = _styles([line for group in groups.values() for line in group])
    across = min(_COLUMNS, len(groups))
    down = math.ceil(len(groups) / across) * len(plots)
    with mpl.rc_context(_LOOK):
        figure, grid = _empty(across, down, list(styles))
        for (row, column), axes in np.ndenumerate(grid):
            number = row // len(plots) * across + column
            if number >= len(groups):
                axes.set_axis_off()
                continue
            title, panel = list(groups.items())[number]
            plots[row % len(plots)](axes, panel, styles)
            axes.set_title(title if row % len(plots) == 0 else "", fontsize=9.6 * min(1, _TITLE / len(title)))
        handles = {
            text: handle for axes in grid.flat for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        shown = [label for label in styles if label in handles]
        if shown:
            figure.legend(
                [handles[label] for label in shown],
                shown,
                loc="upper left",
                bbox_to_anchor=(grid[0, -1].get_position().x1, 1),
            )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _empty(across: int, down: int, labels: Sequence[str]) -> tuple[Figure, Any]:
    """Panels at fixed places, with room for the legend: layout engines would draw everything several times."""
    width = across * _PANEL[0] + 0.8 + _LETTER * max(map(len, labels))
    height = max(down * _PANEL[1], _LEADING * (len(labels) + 2))
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(down, across, squeeze=False)
    gaps = {"wspace": 0.8 / (_PANEL[0] - 0.8), "hspace": 0.7 / (_PANEL[1] - 0.7)}
    sides = 0.7 / width, 0.5 / height, across * _PANEL[0] / width, 1 - 0.3 / height
    figure.subplots_adjust(*sides, **gaps)
    return figure, grid
