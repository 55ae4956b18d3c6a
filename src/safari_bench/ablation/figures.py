"""Heat maps of pairs of weights, curves along one key or zeta, signatures. The same numbers give the same bytes."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from safari_bench.ablation.frame import RESPONSES, SIGNATURES, responses, varied

__all__ = ["curves", "heat_maps", "signatures", "steps"]

_PANEL = 3.0, 2.5  # inches
_LOOK: Any = {"font.size": 8, "axes.axisbelow": True}


def heat_maps(means: pd.DataFrame, response: str) -> bytes:
    """A PNG: the mean of a response for each pair of factors, over images and the other factors; a row per task.

    Args:
        means: of a full factorial, as `components.means` gives them.
    """
    frame = means[means.response == response]
    factors = varied(frame)
    pairs = list(combinations(factors, 2))
    tasks = list(frame.groupby(["dataset", "task"], sort=False))
    drawn: list[list[Callable[[Axes], None]]] = []
    for (dataset, task), group in tasks:
        grids = [group.pivot_table("mean", a, b, aggfunc="mean") for a, b in pairs]
        ends = min(float(m.min().min()) for m in grids), max(float(m.max().max()) for m in grids)
        title = f"{dataset}: {task}, mean {RESPONSES[response][0]}"
        drawn.append([_heat(m, ends, title if number == 0 else "") for number, m in enumerate(grids)])
    return _draw(drawn)


def curves(changes: pd.DataFrame, key: str, shown: Sequence[str]) -> bytes:
    """A PNG: the change per image from the lowest level of the one key that varies, with its interval; a row per task.

    Args:
        changes: as `curves.changes` gives them.
    """
    drawn = []
    for (dataset, task), group in changes.groupby(["dataset", "task"], sort=False):
        rows = [group[group.response == response].sort_values(key) for response in shown]
        drawn.append([_curve(of, key, f"{dataset}: {task}" if number == 0 else "") for number, of in enumerate(rows)])
    return _draw(drawn)


def steps(zetas: pd.DataFrame) -> bytes:
    """A PNG: mean HaarPSI of every setting along zeta; a panel per task.

    Args:
        zetas: as `steps.chosen` gives them.
    """
    panels = [
        _steps(group, f"{dataset}: {task}", legend=number == 0)
        for number, ((dataset, task), group) in enumerate(zetas.groupby(["dataset", "task"], sort=False))
    ]
    return _draw([panels])


def signatures(means: pd.DataFrame, called: Mapping[str, str]) -> bytes:
    """A PNG: every signature of failure of every setting with its 95 % interval; a row per task.

    Args:
        means: as `components.means` gives them.
        called: label -> what it is called, for those that are called otherwise.
    """
    drawn = []
    for (dataset, task), group in means.groupby(["dataset", "task"], sort=False):
        named = group.assign(label=[called.get(label, label) for label in group.label])
        rows = [(name, named[named.response == name]) for name in SIGNATURES if name in responses(means)]
        drawn.append([_bars(of, name, f"{dataset}: {task}", k == 0) for k, (name, of) in enumerate(rows)])
    settings = means.groupby(["dataset", "task"]).label.nunique().max()
    longest = max(len(called.get(label, label)) for label in means.label)
    return _draw(drawn, height=0.6 + 0.16 * int(settings), left=0.4 + 0.065 * longest)  # inches a letter at this size


def _heat(mean: pd.DataFrame, ends: tuple[float, float], title: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.imshow(mean.to_numpy(), vmin=ends[0], vmax=ends[1], cmap="viridis", origin="lower", aspect="auto")
        for (row, column), value in np.ndenumerate(mean.to_numpy()):
            dark = value < (ends[0] + ends[1]) / 2
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", color="white" if dark else "black")
        axes.set_xticks(range(mean.shape[1]), [f"{value:g}" for value in mean.columns])
        axes.set_yticks(range(mean.shape[0]), [f"{value:g}" for value in mean.index])
        axes.set(xlabel=str(mean.columns.name), ylabel=str(mean.index.name))
        axes.set_title(title, loc="left")

    return draw


def _curve(of: pd.DataFrame, key: str, title: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        errors = np.nan_to_num(np.array([of.change - of.ci_low, of.ci_high - of.change]))
        axes.errorbar(of[key].astype(float), of.change, errors, marker="o", markersize=3, linewidth=1, capsize=2)
        axes.axhline(0, color="0.6", linewidth=0.8)
        heading, unit = RESPONSES[of.response.iloc[0]]
        axes.set(xlabel=key, ylabel=f"change of {heading}" + (f" in {unit}" if unit else ""))
        axes.grid(color="0.9")
        axes.set_title(title, loc="left")

    return draw


def _steps(of: pd.DataFrame, title: str, legend: bool) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for setting, rows in of.groupby("setting", sort=False):
            axes.plot(rows.zeta, rows["mean"], marker="o", markersize=3, linewidth=1, label=str(setting))
        axes.set(xlabel="zeta", ylabel="mean HaarPSI", xscale="log")
        axes.set_xticks(sorted(of.zeta.unique()), [f"{zeta:g}" for zeta in sorted(of.zeta.unique())])
        axes.minorticks_off()
        axes.grid(color="0.9")
        axes.set_title(title, loc="left")
        if legend:
            axes.legend(fontsize=6)

    return draw


def _bars(of: pd.DataFrame, name: str, title: str, labels: bool) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        places = np.arange(len(of))[::-1]
        errors = np.nan_to_num(np.array([of["mean"] - of.ci_low, of.ci_high - of["mean"]]))
        axes.errorbar(of["mean"], places, xerr=errors, fmt="o", markersize=3, linewidth=0.8)
        axes.axvline(1 if name == "phase_high" else 0, color="0.6", linewidth=0.8)
        axes.set_yticks(places, list(of.label) if labels else [])
        heading, unit = RESPONSES[name]
        axes.set_xlabel(f"{heading} in {unit}" if unit else heading)
        axes.set_title(title if labels else "", loc="left")
        axes.grid(color="0.9")

    return draw


def _draw(drawn: Sequence[Sequence[Callable[[Axes], None]]], height: float = _PANEL[1], left: float = 0.7) -> bytes:
    down, across = len(drawn), max(map(len, drawn))
    with mpl.rc_context(_LOOK):
        size = left + across * _PANEL[0], down * (height + 0.3)
        figure = Figure(figsize=size)
        grid = figure.subplots(down, across, squeeze=False)
        gaps = {"wspace": 0.9 / (_PANEL[0] - 0.9), "hspace": 0.8 / max(height - 0.5, 0.1)}
        figure.subplots_adjust(left / size[0], 0.45 / size[1], 1 - 0.1 / size[0], 1 - 0.3 / size[1], **gaps)
        for row, panels in zip(grid, drawn, strict=True):
            for axes, draw in zip(row, panels, strict=True):
                draw(axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
