"""The exact study as tables and plots, from its rows alone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from safari_bench.exact.extras import Extras, files
from safari_bench.exact.findings import findings
from safari_bench.exact.markdown import NOTHING, markdown, number
from safari_bench.exact.plan import Section
from safari_bench.exact.plots import plot_task
from safari_bench.exact.rows import Row, grouped, to_csv
from safari_bench.exact.study import EXACT, points, tunings
from safari_bench.ledger import write_atomic

__all__ = ["Extras", "write"]

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
  lower bounds that the marginals over waves and over pixels give. Where A is not shift-invariant and too large to write
  out, that takes the variances of exact draws, and the sd ratio and coverage are over some pixels: see exact.yaml. It
  is unbiased and cut off at 0: what is at or below the exact draws' W2 is not told apart from them"""
_MIXTURE_LEGEND = """\
- sliced W: Wasserstein-2 distance from exact draws, root mean square over 128 random directions, relative to the
  posterior's standard deviation; beside it what as many exact draws get
- weights: of the modes, p(k | x) averaged over the draws; error: total variation distance from the exact weights"""
_SHARED = f"""\
- NFE: prior calls; backward: backward passes through the prior; s / image: processor time over the size of the batch,
  {NOTHING} where samplers ran on a GPU
- tuned: chosen on other draws of x and y, see tuning.csv; {NOTHING}: not known, or not applicable
- {EXACT}: what a perfect sampler scores with as many draws"""


def write(sections: Sequence[Section], extras: Extras, folder: Path) -> str:
    """Write findings.md, exact.md, their CSVs and a plot per task.

    Returns:
        the findings, as Markdown.
    """
    found = [(section, points(section, folder)) for section in sections]
    gaussian = [row for section, rows in found if not section.mixture for row in rows]
    mixture = [row for section, rows in found if section.mixture for row in rows]
    tried = [row for section in sections for row in tunings(section, folder)]
    for name, rows in (("exact.csv", gaussian), ("mixture.csv", mixture), ("tuning.csv", tried)):
        if rows:
            write_atomic(folder / name, to_csv(rows))
    parts = ["# The exact study", *(_tables(section, rows) for section, rows in found if rows), _SHARED]
    write_atomic(folder / "exact.md", ("\n\n".join(parts) + "\n").encode())
    said = findings(found, extras)
    write_atomic(folder / "findings.md", said.encode())
    for name, content in files(extras).items():
        write_atomic(folder / name, content)
    for section, rows in found:
        for (task,), of_task in grouped(rows, "task").items():
            write_atomic(folder / f"{section.name}-{task}.png", _plot(section, task, of_task))
    return said


def _plot(section: Section, task: str, rows: Sequence[Row]) -> bytes:
    error, spread = ("sliced_w", "weight_error") if section.mixture else ("mean_error_sd", "sd_ratio")
    label = "sliced W" if section.mixture else "error of the mean / sd"
    names = (label, (_MIXTURE if section.mixture else _GAUSSIAN)[spread])
    return plot_task(rows, f"{section.title}: {task}", (error, spread), names, ideal=None if section.mixture else 1.0)


def _tables(section: Section, rows: Sequence[Row]) -> str:
    parts = []
    for (task,), of_task in grouped(rows, "task").items():
        columns, said = _COLUMNS | (_MIXTURE if section.mixture else _GAUSSIAN), ""
        if any(row.get("w2_kind") == "bound" for row in of_task):
            columns |= {"w2": "W2, at least"}
        if section.mixture:
            said = f", exact weights {next(r['exact_weights'] for r in of_task if r['status'] == 'ok')}"
        cells = [[_cell(row, name) for name in columns] for row in of_task]
        parts.append(f"### {section.title}: {task}{said}\n\n{markdown(cells, list(columns.values()))}")
    return "\n\n".join([*parts, _MIXTURE_LEGEND if section.mixture else _GAUSSIAN_LEGEND])


def _cell(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if name in ("sliced_w", "mean_error_sd") and row["status"] != "ok":
        return str(row["status"])
    if isinstance(value, str):
        return value or NOTHING
    if not isinstance(value, int | float) or math.isnan(value) or (name == "steps" and value == 0):
        return NOTHING
    if name in ("steps", "nfe", "n_backward"):
        return str(int(value))
    return f"{value:.0%}" if name == "coverage" else number(value)
