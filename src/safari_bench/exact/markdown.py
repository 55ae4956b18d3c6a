"""Numbers and tables as text."""

import math
from collections.abc import Sequence

from tabulate import tabulate

__all__ = ["NOTHING", "markdown", "number", "power_of_ten"]

#: where there is no number
NOTHING = "\N{EN DASH}"


def number(value: float) -> str:
    """Three digits, two for small ones, and an exponent where it is shorter."""
    if 0.001 <= abs(value) < 1000:
        return f"{value:.3g}" if abs(value) >= 0.1 else f"{value:.2g}"
    return "0" if abs(value) < 5e-5 else f"{value:.1e}"


def power_of_ten(log10: float) -> str:
    """10^log10 with three digits, however large or small."""
    if log10 == -math.inf:
        return "0"
    whole = math.floor(log10)
    return f"{10 ** (log10 - whole):.2f}e{whole:+d}"


def markdown(cells: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """A table whose first column is words and whose others are numbers."""
    align = ["left", *["right"] * (len(head) - 1)]
    return str(tabulate(cells, headers=head, tablefmt="pipe", disable_numparse=True, colalign=align))
