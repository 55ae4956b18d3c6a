"""A CSV file of rows that are found again by their key, written whole after every row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from safari_bench.ledger import make_folder, write_atomic

__all__ = ["Row", "Rows", "grouped", "to_csv"]

#: a line of a table; NaN stands where there is no number
Row = dict[str, Any]


class Rows:
    """The rows of one file. Each has a `key` of everything that its numbers depend on.

    Args:
        path: of the file, which need not exist yet.
        columns: a new row takes the place of one that is the same in these.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, columns
        self.rows: list[Row] = []
        if path.exists():
            frame = pd.read_csv(path, dtype={"key": str, "value": str}, keep_default_na=False, na_values=["nan"])
            self.rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]

    def get(self, key: str) -> Row | None:
        """The row of that key, if there is one."""
        return next((row for row in self.rows if row["key"] == key), None)

    def put(self, row: Row) -> None:
        """Append a row, in place of an older one that is the same in `columns`."""
        point = [row[name] for name in self.columns]
        self.rows = [old for old in self.rows if [old[name] for name in self.columns] != point] + [row]
        make_folder(self.path.parent)
        write_atomic(self.path, to_csv(self.rows))


def grouped(rows: Sequence[Row], *columns: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by their values in some columns, both in the order they come in."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in columns), []).append(row)
    return groups


def to_csv(rows: Sequence[Row], digits: int = 6) -> bytes:
    """As CSV, with so many significant digits and nan where there is no number."""
    text = pd.DataFrame(rows).to_csv(index=False, float_format=f"%.{digits}g", na_rep="nan", lineterminator="\n")
    return text.encode()
