"""What the exact study knows without a run: the theorem's bound, psi's target, the orders of convergence."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from safari_bench.exact.markdown import markdown, power_of_ten
from safari_bench.exact.plots import plot_bound
from safari_bench.exact.rows import Row, grouped, to_csv

__all__ = ["Extras", "files"]


class Extras(NamedTuple):
    """Rows; an empty list is a part that was not asked for.

    Attributes:
        bounds: task, psi and the fields of `Bound`.
        targets: task, psi and the fields of `Target`.
        orders: the fields of `Order`.
        guided: methods that step along the gradient of ||psi(y) - psi(A x0_hat)||, and the name of their psi.
    """

    bounds: Sequence[Row]
    targets: Sequence[Row]
    orders: Sequence[Row]
    guided: Mapping[str, str] = MappingProxyType({})


def files(extras: Extras) -> dict[str, bytes]:
    """Their files, by name."""
    found = {f"{name}.csv": to_csv(rows) for name, rows in _named(extras) if rows}
    if extras.bounds:
        found |= {"bound.md": _bound_page(extras.bounds).encode(), "bound.png": plot_bound(extras.bounds)}
    return found


def _named(extras: Extras) -> Sequence[tuple[str, Sequence[Row]]]:
    return (("bound", extras.bounds), ("psi_target", extras.targets), ("orders", extras.orders))


def _bound_page(rows: Sequence[Row]) -> str:
    """bound.md.

    Args:
        rows: task, psi, and the fields of `Bound`.
    """
    parts = [
        "# The bound of SaFaRI's theorem under the Gaussian prior",
        "|p_psi,t(y | x_t) - p_psi(y | x0_hat)| <= L_psi ||A|| m_1 / (e^{1/2} Z_psi gamma), where nothing in it is\n"
        "estimated: x_0 given x_t is Gaussian. gamma is sigma_y, and what else bound.gammas names.",
        "- left, right: times Z_psi, so that the left cannot exceed 1; where the right does, the bound says nothing\n"
        "- left: the median over draws of x_t; ratio: left over right, the largest over those draws; the right does\n"
        "  not depend on x_t\n"
        "- m_1 = E||x_0 - x0_hat||",
    ]
    head = ["t", "sigma_t", "m_1", "left", "right", "ratio"]
    for (gamma, task, psi), of_psi in grouped(rows, "gamma", "task", "psi").items():
        cells = [
            [
                str(row["t"]),
                f"{row['sigma_t']:.3g}",
                f"{row['m_1']:.3g}",
                power_of_ten(row["log10_left"] + row["log10_z"]),
                power_of_ten(row["log10_right"] + row["log10_z"]),
                power_of_ten(row["log10_ratio"]),
            ]
            for row in of_psi
        ]
        log10_z = f"log10 Z_psi = {of_psi[0]['log10_z']:.1f}"
        parts += [f"## gamma = {gamma:g}, {task}, psi = {psi} ({log10_z})", markdown(cells, head)]
    return "\n\n".join(parts) + "\n"
