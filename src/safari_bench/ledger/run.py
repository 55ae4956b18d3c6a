"""What lies beside the rows: run.json, and the files attached to a cell later."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safari_bench.ledger.files import LedgerError, write_atomic

__all__ = ["SCHEMA", "attach", "attached", "damaged", "listing", "read_run"]

#: version of the layout of run.json and of the rows.
SCHEMA = 1


def read_run(path: Path) -> dict[str, Any]:
    """The contents of a run.json.

    Raises:
        LedgerError: it is absent, damaged or of another schema.
    """
    try:
        run = json.loads(path.read_bytes())
        schema, _, _ = run["schema"], run["spec"], run["ids"]
    except FileNotFoundError as error:
        raise LedgerError(f"{path.parent}: no run.json, so no cell; name a folder that a run has made") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, repr(error)) from error
    if why := _misshapen(run):
        raise damaged(path, why)
    if schema != SCHEMA:
        remedy = "use the version of safari_bench that wrote it, or choose another name="
        raise LedgerError(f"{path}: schema {schema}, expected {SCHEMA}; {remedy}")
    return dict(run)


#: what readers take for granted of a run.json, where it says it
_SHAPE: dict[str, type | tuple[type, ...]] = {
    "ids": list,
    **dict.fromkeys(("spec", "config", "settings", "settings.values", "machine", "backbones"), dict),
    **{f"{top}.{group}": dict for top in ("spec", "config") for group in ("dataset", "prior", "task", "sampler")},
    **{f"{top}.task.operator": dict for top in ("spec", "config")},
    **{f"spec.{group}.name": str for group in ("dataset", "prior", "task", "sampler")},
    **dict.fromkeys(("spec.precision", "spec.task.noise", "spec.task.sigma_range", "config.objective"), str),
    **dict.fromkeys(("settings.name", "settings.asked", "settings.file"), str),
    **dict.fromkeys(("spec.task.sigma", "spec.seed", "spec.numbers"), (int, float)),
}


def _misshapen(run: Mapping[str, Any]) -> str:
    """What is not as readers take it for granted; empty if all is."""
    for key, kind in _SHAPE.items():
        node: Any = run
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None and not isinstance(node, kind):
            return f"{key}: got {node!r}"[:200]
        *parents, last = key.split(".")
        if node is None and _holds_none(run, parents, last):
            return f"{key}: got null"
    return next((f"ids: got {image!r}" for image in run["ids"] if not isinstance(image, str)), "")


def _holds_none(node: Any, parents: Sequence[str], last: str) -> bool:
    for part in parents:
        node = node.get(part) if isinstance(node, dict) else None
    return isinstance(node, dict) and last in node


def attach(folder: Path, name: str, values: Mapping[str, Any]) -> None:
    """Writes <name>.json into a cell's folder, in place of what it held before. The caller holds the cell's lock.

    Raises:
        LedgerError: values are not JSON (NaN and infinity are not; say None), or the file cannot be written.
    """
    try:
        data = json.dumps(dict(values), indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{folder / name}.json: {error}; attach text, numbers, booleans and None") from error
    write_atomic(folder / f"{name}.json", data)


def attached(folder: Path, name: str) -> dict[str, Any]:
    """What `attach` wrote; empty if there is nothing.

    Raises:
        LedgerError: the file is damaged.
    """
    path = folder / f"{name}.json"
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise damaged(path, repr(error)) from error


def listing(ids: Sequence[str]) -> dict[str, Any]:
    """Image ids as a mapping, so that two lists are told apart entry by entry."""
    return {"images": len(ids)} | {f"image {n}": image for n, image in enumerate(ids)}


def damaged(path: Path, why: str) -> LedgerError:
    """The error to raise when the contents of path make no sense."""
    return LedgerError(f"{path} is damaged: {why}; restore it from a copy, or delete it and run the same command again")
