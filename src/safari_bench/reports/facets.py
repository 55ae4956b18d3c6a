"""In what cells of one task differ besides method and seed. Every such difference has a table of its own, a facet.

A key also counts where its value is not that of the task's own file in conf/task, so that "sr_x4" at factor 8 is called
"sr_x4, factor 8" even if nothing else ran.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from safari_bench.ledger import flatten
from safari_bench.reports.registered import option
from safari_bench.reports.variants import order_of, shortest, value_text

__all__ = ["Facet", "facets", "heading", "number", "order"]

#: dotted key of the resolved configuration -> value.
Facet = Mapping[str, Any]

#: keys that are named only where no other key tells cells apart
_DIGESTS = ("sha256", "_target_", "recipe", "preprocessing")
_CALLED = {
    "dataset.manifest_sha256": "images",
    "prior.sha256": "weights",
    "task.operator._target_": "operator",
}
_AT_SIZE = re.compile(r"\$\{at_size:([^,]+),([^}]+)\}")


def facets(specs: Sequence[Mapping[str, Any]]) -> list[list[Facet]]:
    """The facets that each cell of one dataset and task stands in; most stand in one.

    A method without a prior stands beside those of every prior, and its fp32 cell beside every precision but fp64.

    Args:
        specs: the resolved configurations of the cells.
    """
    facts = [_facts(spec) for spec in specs]
    differing = _differing(specs, facts)
    keys = [*differing, *dict.fromkeys(key for spec in specs for key in _overridden(spec) if key not in differing)]
    own = [{key: found[key] for key in keys if key in found} for found in facts]
    whole = [facet for facet, spec in zip(own, specs, strict=True) if _uses_prior(spec)]
    return [[facet] if _uses_prior(spec) else _neighbours(facet, whole) for facet, spec in zip(own, specs, strict=True)]


def heading(task: str, facet: Facet) -> str:
    """The task with its facet, e.g. "sr_x4, factor 8, prior gaussian"."""
    return ", ".join([task, *(f"{_name(key, facet)} {_text(key, value)}" for key, value in facet.items())])


def order(facet: Facet) -> tuple[Any, ...]:
    """Sort key of facets: numbers as numbers."""
    return tuple(order_of(number(value) if number(value) is not None else value) for value in facet.values())


def number(value: Any) -> float | None:
    """The value as a number, of the side where it is the size of a square; None if it is none."""
    if isinstance(value, list | tuple) and value and all(side == value[0] for side in value):
        value = value[0]
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _facts(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What problem was solved and with which prior: dotted key -> value."""
    parts = ("dataset", "task", "prior", "precision") if _uses_prior(spec) else ("dataset", "task", "precision")
    found = flatten({part: spec[part] for part in parts if part in spec})
    return {key: value for key, value in found.items() if key not in ("dataset.name", "task.name")}


def _uses_prior(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("prior", {}).get("name", "none") != "none")


def _differing(specs: Sequence[Mapping[str, Any]], facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys with several values, without digests where the others tell the cells apart."""
    found = []
    for key in dict.fromkeys(key for each in facts for key in each):
        of = [each for each, spec in zip(facts, specs, strict=True) if _uses_prior(spec) or key[:6] != "prior."]
        if len({_canonical(each.get(key)) for each in of}) > 1 and (key != "precision" or _both_precisions(specs)):
            found.append(key)
    terse = [key for key in found if not key.endswith(_DIGESTS)]
    return terse if _distinct(facts, terse) == _distinct(facts, found) else found


def _both_precisions(specs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a method ran in several precisions; else each method's own stands in the caption."""
    without = {_canonical({key: value for key, value in spec.items() if key != "precision"}) for spec in specs}
    return len(without) < len({_canonical(spec) for spec in specs})


def _distinct(facts: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> int:
    return len({tuple(_canonical(each.get(key)) for key in keys) for each in facts})


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _neighbours(own: Facet, whole: Sequence[Facet]) -> list[Facet]:
    """The facets of methods with a prior that agree with what a method without one depends on."""

    def agrees(facet: Facet) -> bool:
        fixed = {key: value for key, value in own.items() if key != "precision"}
        double = [of.get("precision") == "fp64" for of in (own, facet)]
        return all(facet.get(key) == value for key, value in fixed.items()) and double[0] == double[1]

    found = {_canonical(facet): facet for facet in whole if agrees(facet)}
    return list(found.values()) or [own]


def _overridden(spec: Mapping[str, Any]) -> list[str]:
    """The operator's keys whose values differ from those of conf/task/<task>.yaml."""
    task = spec.get("task", {})
    operator, shipped = task.get("operator", {}), _shipped(str(task.get("name")))
    if not shipped or operator.get("_target_") != shipped.get("_target_"):
        return []
    size = spec.get("dataset", {}).get("size")
    expected = {key: _resolved(value, size) for key, value in shipped.items()}
    return [
        f"task.operator.{key}"
        for key, value in operator.items()
        if key not in expected or (expected[key] is not None and expected[key] != value)
    ]


@lru_cache(maxsize=64)
def _shipped(task: str) -> dict[str, Any]:
    """The operator of conf/task/<task>.yaml, interpolations unresolved; empty if no such task ships."""
    found = option("task", task)
    parents = [name for name in found.get("defaults", []) if isinstance(name, str) and name != "_self_"]
    operator: dict[str, Any] = {}
    for name in parents:
        operator.update(_shipped(name))
    operator.update(found.get("operator", {}))
    return operator


def _resolved(value: Any, size: Any) -> Any:
    """The value for images of a size; None for what only hydra can resolve."""
    if not isinstance(value, str) or "${" not in value:
        return value
    found, side = _AT_SIZE.fullmatch(value.strip()), min(size) if isinstance(size, list) else size
    if found is None or side is None:
        return None
    return yaml.safe_load(found[1] if side < 128 else found[2])


def _name(key: str, among: Facet) -> str:
    return _CALLED.get(key) or shortest(key, list(among))


def _text(key: str, value: Any) -> str:
    if key.endswith("sha256"):
        return str(value)[:8]
    if key.endswith("_target_"):
        return str(value).rpartition(".")[2]
    if isinstance(value, list) and number(value) is not None:
        return value_text(value[0])
    return "x".join(map(value_text, value)) if isinstance(value, list) else value_text(value)
