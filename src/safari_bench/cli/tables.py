"""What is printed of a run, and the files of its tables. Imports no torch."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from tabulate import tabulate as grid_of

from safari_bench.errors import SafariBenchError
from safari_bench.ledger import COST, Cell, attached
from safari_bench.reports import build, home, publish, report, text
from safari_bench.reports.statistics import interval, scores
from safari_bench.reports.vocabulary import metric

__all__ = ["kept_when_interrupted", "scores_of", "tabulate", "write"]


def tabulate(*folders: Path, all_published: bool = False) -> None:
    """Write the tables and figures of run folders, as of one, and print the tables; see `reports.build`."""
    found = report(folders)
    written = publish(found, home(*folders))
    print(text(found, legend=False, all_published=all_published))
    print(f"in {written[0].parent}: {', '.join(path.name for path in written)}; table1.md explains the columns")


def write(folder: Path) -> None:
    """Write the tables of a run folder, without the figures, and say where they are."""
    written = build(folder, tables_only=True)
    names = " and ".join(path.name for path in written if path.name in ("per_image.csv", "table1.csv"))
    print(f"in {folder}: {names}; safari-bench table {folder} prints all cells there and draws the figures")


@contextmanager
def kept_when_interrupted(folder: Path) -> Iterator[None]:
    """Write the tables of what is finished if Ctrl-C ends what is done meanwhile. A second Ctrl-C does without."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(SafariBenchError, OSError):  # e.g. no cell is finished yet
            write(folder)
        raise


def scores_of(cell: Path, baseline: Path | None = None) -> str:
    """A short table of one cell: each score's mean and 95 % interval over its images, beside the degraded input's mean.

    Args:
        cell: its folder; scores of all images as a set come last.
        baseline: the folder of the degraded input's cell, if it is another one.
    """
    rows, beside = _finished(cell), _finished(baseline) if baseline not in (None, cell) else None
    lines = []
    for name in scores(rows.columns):
        n, mean, low, high = interval(rows[name].to_numpy(dtype=float), f"{cell.name}/{name}")
        spread = "" if math.isnan(low) or low == high else f"{low:.4g} to {high:.4g}"
        line = [metric(name).heading, n, f"{mean:.4g}" if n else "n/a", spread]
        if beside is not None:
            known = name in beside and name not in COST and beside[name].notna().any()
            line.append(f"{beside[name].mean():.4g}" if known else "")
        lines.append(line)
    sets = attached(cell, "set_scores")
    for name, value in sets.get("scores", {}).items():
        lines.append([metric(name).heading, sets["n"], "n/a" if value is None else f"{value:.4g}"])
    head = ["score", "images", "mean", "95 % interval", *(["degraded input"] if beside is not None else [])]
    return f"{grid_of(lines, head, disable_numparse=True)}\npictures in {cell / 'images'}"


def _finished(cell: Path | None) -> pd.DataFrame:
    rows = Cell.at(cell).rows() if cell else pd.DataFrame({"status": []})
    return rows[rows.status == "ok"]
