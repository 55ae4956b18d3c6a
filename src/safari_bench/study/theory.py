"""The study's findings that need no draws, in words: psi's target, the theorem's bound, orders of convergence."""

from collections.abc import Sequence

from safari_bench.study.convergence import CLAIMS
from safari_bench.study.extras import Extras
from safari_bench.study.markdown import markdown, number, power_of_ten
from safari_bench.study.rows import Row, grouped

__all__ = ["theory"]


def theory(extras: Extras) -> list[str]:
    """Parts of findings.md, as far as they were asked for."""
    parts: list[str] = []
    if extras.targets:
        parts += ["## What SaFaRI's psi does to the posterior it targets", *_targets(extras.targets)]
    if extras.bounds:
        parts += ["## The bound of SaFaRI's theorem", _bounds(extras.bounds)]
    if extras.orders:
        parts += ["## Orders of convergence", *_orders(extras.orders)]
    return parts


def _targets(rows: Sequence[Row]) -> list[str]:
    head = [
        "task",
        "psi",
        "scale",
        "error of the mean / sd",
        "sd ratio",
        "coverage of 90 %",
        "W2",
        "sd, low",
        "sd, high",
    ]
    names = ("mean_error_sd", "sd_ratio", "coverage", "w2", "sd_low", "sd_high")
    cells = [[str(row[n]) for n in ("task", "psi", "scale")] + [number(row[n]) for n in names] for row in rows]
    said = [
        "SaFaRI steers towards exp(-||psi(y) - psi(A x)||^2 / 2 gamma^2) p(x). Here is that distribution against "
        "p(x | y), in closed form and averaged over y; no sampler is involved. With gamma = sigma_y (as weighed), and "
        "with gamma such that psi weighs the residual as much in total as the noise allows (same strength).",
        markdown(cells, head),
    ]
    for (psi,), of_psi in grouped([row for row in rows if row["psi"] != "pixel"], "psi").items():
        weighed, same = ([r for r in of_psi if r["scale"] == scale] for scale in ("as weighed", "same strength"))
        said.append(
            f"- {psi}: the mean moves by {_range(weighed, 'mean_error_sd')} sd, the spread is "
            f"{_range(weighed, 'sd_ratio')} of the right one and 90 % intervals hold {_range(weighed, 'coverage')}; at "
            "the same strength "
            f"{_range(same, 'mean_error_sd')}, {_range(same, 'sd_ratio')} and {_range(same, 'coverage')}"
        )
    return said


def _range(rows: Sequence[Row], name: str) -> str:
    low, high = min(row[name] for row in rows), max(row[name] for row in rows)
    return f"{number(low)} to {number(high)}"


def _bounds(rows: Sequence[Row]) -> str:
    holds = all(row["log10_ratio"] <= 0 for row in rows)
    tightest = max(rows, key=lambda row: row["log10_ratio"])
    telling = [row["t"] for row in rows if row["log10_right"] + row["log10_z"] < 0]
    when = f"for t <= {max(telling)} at the most" if telling else "for no t"
    verb = "holds at all" if holds else "is violated at some of the"
    where = f"t = {tightest['t']} ({tightest['task']}, psi = {tightest['psi']})"
    return (
        f"It {verb} {len(rows)} points of bound.md. It is tightest at {where}, where the left side is "
        f"{power_of_ten(tightest['log10_ratio'])} of the right. The right side is below the trivial bound, the "
        f"likelihood's largest value, {when}."
    )


def _orders(rows: Sequence[Row]) -> list[str]:
    steps = sorted({row["steps"] for row in rows})
    cells, said = [], []
    for (claim, task), line in grouped(rows, "claim", "task").items():
        errors = [number(row["cov_error"]) for row in line]
        cells.append([claim, task, *errors, f"{line[-1]['order']:.2f}", number(line[-1]["mean_error"])])
    for (claim,), line in grouped([row for row in rows if row["steps"] == steps[-1]], "claim").items():
        low, high = min(row["order"] for row in line), max(row["order"] for row in line)
        kind = "should converge" if CLAIMS[str(claim)].exact else "is not claimed to converge"
        said.append(f"- {claim}, which {kind}: last order {low:.2f} to {high:.2f}")
    head = ["claim", "task", *(f"{T} steps" for T in steps), "last order", "mean, last"]
    return [
        "Error of the output's covariance relative to the posterior's, exact moments and no draws, on 2 x 4 pixels; "
        "the diffusion is refined with the steps. An order of 1 halves the error when the steps are doubled.",
        markdown(cells, head),
        "\n".join(said),
    ]
