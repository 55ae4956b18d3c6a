"""Plots of the exact study."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from safari_bench.exact.rows import Row, grouped
from safari_bench.exact.study import EXACT

__all__ = ["plot_bound", "plot_task"]

#: errors below this are drawn here: an estimate of none has no logarithm
_LEAST = 1e-4
#: nothing above this is drawn: samplers that diverge
_MOST = 30.0
_STYLES = [(f"C{i}", dashes, mark) for dashes, mark in (("-", "o"), ("--", "s"), (":", "^")) for i in range(10)]


def plot_task(
    rows: Sequence[Row], title: str, columns: tuple[str, str], labels: tuple[str, str], ideal: float | None
) -> bytes:
    """A PNG of two panels against NFE, one line per method, both axes logarithmic.

    Args:
        rows: of one task.
        columns: what is drawn on the left and on the right.
        labels: what they are called.
        ideal: a line on the right; None draws what exact draws score in both panels.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, ((method,), line) in enumerate(grouped(rows, "method").items()):
        worked = sorted((row for row in line if row["status"] == "ok"), key=lambda row: row["nfe"])
        for axes, column in ((left, columns[0]), (right, columns[1])):
            if method == EXACT:
                _reference(axes, line[0][column] if ideal is None else ideal if axes is right else None)
                continue
            label = method if worked else f"{method} ({line[0]['status']})"
            values = [max(row[column], _LEAST) for row in worked]
            colour, dashes, mark = _STYLES[number % len(_STYLES)]
            nfe = [row["nfe"] for row in worked]
            axes.plot(nfe, values, color=colour, linestyle=dashes, marker=mark, markersize=4, label=label)
    for axes, label in ((left, labels[0]), (right, labels[1])):
        axes.set(xscale="log", yscale="log", xlabel="prior calls (NFE)", ylabel=label)
        low, high = axes.get_ylim()
        # a point estimate has next to no spread: the panel shows what is worth reading
        axes.set_ylim(max(low, 0.03 if axes is right and ideal is not None else _LEAST), min(high, _MOST))
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=8)
    return _png(figure)


def plot_bound(rows: Sequence[Row]) -> bytes:
    """A PNG: how much smaller the left side is than the right, along t, a panel per gamma."""
    panels = grouped(rows, "gamma")
    figure = Figure(figsize=(6 * len(panels), 4.5), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, ((gamma,), of_gamma) in zip(row, panels.items(), strict=True):
        for (task, psi), line in grouped(of_gamma, "task", "psi").items():
            axes.plot([row["t"] for row in line], [row["log10_ratio"] for row in line], ".-", label=f"{task}, {psi}")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(xlabel="t", ylabel="log10 (left / right)", title=f"gamma = {gamma:g}")
        axes.legend(fontsize=7)
    figure.suptitle("The bound of SaFaRI's theorem")
    return _png(figure)


def _reference(axes: Axes, value: float | None) -> None:
    if value is not None:
        axes.axhline(value, color="black", linewidth=0.8)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
