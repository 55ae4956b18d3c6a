"""All cells of a run folder in two files: rows.csv.gz holds every row, cells.json.gz every run.json and set score.

`cells` reads a run folder and its archive alike, so that results can be published without thousands of files. Pictures
are not packed. The same cells give the same bytes.
"""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from safari_bench.ledger.cell import Cell
from safari_bench.ledger.files import LedgerError, write_atomic
from safari_bench.ledger.rows import HEAD, Row, checked, from_csv, to_csv, to_frame
from safari_bench.ledger.run import SCHEMA, attached
from safari_bench.ledger.spec import run_id
from safari_bench.ledger.tree import Place, places

__all__ = ["Stored", "cells", "latest", "pack"]

_ROWS, _RUNS = "rows.csv.gz", "cells.json.gz"
_KEY = ("dataset", "task", "sampler", "run_id")


@dataclass(frozen=True)
class Stored:
    """What is known of one cell.

    Attributes:
        place: its own, also if it is read from an archive and has no folder.
        run: the contents of run.json.
        rows: those there are, in the dataset's order.
        sets: the contents of set_scores.json; empty if there is none.
    """

    place: Place
    run: Mapping[str, Any]
    rows: pd.DataFrame
    sets: Mapping[str, Any] = field(default_factory=dict)


def cells(run_folder: Path) -> Iterator[Stored]:
    """Every cell of a run folder, finished or not: those with a folder of their own, then those that were packed.

    A cell that is there twice comes twice.

    Raises:
        LedgerError: a file is damaged or of another schema.
    """
    for place in places(run_folder):
        cell = Cell.at(place.folder)
        yield Stored(place, cell.run(), cell.rows(), attached(place.folder, "set_scores"))
    if (Path(run_folder) / _RUNS).is_file():
        yield from _unpacked(Path(run_folder))


def latest(found: Iterable[Stored]) -> list[Stored]:
    """One of each cell: that with most images restored, then of the newest `numbers`, then the first.

    Cells that differ in `numbers` alone, the version of the code that computes scores, are the same cell.
    """
    best: dict[tuple[str, ...], tuple[tuple[int, int], Stored]] = {}
    for stored in found:
        spec = stored.run["spec"]
        key = *stored.place.key[:3], run_id({name: value for name, value in spec.items() if name != "numbers"})
        worth = int((stored.rows.status == "ok").sum()), int(spec.get("numbers", 0))
        if key not in best or worth > best[key][0]:
            best[key] = worth, stored
    return [stored for _, stored in best.values()]


def pack(run_folder: Path) -> list[Path]:
    """Writes the archive of a run folder beside its cells, which stay.

    Cells packed before stay in it, unless they were computed again since; see `latest`.

    Returns:
        the two files.

    Raises:
        LedgerError: there is no cell; a file is damaged or cannot be written.
    """
    folder = Path(run_folder)
    inside = sorted(latest(cells(folder)), key=lambda stored: stored.place.key)
    if not inside:
        raise LedgerError(f"{folder} holds no cells to pack; name a run folder, results/<name>")
    rows = [checked(row) for stored in inside for row in _dicts(stored.rows)]
    runs = [_described(stored) for stored in inside]
    _write(folder / _ROWS, to_csv(rows))
    text = json.dumps({"schema": SCHEMA, "cells": runs}, indent=0, allow_nan=False)
    _write(folder / _RUNS, text.encode())
    return [folder / _ROWS, folder / _RUNS]


def _described(stored: Stored) -> dict[str, Any]:
    named = dict(zip(_KEY, stored.place.key, strict=True))
    return {**named, "columns": list(stored.rows.columns), "run": dict(stored.run), "sets": dict(stored.sets)}


def _dicts(rows: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _write(path: Path, data: bytes) -> None:
    write_atomic(path, gzip.compress(data, compresslevel=9, mtime=0))


def _damaged(folder: Path, why: str) -> LedgerError:
    return LedgerError(f"{folder / _RUNS} and {_ROWS} are damaged: {why}; restore both from a copy")


def _unpacked(folder: Path) -> Iterator[Stored]:
    of_cell: dict[tuple[str, ...], list[Row]] = {}
    try:
        packed = json.loads(gzip.decompress((folder / _RUNS).read_bytes()))
        if packed["schema"] != SCHEMA:
            raise LedgerError(f"schema {packed['schema']}, expected {SCHEMA}; use the version that wrote it")
        rows = from_csv(gzip.decompress((folder / _ROWS).read_bytes()))
        for key, group in groupby(rows, key=lambda row: tuple(row[name] for name in _KEY)):
            of_cell.setdefault(key, []).extend(group)
        described = [(tuple(cell[name] for name in _KEY), cell) for cell in packed["cells"]]
        whole = [(key, cell["run"], cell["columns"], cell["sets"]) for key, cell in described]
    except (OSError, EOFError, ValueError, KeyError, TypeError, csv.Error, LedgerError) as error:
        raise _damaged(folder, str(error) if isinstance(error, OSError) else repr(error)) from error
    for key, run, columns, sets in whole:
        frame = to_frame(of_cell.get(key, []))
        lacking = [name for name in columns if name not in frame]
        if lacking or not set(HEAD) <= set(columns):
            raise _damaged(folder, f"cell {'/'.join(key)} lacks the columns {lacking}")
        yield Stored(Place(folder, *key), run, frame[columns], sets)
