"""Names for the configurations of one sampler that stand side by side, made of the keys in which they differ."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from safari_bench.ledger import flatten

__all__ = ["name_variants", "order_of", "shortest", "value_text"]

_Key = tuple[tuple[int, float, str], ...]


def name_variants(sampler: str, specs: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, _Key]]:
    """A label and a sort key for every configuration.

    A lone one is called by its sampler, several ones e.g. "safari [spatial=0.5, high=1]". Values sort as numbers where
    they are numbers. Digests and class paths are left out where the rest tells the configurations apart.

    Args:
        sampler: the sampler's name.
        specs: identity of a configuration (all different) -> the configuration.
    """
    flat = {key: flatten(spec) for key, spec in sorted(specs.items())}
    paths = dict.fromkeys(path for leaves in flat.values() for path in leaves)
    differing = [p for p in paths if len({_value(leaves, p) for leaves in flat.values()}) > 1]
    terse = [p for p in differing if not p.endswith(("sha256", "_target_"))]
    if len({tuple(_value(leaves, p) for p in terse) for leaves in flat.values()}) == len(flat):
        differing = terse
    short = {p: shortest(p, differing) for p in differing}
    digits = {p: _digits([leaves[p] for leaves in flat.values() if p in leaves]) for p in differing}
    named = {}
    for key, leaves in flat.items():
        said = ", ".join(f"{short[p]}={_value(leaves, p, digits[p])}" for p in differing if p in leaves)
        named[key] = f"{sampler} [{said}]" if said else sampler, tuple(order_of(leaves.get(p)) for p in differing)
    return named


def shortest(path: str, among: list[str]) -> str:
    """The last part of a dotted path, or as many as tell it from the others; "prior.name" is called "prior"."""
    ends = {p: p.removesuffix(".name").split(".") for p in among}
    for count in range(1, len(ends[path]) + 1):
        if sum(other[-count:] == ends[path][-count:] for other in ends.values()) == 1:
            return ".".join(ends[path][-count:])
    return path


def _digits(values: Sequence[Any]) -> int:
    """How many significant digits tell numbers apart, at least four: a search draws sixteen of them."""
    numbers = {float(value) for value in values if isinstance(value, int | float)}
    return next((d for d in range(4, 17) if len({f"{number:.{d}g}" for number in numbers}) == len(numbers)), 17)


def _value(leaves: Mapping[str, Any], path: str, digits: int = 17) -> str:
    return value_text(leaves[path], digits) if path in leaves else ""


def value_text(value: Any, digits: int = 17) -> str:
    """As a person would type it, a number with `digits`; text that reads as something else is quoted."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, float):
        return min(json.dumps(value), f"{value:.{digits}g}", key=len)
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value or '""'
    return json.dumps(value)


def order_of(value: Any) -> tuple[int, float, str]:
    """Sort key of values of any kind: nothing, then numbers, then text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (0, 0.0, "") if value is None else (2, 0.0, str(value))
    return 1, float(value), ""
