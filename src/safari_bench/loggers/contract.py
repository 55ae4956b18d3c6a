"""What every logger says of a cell, wherever it says it."""

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from safari_bench.errors import LoggerError
from safari_bench.ledger import HEAD, Place

__all__ = ["LoggerError", "Pace", "pictures", "required", "running", "score_columns"]


class Pace:
    """Keeps what happens at every step of a sampler from being said more than now and then."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._last = seconds, -float("inf")

    def due(self) -> bool:
        """Whether to say it: the first time, and then once `seconds` have passed since the last yes."""
        now = time.monotonic()
        if now - self._last < self.seconds:
            return False
        self._last = now
        return True


def required(module: str, logger: str, extra: str) -> ModuleType:
    """Import a package that only some users install.

    Raises:
        LoggerError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise LoggerError(
            f"logger={logger} needs a package that is not installed ({error}); pip install 'safari-bench[{extra}]', or "
            "leave the logger out: rows and tables are files in the run folder in any case"
        ) from error


def score_columns(rows: pd.DataFrame) -> list[str]:
    """The columns of rows that hold a metric or a cost."""
    return [name for name in rows.columns if name not in (*HEAD, "image_file") and not rows[name].isna().all()]


def running(rows: pd.DataFrame) -> dict[str, float | int]:
    """Of the rows that there are: how many ended how, and the mean of every score over the images that are ok.

    Missing values do not enter a mean; a score without any is left out.
    """
    said: dict[str, float | int] = {"images": len(rows)}
    said |= {status: int((rows.status == status).sum()) for status in ("ok", "failed", "unsupported")}
    scored = rows[rows.status == "ok"]
    for name in score_columns(scored):
        said[name] = float(scored[name].mean())
    return said


def pictures(cell: Path, run: Mapping[str, Any], image_file: str) -> tuple[Path | None, Path | None]:
    """The saved restoration and its reference; None where there is none.

    Args:
        run: the contents of run.json, which name the folder of the references.
    """
    place = Place.of(cell)
    both = place.images / image_file, place.references(run) / image_file
    restored, reference = (path if image_file and path.is_file() else None for path in both)
    return restored, reference
