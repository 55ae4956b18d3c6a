"""Scores of pictures that are saved already: of all of a cell as one set, and of each one again."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from safari_bench.data import DataError, digest, read_image
from safari_bench.data.codec import from_pixels
from safari_bench.ledger import Cell, Place, attach, attached
from safari_bench.metrics import Sets, Suite

__all__ = ["Rescored", "fill_in", "references", "rescore", "score_set"]


@dataclass(frozen=True)
class Rescored:
    """What scoring a cell again came to.

    Attributes:
        images: how many pictures there were.
        same: columns whose every number is the one that was there.
        new: columns that held no number before.
        changed: column -> largest absolute difference from what was there.
        notes: of the set scores.
    """

    images: int
    same: list[str]
    new: list[str]
    changed: dict[str, float]
    notes: list[str]


def references(cell: Cell) -> Path:
    """The folder of a cell's clean pictures. Run under one name, another set of images has another folder."""
    return Place.of(cell.folder).references(cell.run())


def score_set(cell: Cell, sets: Sets, device: torch.device, label: str = "") -> list[str]:
    """Attaches set_scores.json to a locked cell, unless it has one of the same pictures, weights and settings.

    Returns:
        sentences for readers, see `Sets.__call__`; none if nothing was computed.

    Raises:
        DataError: a reference is missing, damaged, or another picture than the image of its row.
        OSError, ValueError: see `Sets.__call__`.
        LedgerError: the file cannot be written.
    """
    files = _files(cell)
    if not files:
        return []
    known = attached(cell.folder, "set_scores")
    place, clean = Place.of(cell.folder), list(_references(cell).values())
    pictures = [place.images / file for file in files.values()]
    found = sets(pictures, clean, place.features, device, known, _bar(f"{label}set scores"))
    if found == known:
        return []
    attach(cell.folder, "set_scores", found)
    return list(found["notes"])


def fill_in(cell: Cell, suite: Suite, run: Mapping[str, Any], device: torch.device, label: str = "") -> list[str]:
    """Scores that rows of a locked cell lack, from the saved pictures: a run may go on with other metrics.

    Args:
        run: what to record beside the scores: versions, machine.

    Returns:
        the columns that were filled.

    Raises:
        DataError: see `rescore`; nothing is written.
        LedgerError: the rows cannot be written.
    """
    rows = cell.rows().set_index("image_id")
    wanted = [name for name in suite.columns if name not in suite.absent]
    lacking = rows[rows.status == "ok"].reindex(columns=wanted).isna()
    images = list(lacking.index[lacking.any(axis=1)])
    if not images:
        return []
    clean, folder = _references(cell), Place.of(cell.folder).images
    found = {}
    for image in _bar(f"{label}scores of saved pictures")(images):
        scores = _score(folder / rows.image_file[image], clean[image], suite, device)
        found[image] = {name: scores[name] for name in wanted if lacking[name][image] and not math.isnan(scores[name])}
    columns = _columns(found)
    if columns:
        cell.amend(found)
        _record(cell, suite, run, columns)
    return columns


def rescore(folder: Path, suite: Suite, run: Mapping[str, Any], device: torch.device, label: str = "") -> Rescored:
    """Scores the saved pictures of one cell again and puts the numbers into its rows.

    What was there of other metrics stays, and so does what a metric without weights cannot compute again.

    Args:
        folder: the cell's.
        run: what to record beside the scores: versions, machine.

    Raises:
        DataError: a picture is missing, damaged, or too small for one of the metrics; a reference is another picture
            than the image of its row. Nothing is written.
        LedgerError: the folder holds no cell, another process works on it, or it cannot be written.
    """
    cell = Cell.at(folder)
    with cell.lock():
        before = cell.rows().set_index("image_id")
        files = _files(cell)
        clean, images = _references(cell), Place.of(folder).images
        scores = {i: _score(images / file, clean[i], suite, device) for i, file in _bar(label)(files.items())}
        outcome = _compared(before, scores)
        cell.amend(scores)
        notes = score_set(cell, suite.sets, device, label) if suite.sets else []
        _record(cell, suite, run, _columns(scores))
    return Rescored(len(files), **outcome, notes=notes)


def _record(cell: Cell, suite: Suite, run: Mapping[str, Any], columns: list[str]) -> None:
    """Attaches scored.json: which columns were scored from saved pictures, with what weights, and what did it last."""
    before, now = attached(cell.folder, "scored"), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = {name: told for name, told in suite.describe().items() if name in columns and name not in suite.absent}
    held = {"columns": list(dict.fromkeys([*before.get("columns", []), *columns]))}
    attach(cell.folder, "scored", {**run, "when": now, **held, "backbones": {**before.get("backbones", {}), **told}})


def _files(cell: Cell) -> dict[str, str]:
    """Image id -> file name, of the pictures that there are."""
    rows = cell.rows()
    rows = rows[rows.status == "ok"]
    return dict(zip(rows.image_id, rows.image_file, strict=True))


def _references(cell: Cell) -> dict[str, Path]:
    """Image id -> clean picture, of the images that are restored, each compared with the hash in its row."""
    rows, folder = cell.rows(), references(cell)
    rows = rows[rows.status == "ok"]
    found = {}
    for image, file, expected in zip(rows.image_id, rows.image_file, rows.image_sha256, strict=True):
        path = found[image] = folder / file
        facts = path.stat() if path.is_file() else None
        got = _digest(path, facts and (facts.st_size, facts.st_mtime_ns))
        if got != expected:
            raise DataError(
                f"reference {path}: sha256 of the pixels is {got}, expected {expected} as in the row of {image!r} in "
                f"{cell.folder}: an earlier run of this name had another picture of that name, or the file was "
                "changed; nothing was scored: put the image's own picture there, or run the cell's command again "
                "under another name="
            )
    return found


@lru_cache(maxsize=2**17)
def _digest(path: Path, facts: tuple[int, int] | None) -> str:
    """Of a picture's pixels; decoded once per process, whatever the number of cells, unless size or time change."""
    return digest(read_image(path))


@torch.no_grad()
def _score(path: Path, clean: Path, suite: Suite, device: torch.device) -> dict[str, float]:
    x_hat, x = (_load(place, device) for place in (path, clean))
    try:
        return {name: float(value) for name, value in suite(x_hat, x).items() if name not in suite.absent}
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _load(path: Path, device: torch.device) -> Tensor:
    return from_pixels(read_image(path))[None].to(device)


def _columns(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for found in scores.values() for name in found))


def _compared(before: pd.DataFrame, scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    same, new, changed = [], [], {}
    for name in _columns(scores):
        if name not in before or before[name].isna().all():
            new.append(name)
            continue
        pairs = [(float(before[name][image]), found[name]) for image, found in scores.items()]
        unequal = [abs(a - b) for a, b in pairs if a != b and not (math.isnan(a) and math.isnan(b))]
        if unequal:
            changed[name] = max(unequal)
        else:
            same.append(name)
    return {"same": same, "new": new, "changed": changed}


def _bar(label: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
    return lambda items: tqdm(items, desc=label, unit="img", leave=False, mininterval=1.0)
