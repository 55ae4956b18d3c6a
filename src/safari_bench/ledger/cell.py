"""One cell on disk: opened once, filled batch by batch under a lock, closed when every image has a row."""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from safari_bench.errors import CellBusy
from safari_bench.ledger.files import LedgerError, make_folder, write_atomic
from safari_bench.ledger.locks import exclusive
from safari_bench.ledger.rows import Row, amended, checked, finished, from_csv, from_json, to_csv, to_frame, to_json
from safari_bench.ledger.run import SCHEMA, damaged, listing, read_run
from safari_bench.ledger.spec import difference, run_id

__all__ = ["Cell", "CellBusy"]


class Cell:
    """One cell on disk.

    Work on a cell happens inside `with cell.lock():`; open, append and close refuse to run outside of it. Reading needs
    no lock and may happen while another process writes.

    Args:
        folder: the cell's folder; it need not exist.
        ids: the image ids, in the dataset's order, all different.
    """

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        self.folder, self.ids = Path(folder), list(ids)
        self._batches, self._table = self.folder / "rows", self.folder / "rows.csv"
        self._locked = False
        self._held: dict[str, Row] | None = None  # what the disk holds, while the lock keeps others from changing it
        different = len(set(self.ids))
        if different < len(self.ids):
            raise LedgerError(
                f"{folder}: {len(self.ids)} image ids, {different} of them different; make all of them so"
            )

    @classmethod
    def at(cls, folder: Path) -> "Cell":
        """The cell that some process opened in this folder, for reading.

        Raises:
            LedgerError: run.json is absent, damaged or of another schema.
        """
        return cls(folder, read_run(Path(folder) / "run.json")["ids"])

    def run(self) -> dict[str, Any]:
        """The contents of run.json.

        Raises:
            LedgerError: it is absent, damaged or of another schema.
        """
        return read_run(self.folder / "run.json")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes off this cell, see `locks.exclusive`.

        Raises:
            CellBusy: another live process holds it.
        """
        with exclusive(self.folder):
            try:
                self._locked = True
                yield
            finally:
                self._locked, self._held = False, None

    def open(self, run: Mapping[str, Any]) -> None:
        """Writes run.json if there is none, and clears away what a killed process left half written.

        Args:
            run: at least ``spec``, the resolved configuration that names the cell. Schema, run id and ids are added.

        Raises:
            LedgerError: the folder holds a cell of another schema, configuration or list of images.
        """
        self._writable()
        new = {**run, "schema": SCHEMA, "run_id": run_id(run["spec"]), "ids": self.ids}
        path = self.folder / "run.json"
        if path.exists():
            old = read_run(path)
            change = difference(old["spec"], new["spec"]) or difference(listing(old["ids"]), listing(self.ids))
            if change:
                raise LedgerError(f"{path} is of another run: {change}; resume as it says, or choose another name=")
        else:
            write_atomic(path, json.dumps(new, indent=1).encode())
        for leftover in self.folder.rglob(".*.tmp"):
            leftover.unlink()
        make_folder(self.folder / "images")

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Records one finished batch; once it returns, the batch survives a power cut.

        Args:
            rows: one mapping per image: the columns of HEAD, any metrics, and COST and ``image_file`` where known.
                Columns in TEXT take text or None, all others a number or None.

        Raises:
            LedgerError: a row is malformed, of an image that is not in the cell, or of one that is finished already; or
                the disk is full, in which case the batches before this one are safe.
        """
        self._writable()
        held, ids, batch = self._current(), set(self.ids), dict[str, Row]()
        for row in map(checked, rows):
            image = row["image_id"]
            if image not in ids or image in batch or finished(held.get(image)):
                why = "finished already or twice in this batch" if image in ids else "not an image of this cell"
                raise LedgerError(f"{self.folder}: got a row for {image!r}, {why}; append what missing() lists")
            batch[image] = row
        make_folder(self._batches)
        last = max((int(path.stem) for path in self._batches.glob("*.json")), default=0)
        write_atomic(self._batches / f"{last + 1:06d}.json", to_json(list(batch.values())))
        held.update(batch)

    def amend(self, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Sets metrics of rows that are there, as when saved pictures are scored again. Every file stays whole.

        Args:
            scores: image id -> metrics to set. Rows that are not ok are left as they are.

        Raises:
            LedgerError: a column is no metric, or the disk is full, in which case some batches may have the new scores
                and others the old ones.
        """
        self._writable()
        for path in [self._table, *sorted(self._batches.glob("*.json"))]:
            rows = self._load(path)
            if rows:
                new = [amended(row, scores.get(row["image_id"], {})) for row in rows]
                write_atomic(path, to_csv(new) if path == self._table else to_json(new))
        self._held = None

    def done(self) -> set[str]:
        """Ids whose row need not be tried again: ok or unsupported."""
        return {image for image, row in self._current().items() if finished(row)}

    def missing(self) -> list[str]:
        """Ids still to do, in the dataset's order: those without a row and those that failed."""
        done = self.done()
        return [image for image in self.ids if image not in done]

    def complete(self) -> bool:
        """Whether a re-run may skip the cell: rows.csv is in place, no row failed, and close was not cut short."""
        return self._table.exists() and not self._batches.exists() and not self.missing()

    def close(self) -> pd.DataFrame:
        """Merges the batches into rows.csv and removes them. Failed rows go in too: tables show them, a re-run retries.

        Raises:
            LedgerError: some image has no row.
        """
        self._writable()
        held = self._current()
        absent = [image for image in self.ids if image not in held]
        if absent:
            raise LedgerError(
                f"{self.folder}: {len(absent)} of {len(self.ids)} images have no row, the first is {absent[0]!r}; "
                "run the same command again to compute them"
            )
        if self._batches.exists() or not self._table.exists():
            write_atomic(self._table, to_csv([held[image] for image in self.ids]))
        if self._batches.exists():
            shutil.rmtree(self._batches)
        return self.rows()

    def rows(self) -> pd.DataFrame:
        """What there is now, in the dataset's order: numbers float64, seed int64, text str. May be empty."""
        held = self._current()
        return to_frame([held[image] for image in self.ids if image in held])

    def _current(self) -> dict[str, Row]:
        if not self._locked:
            return self._read()
        if self._held is None:
            self._held = self._read()
        return self._held

    def _read(self) -> dict[str, Row]:
        # batches before the table: a batch that vanishes while this runs is in the table by then
        batches = [row for path in sorted(self._batches.glob("*.json")) for row in self._load(path)]
        held: dict[str, Row] = {}
        for row in [*self._load(self._table), *batches]:
            # a failed row read from a batch may be older than a table written since
            if not finished(held.get(row["image_id"])):
                held[row["image_id"]] = row
        return held

    def _load(self, path: Path) -> list[Row]:
        try:
            data = path.read_bytes()
            rows = from_csv(data) if path == self._table else from_json(data)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, csv.Error, LedgerError) as error:
            raise damaged(path, str(error)) from error
        strangers = {row["image_id"] for row in rows} - set(self.ids)
        if strangers or (path == self._table and len(rows) != len(self.ids)):
            found = f"{len(rows)} rows, {len(strangers)} of them of other images, expected {len(self.ids)} ids"
            raise damaged(path, found)
        return rows

    def _writable(self) -> None:
        if not self._locked:
            raise LedgerError(f"{self.folder}: the cell is not locked; write inside `with cell.lock():`")
