"""What a row is, and how rows are written and read back without a bit changing.

Numbers are float64: infinities and the sign of zero survive, any NaN reads back as plain NaN. Whether a column holds
text or numbers is fixed by its name, so that an id "007" or a digest "12e5" stays text.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

import pandas as pd

from safari_bench.ledger.files import LedgerError

__all__ = ["COST", "HEAD", "TEXT", "Row", "amended", "checked", "finished"]
__all__ += ["from_csv", "from_json", "to_csv", "to_frame", "to_json"]

Row: TypeAlias = dict[str, Any]

#: columns every row has, in this order; after them come the metrics, then COST, then the picture's file name.
HEAD: tuple[str, ...] = ("dataset", "image_id", "image_sha256", "y_sha256", "task", "sigma", "sigma_range")
HEAD += ("sampler", "prior", "run_id", "seed", "status", "reason")
COST = ("nfe", "n_backward", "seconds", "peak_mem_mb")
#: columns that hold text, "" where there is none; every other column holds numbers, NaN where there is none.
TEXT = frozenset(HEAD) - {"sigma", "seed"} | {"image_file"}
_STATUS = ("ok", "unsupported", "failed")
_LONGEST = 100_000  # characters; the csv module refuses to read fields of more than 131 072


def checked(row: Mapping[str, Any]) -> Row:
    """The row with every value a str or a float, as its column demands.

    Raises:
        LedgerError: a column of HEAD is lacking, or a value does not fit its column.
    """
    lacking = [name for name in HEAD if name not in row]
    if lacking:
        raise LedgerError(f"a row lacks the columns {lacking}; it has {sorted(row)}; add them (None where unknown)")
    values: Row = dict.fromkeys((*COST, "image_file")) | dict(row)
    clean: Row = {name: _text(name, value) if name in TEXT else _number(name, value) for name, value in values.items()}
    if not clean["image_id"] or clean["status"] not in _STATUS or not clean["seed"].is_integer():
        got = {name: clean[name] for name in ("image_id", "status", "seed")}
        raise LedgerError(f"a row has {got}; expected an id, one of {', '.join(_STATUS)}, and a whole number")
    return clean


def amended(row: Row, scores: Mapping[str, float]) -> Row:
    """The row with these metrics set, if its image was restored.

    Raises:
        LedgerError: a name is not that of a metric, or a value is no number.
    """
    wrong = sorted({*HEAD, *COST, *TEXT} & set(scores))
    if wrong:
        raise LedgerError(f"columns {wrong} of a row are no metrics; only metrics can be set again")
    return checked({**row, **scores}) if row["status"] == "ok" else row


def finished(row: Row | None) -> bool:
    """Whether a re-run may skip this row's image."""
    return row is not None and row["status"] != "failed"


def to_json(rows: Sequence[Row]) -> bytes:
    """One finished batch, for from_json."""
    return json.dumps(rows, indent=1).encode()


def from_json(data: bytes) -> list[Row]:
    """Raises ValueError or LedgerError if data is not what to_json wrote."""
    rows = json.loads(data)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("not a list of rows")
    return [checked(row) for row in rows]


def to_csv(rows: Sequence[Row]) -> bytes:
    """A finished cell, for from_csv. Rows are written in the order given."""
    buffer = io.StringIO(newline="")
    columns = _columns(rows)
    # quoted text keeps its line ends, whichever they are, and tells other programs that "007" is no number
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([row.get(c, "") if c in TEXT else _shortest(row.get(c, math.nan)) for c in columns])
    return buffer.getvalue().encode()


def from_csv(data: bytes) -> list[Row]:
    """Raises ValueError, csv.Error or LedgerError if data is not what to_csv wrote."""
    header, *lines = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return [checked({c: v if c in TEXT else float(v) for c, v in row.items()}) for row in rows]


def to_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a table: numbers float64, seed int64, text str. May be empty."""
    frame = pd.DataFrame(list(rows), columns=_columns(rows))
    return frame.astype({c: str if c in TEXT else "int64" if c == "seed" else float for c in frame.columns})


def _columns(rows: Sequence[Row]) -> list[str]:
    metrics = {name for row in rows for name in row} - {*HEAD, *COST, "image_file"}
    return [*HEAD, *sorted(metrics), *COST, "image_file"]


def _shortest(value: float) -> float | int:
    """The number without a trailing ".0", where an integer is the same number."""
    return int(value) if value.is_integer() and abs(value) <= 2**53 and str(value) != "-0.0" else value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str | None) or len(value or "") > _LONGEST:
        raise LedgerError(f"column {name!r} of a row holds up to {_LONGEST} characters, got {value!r:.200}; shorten it")
    try:
        return (value or "").encode().decode()
    except UnicodeEncodeError as error:
        raise LedgerError(f"column {name!r} of a row holds UTF-8 text, got {value!r}; replace what is not") from error


def _number(name: str, value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, Real) or (isinstance(value, Integral) and not -(2**53) <= int(value) <= 2**53):
        raise LedgerError(f"column {name!r} of a row holds float64 numbers, got {value!r}; give such a number or None")
    return float(value)
