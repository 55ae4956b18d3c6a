"""Resolved configurations: their name, and how two of them differ."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from safari_bench.ledger.files import LedgerError

__all__ = ["canonical", "difference", "flatten", "run_id"]


def run_id(spec: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that name a resolved configuration.

    The order of keys does not matter, and a whole number is the same number however it is written (1, 1.0, 1e0; but not
    True), because Hydra passes on whichever the user typed.

    Raises:
        LedgerError: the configuration holds something that JSON cannot.
    """
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:12]


def canonical(tree: Any) -> str:
    """JSON text that is equal exactly for trees that mean the same.

    Raises:
        LedgerError: a leaf is not text, a number, a boolean or None.
    """
    try:
        return json.dumps(_whole(tree), sort_keys=True, separators=(",", ":"))
    except TypeError as error:
        remedy = "resolve it with OmegaConf.to_container"
        raise LedgerError(f"the resolved configuration must be plain JSON, but {error}; {remedy}") from error


def flatten(tree: Any, path: str = "") -> dict[str, Any]:
    """A nested configuration as {dotted key: leaf}; lists and empty mappings are leaves."""
    if not isinstance(tree, Mapping) or not tree:
        return {path: tree} if path else {}
    return {k: v for key, node in tree.items() for k, v in flatten(node, f"{path}.{key}" if path else key).items()}


def difference(old: Any, new: Any) -> str:
    """Says in which keys two configurations differ (the first three, and how many more), "" if in none."""
    a, b = flatten(old), flatten(new)
    pairs = {k: (_leaf(a, k), _leaf(b, k)) for k in [*a, *(b.keys() - a.keys())]}
    found = [f"{k}: got {y}, expected {x}" for k, (x, y) in pairs.items() if x != y]
    return ", ".join(found[:3] + ([f"and {len(found) - 3} more"] if len(found) > 3 else []))


def _leaf(flat: Mapping[str, Any], key: str) -> str:
    return canonical(flat[key]) if key in flat else "nothing"


def _whole(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _whole(node) for key, node in tree.items()}
    if isinstance(tree, list | tuple):
        return [_whole(node) for node in tree]
    return int(tree) if isinstance(tree, float) and tree.is_integer() else tree
