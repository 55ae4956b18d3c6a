"""The study's findings that need no draws, in words: psi's target, the theorem's bound, orders of convergence."""

from collections.abc import Mapping, Sequence

from safari_bench.exact.convergence import CLAIMS
from safari_bench.exact.extras import Extras
from safari_bench.exact.markdown import markdown, number, power_of_ten
from safari_bench.exact.psi_words import targets
from safari_bench.exact.rows import Row, grouped

__all__ = ["theory"]

#: log10 of left over right above which the bound is called telling
_TELLING = -2.0


def theory(extras: Extras, best: Mapping[tuple[str, str], Row]) -> list[str]:
    """Parts of findings.md, as far as they were asked for.

    Args:
        best: by method and task, the row at the best number of steps under the Gaussian prior.
    """
    parts: list[str] = []
    if extras.targets:
        parts += ["## What SaFaRI's psi does to the posterior it targets", *targets(extras, best)]
    if extras.bounds:
        parts += ["## The bound of SaFaRI's theorem", *_bounds(extras.bounds)]
    if extras.orders:
        parts += ["## Orders of convergence", *_orders(extras.orders)]
    return parts


def _bounds(rows: Sequence[Row]) -> list[str]:
    """What holds of all, and per gamma whether the bound says anything."""
    holds = all(row["log10_ratio"] <= 0 for row in rows)
    parts = [f"It {'holds at all' if holds else 'is violated at some of the'} {len(rows)} points of bound.md."]
    return [*parts, "\n".join(_at_gamma(of_gamma) for of_gamma in grouped(rows, "gamma").values())]


def _at_gamma(rows: Sequence[Row]) -> str:
    tightest = max(rows, key=lambda row: row["log10_ratio"])
    below = [row for row in rows if row["log10_right"] + row["log10_z"] < 0]
    telling = [row for row in below if row["log10_ratio"] > _TELLING]
    where = f"t = {tightest['t']} ({tightest['task']}, psi = {tightest['psi']})"
    head = (
        f"- gamma = {rows[0]['gamma']:g}: tightest at {where}, where the left side is "
        f"{power_of_ten(tightest['log10_ratio'])} of the right. The right side is below the trivial bound, the "
        f"likelihood's largest value, at {len(below)} of {len(rows)} points"
    )
    if not telling:
        return f"{head}, and the left is a hundredth of it at none of them: here the bound says nothing of use"
    times = sorted({row["t"] for row in telling})
    when = f"t = {times[0]}" if len(times) == 1 else f"t = {times[0]} to {times[-1]}"
    much = f"the left is more than a hundredth of it at {len(telling)} of them"
    return f"{head}, and {much}, {when}: there it says something"


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
