"""The values that settings may have, written beside their types: `zeta: NonNegative = 1.0`.

Imports nothing heavy. A number without a range must be finite.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, get_args, get_type_hints

__all__ = ["Count", "Fraction", "NonNegative", "Positive", "Range", "Share", "expect", "hints_of", "outside"]


@dataclass(frozen=True)
class Range:
    """The numbers from low to high.

    Args:
        above: low itself is left out.
        below: high itself is left out.
    """

    low: int | float
    high: int | float
    above: bool = False
    below: bool = False

    def __contains__(self, value: int | float) -> bool:
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high) and math.isfinite(value)

    def __str__(self) -> str:
        if math.isinf(self.low):
            return "a finite number"
        if math.isinf(self.high):
            return f"a finite number {'>' if self.above else '>='} {self.low:g}"
        return f"a number in {'(' if self.above else '['}{self.low:g}, {self.high:g}{')' if self.below else ']'}"


#: steps, iterations, runs: more than any method needs, and few enough to be listed in memory
Count: TypeAlias = Annotated[int, Range(1, 100_000)]
Share: TypeAlias = Annotated[float, Range(0, 1)]
#: a share that is not all
Fraction: TypeAlias = Annotated[float, Range(0, 1, below=True)]
Positive: TypeAlias = Annotated[float, Range(0, math.inf, above=True)]
NonNegative: TypeAlias = Annotated[float, Range(0, math.inf)]

_FINITE = Range(-math.inf, math.inf)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's arguments or of a class's attributes with their ranges; of names unknown here, none."""
    try:
        return get_type_hints(function, include_extras=True)
    except NameError:  # of a user's own module, imported for type checkers only
        return {}


def outside(value: Any, hint: Any) -> str:
    """What a value is expected to be if it is a number outside its range; empty if it is not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    for part in (hint, *get_args(hint)):
        for found in getattr(part, "__metadata__", ()):
            if isinstance(found, Range):
                return "" if value in found else str(found)
    return "" if value in _FINITE else str(_FINITE)


def expect(owner: object) -> None:
    """Check every attribute of an object against its range.

    Raises:
        ValueError: one is outside.
    """
    hints: Mapping[str, Any] = hints_of(type(owner))
    for name, value in vars(owner).items():
        if said := outside(value, hints.get(name)):
            raise ValueError(f"{type(owner).__name__}: {name}: got {value}, expected {said}")
