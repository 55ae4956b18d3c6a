"""The exact study as tables and plots, from its rows alone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from safari_bench.ledger import write_atomic
from safari_bench.study.exact import EXACT, Section, points, tunings
from safari_bench.study.plots import plot_bound, plot_task
from safari_bench.study.rows import Row, grouped, to_csv

__all__ = ["write", "write_bound"]

_NOTHING = "\N{EN DASH}"
_COLUMNS = {"method": "method", "steps": "steps", "value": "tuned"}
_COLUMNS |= {"nfe": "NFE", "n_backward": "backward", "seconds": "s / image"}
_GAUSSIAN = {
    "mean_error": "error of the mean",
    "mean_error_sd": "/ sd",
    "sd_ratio": "sd ratio",
    "coverage": "coverage of 90 %",
    "w2": "W2",
    "sd_low": "sd, low",
    "sd_high": "sd, high",
}
_MIXTURE = {
    "mean_error_sd": "error of the mean / sd",
    "sd_ratio": "sd ratio",
    "sliced_w": "sliced W",
    "sliced_w_floor": "of exact draws",
    "weight_error": "error of the weights",
    "weight_floor": "of exact draws ",
    "weights": "weights",
}
_GAUSSIAN_LEGEND = """\
- error of the mean: RMS over pixels of the sampler's mean minus E[x | y], on [-1, 1]; "/ sd" is relative to the
  posterior's standard deviation, pixel by pixel. Noise comes in mirrored pairs, so that the Monte-Carlo error, which is
  taken off, is 0 for samplers that are affine in their noise
- sd ratio: standard deviation of the draws over the posterior's, root mean square over pixels; 1 is right, 0 a point
  estimate. Low and high: in waves below and above a quarter of Nyquist
- coverage: what the sampler's central 90 % intervals hold of the posterior, mean over pixels
- W2: Wasserstein-2 distance between the Gaussians of the two means and covariances, relative to the root of the
  posterior's total variance (1 is what the best point estimate has). Exact where A is shift-invariant, because there
  both covariances are diagonal in waves (if the sampler is affine); elsewhere, marked "at least", the larger of the
  lower bounds that the marginals over waves and over pixels give"""
_MIXTURE_LEGEND = """\
- sliced W: Wasserstein-2 distance from exact draws, root mean square over 128 random directions, relative to the
  posterior's standard deviation; beside it what as many exact draws get
- weights: of the modes, p(k | x) averaged over the draws; error: total variation distance from the exact weights"""
_SHARED = f"""\
- NFE: prior calls; backward: backward passes through the prior; s / image: wall time over the size of the batch
- tuned: chosen on other draws of x and y, see tuning.csv; {_NOTHING}: not known, or not applicable
- {EXACT}: what a perfect sampler scores with as many draws"""


def write(sections: Sequence[Section], folder: Path) -> str:
    """Write exact.csv, mixture.csv, tuning.csv, exact.md and a plot per task.

    Returns:
        the overview, as Markdown.
    """
    found = [(section, points(section, folder)) for section in sections]
    gaussian = [row for section, rows in found if not _mixture(section) for row in rows]
    mixture = [row for section, rows in found if _mixture(section) for row in rows]
    tried = [row for section in sections for row in tunings(section, folder)]
    for name, rows in (("exact.csv", gaussian), ("mixture.csv", mixture), ("tuning.csv", tried)):
        if rows:
            write_atomic(folder / name, to_csv(rows))
    overview = "\n\n".join(_overview(section, rows) for section, rows in found)
    parts = ["# The exact study", overview, *(_tables(section, rows) for section, rows in found), _SHARED]
    write_atomic(folder / "exact.md", ("\n\n".join(parts) + "\n").encode())
    for section, rows in found:
        for (task,), of_task in grouped(rows, "task").items():
            error, spread = ("sliced_w", "weight_error") if _mixture(section) else ("mean_error_sd", "sd_ratio")
            title, label = f"{section.title}: {task}", "sliced W" if _mixture(section) else "error of the mean / sd"
            names = (label, (_MIXTURE if _mixture(section) else _GAUSSIAN)[spread])
            drawn = plot_task(of_task, title, (error, spread), names, ideal=None if _mixture(section) else 1.0)
            write_atomic(folder / f"{section.name}-{task}.png", drawn)
    return overview


def write_bound(rows: Sequence[Row], folder: Path) -> None:
    """Write bound.csv, bound.md and bound.png.

    Args:
        rows: task, psi, and the fields of `Bound`.
    """
    parts = [
        "# The bound of SaFaRI's theorem under the Gaussian prior",
        "|p_psi,t(y | x_t) - p_psi(y | x0_hat)| <= L_psi ||A|| m_1 / (e^{1/2} Z_psi gamma), where nothing in it is\n"
        "estimated: x_0 given x_t is Gaussian, and gamma = sigma_y unless bound.gamma says otherwise.",
        "- left, right: times Z_psi, so that the left cannot exceed 1; where the right does, the bound says nothing\n"
        "- left: the median over draws of x_t; ratio: left over right, the largest over those draws; the right does\n"
        "  not depend on x_t\n"
        "- m_1 = E||x_0 - x0_hat||",
    ]
    head = ["t", "sigma_t", "m_1", "left", "right", "ratio"]
    for (task, psi), of_psi in grouped(rows, "task", "psi").items():
        cells = [
            [
                str(row["t"]),
                f"{row['sigma_t']:.3g}",
                f"{row['m_1']:.3g}",
                _power_of_ten(row["log10_left"] + row["log10_z"]),
                _power_of_ten(row["log10_right"] + row["log10_z"]),
                _power_of_ten(row["log10_ratio"]),
            ]
            for row in of_psi
        ]
        parts += [f"## {task}, psi = {psi} (log10 Z_psi = {of_psi[0]['log10_z']:.1f})", _markdown(cells, head)]
    write_atomic(folder / "bound.csv", to_csv(rows))
    write_atomic(folder / "bound.md", ("\n\n".join(parts) + "\n").encode())
    write_atomic(folder / "bound.png", plot_bound(rows))


def _overview(section: Section, rows: Sequence[Row]) -> str:
    """One line per method, at its largest number of steps that worked."""
    tasks, by_cell = [key for (key,) in grouped(rows, "task")], grouped(rows, "method", "task")
    found = [key for (key,) in grouped(rows, "method")]
    methods = sorted(found, key=[EXACT, *section.order, *found].index)
    cells = [
        [method, *(_summary(by_cell.get((method, task), []), _mixture(section)) for task in tasks)]
        for method in methods
    ]
    said = (
        "sliced W relative to that of exact draws, error of the modes' weights"
        if _mixture(section)
        else "error of the mean relative to sd, sd ratio, coverage of 90 % intervals"
    )
    most = f"At each method's largest number of steps that works: {said}."
    return f"## {section.title}\n\n{most}\n\n{_markdown(cells, ['method', *tasks])}"


def _summary(rows: Sequence[Row], mixture: bool) -> str:
    worked = [row for row in rows if row["status"] == "ok"]
    if not worked:
        return str(rows[-1]["status"]) if rows else _NOTHING
    last = max(worked, key=lambda row: row["steps"])
    note = "; diverges" if any(row["status"] == "diverged" for row in rows) else ""
    if mixture:
        return f"{_number(last['sliced_w'] / last['sliced_w_floor'])}, {last['weight_error']:.2f}{note}"
    return f"{_number(last['mean_error_sd'])}, {_number(last['sd_ratio'])}, {last['coverage']:.0%}{note}"


def _tables(section: Section, rows: Sequence[Row]) -> str:
    parts = []
    for (task,), of_task in grouped(rows, "task").items():
        columns, said = _COLUMNS | (_MIXTURE if _mixture(section) else _GAUSSIAN), ""
        if any(row.get("w2_kind") == "bound" for row in of_task):
            columns |= {"w2": "W2, at least"}
        if _mixture(section):
            said = f", exact weights {next(r['exact_weights'] for r in of_task if r['status'] == 'ok')}"
        cells = [[_cell(row, name) for name in columns] for row in of_task]
        parts.append(f"### {section.title}: {task}{said}\n\n{_markdown(cells, list(columns.values()))}")
    return "\n\n".join([*parts, _MIXTURE_LEGEND if _mixture(section) else _GAUSSIAN_LEGEND])


def _cell(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if name in ("sliced_w", "mean_error_sd") and row["status"] != "ok":
        return str(row["status"])
    if isinstance(value, str):
        return value or _NOTHING
    if not isinstance(value, int | float) or math.isnan(value) or (name == "steps" and value == 0):
        return _NOTHING
    if name in ("steps", "nfe", "n_backward"):
        return str(int(value))
    return f"{value:.0%}" if name == "coverage" else _number(value)


def _number(value: float) -> str:
    """Three digits, two for small ones, and an exponent where it is shorter."""
    if 0.001 <= abs(value) < 1000:
        return f"{value:.3g}" if abs(value) >= 0.1 else f"{value:.2g}"
    return "0" if abs(value) < 5e-5 else f"{value:.1e}"


def _power_of_ten(log10: float) -> str:
    if log10 == -math.inf:
        return "0"
    whole = math.floor(log10)
    return f"{10 ** (log10 - whole):.2f}e{whole:+d}"


def _markdown(cells: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    align = ["left", *["right"] * (len(head) - 1)]
    return str(tabulate(cells, headers=head, tablefmt="pipe", disable_numparse=True, colalign=align))


def _mixture(section: Section) -> bool:
    return section.criterion == "sliced_w"
