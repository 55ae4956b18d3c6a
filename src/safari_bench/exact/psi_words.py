"""What psi does to the posterior it targets, in plain words that are chosen by the numbers."""

import math
from collections.abc import Mapping, Sequence

from safari_bench.exact.extras import Extras
from safari_bench.exact.markdown import markdown, number
from safari_bench.exact.rows import Row, grouped

__all__ = ["targets"]

#: widths and intervals this near to the right ones are called right
_SAME = 0.005
#: bands of waves are named when their width is wrong by more
_TELLING = 0.05

_HEAD = ["task", "psi", "scale", "error of the mean / sd", "sd ratio", "coverage of 90 %", "W2", "sd, low", "sd, high"]
_NAMES = ("mean_error_sd", "sd_ratio", "coverage", "w2", "sd_low", "sd_high")


def targets(extras: Extras, best: Mapping[tuple[str, str], Row]) -> list[str]:
    """The part on psi's target.

    Args:
        best: by method and task, the row at the best number of steps under the Gaussian prior.
    """
    rows = extras.targets
    cells = [[str(row[n]) for n in ("task", "psi", "scale")] + [number(row[n]) for n in _NAMES] for row in rows]
    said = [
        "SaFaRI steers towards exp(-||psi(y) - psi(A x)||^2 / 2 gamma^2) p(x). Here is that distribution against "
        "p(x | y), in closed form and averaged over y; no sampler is involved. With gamma = sigma_y (as weighed), and "
        "with gamma such that psi weighs the residual as much in total as the noise allows (same strength).",
        markdown(cells, _HEAD),
        "\n".join(_verdict(str(psi), of_psi) for (psi,), of_psi in grouped(rows, "psi").items()),
    ]
    compared = [line for method, psi in extras.guided.items() for line in _compared(method, psi, rows, best)]
    if compared:
        said += [
            "How much of a sampler's own distance that explains, roughly: psi's target is averaged over y and of "
            "smaller images, and as a sampler's step is tuned in place of gamma, the least and the most of the two "
            "scales are given. W2 obeys the triangle inequality, so that the difference is the sampler's own at least:",
            "\n".join(compared),
        ]
    return said


def _verdict(psi: str, rows: Sequence[Row]) -> str:
    weighed, same = ([row for row in rows if row["scale"] == scale] for scale in ("as weighed", "same strength"))
    worst, left = max(weighed, key=_w2), max(same, key=_w2)
    if worst["w2"] < _SAME:
        return f"- {psi} targets the posterior itself"
    share = 1 - left["w2"] / worst["w2"]
    what = "strength, which gamma could set right" if share > 0.5 else "shape, which no gamma mends"
    return (
        f"- {psi}, as weighed, makes the posterior {_width(weighed)} and moves its mean by up to "
        f"{number(max(row['mean_error_sd'] for row in weighed))} sd; {_intervals(weighed)}. At the same strength it is "
        f"{_width(same)}, its mean up to {number(max(row['mean_error_sd'] for row in same))} sd off{_bands(same)}. The "
        f"largest W2 falls from {number(worst['w2'])} to {number(left['w2'])}: what psi changes is mostly its {what}"
    )


def _w2(row: Row) -> float:
    return float(row["w2"])


def _width(rows: Sequence[Row]) -> str:
    low, high = (choose(row["sd_ratio"] for row in rows) for choose in (min, max))
    narrow, wide = f"{100 - 100 * low:.0f} % too narrow", f"{100 * high - 100:.0f} % too wide"
    if low < 1 - _SAME and high > 1 + _SAME:
        return f"from {narrow} to {wide}, as the task is"
    if high > 1 + _SAME:
        return f"up to {wide}"
    return f"up to {narrow}" if low < 1 - _SAME else "as wide as it should be"


def _intervals(rows: Sequence[Row]) -> str:
    coverage = max((row["coverage"] for row in rows), key=lambda held: abs(held - 0.9))
    if abs(coverage - 0.9) <= _SAME:
        return "its 90 % intervals are right"
    kind = "too cautious" if coverage > 0.9 else "too sure of themselves"
    return f"its 90 % intervals hold {100 * coverage:.1f} % where that is worst: {kind}"


def _bands(rows: Sequence[Row]) -> str:
    found = []
    for name, band in (("sd_low", "low"), ("sd_high", "high")):
        ratio = max((row[name] for row in rows), key=lambda ratio: abs(math.log(ratio)))
        if abs(ratio - 1) > _TELLING:
            found.append(f"{band} waves are {100 * abs(ratio - 1):.0f} % too {'wide' if ratio > 1 else 'narrow'}")
    return f", though its {' and its '.join(found)} where that is worst" if found else ""


def _compared(method: str, psi: str, rows: Sequence[Row], best: Mapping[tuple[str, str], Row]) -> list[str]:
    lines = []
    for (task,), of_task in grouped([row for row in rows if row["psi"] == psi], "task").items():
        own = best.get((method, str(task)))
        if own is None:
            continue
        least, most = (choose(row["w2"] for row in of_task) for choose in (min, max))
        far = f"{'at least ' if own['w2_kind'] == 'bound' else ''}{number(own['w2'])}"
        head = f"- {method} on {task}, psi = {psi}: {far} from the posterior with {own['nfe']:.0f} NFE, "
        if most < _SAME:
            lines.append(f"{head}and psi's target is the posterior: all of it is the sampler's own")
        elif own["w2"] > 2 * most:
            kept = number(own["w2"] - most)
            lines.append(f"{head}psi's target {number(least)} to {number(most)}: at least {kept} is the sampler's own")
        else:
            lines.append(f"{head}psi's target {number(least)} to {number(most)}: psi may explain most of it")
    return lines
