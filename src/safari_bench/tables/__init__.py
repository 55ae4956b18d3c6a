"""Rows -> statistics -> CSV, Markdown and a picture.

Reads what the ledger wrote, finished or not, and never results in memory.
"""

from pathlib import Path

from safari_bench.ledger import write_atomic
from safari_bench.tables.choice import Choice, choose
from safari_bench.tables.grid import draw
from safari_bench.tables.markdown import render
from safari_bench.tables.records import TableError, lines, load
from safari_bench.tables.statistics import per_image, summary

__all__ = ["Choice", "TableError", "build", "choose", "render_text"]


def build(run_folder: Path, images_per_task: int = 2) -> list[Path]:
    """Writes per_image.csv, table1.csv, table1.md and grid.png into a run folder, results/<name>.

    Every file depends on the rows alone: building twice, or from cells computed in another order, gives the same bytes.

    Args:
        images_per_task: how many rows of pictures each task has in grid.png: the first ones of the dataset.

    Returns:
        The files written.

    Raises:
        TableError: see `records.load`; or a saved picture cannot be read.
        LedgerError: a file cannot be written.
    """
    records = load(run_folder)
    found = list(lines(records))
    table = summary(found)
    files = {
        "per_image.csv": per_image(found).to_csv(index=False, lineterminator="\n").encode(),
        "table1.csv": table.to_csv(index=False, lineterminator="\n").encode(),
        "table1.md": render(Path(run_folder).resolve().name, found, table).encode(),
    }
    for name, data in files.items():
        write_atomic(Path(run_folder) / name, data)
    write_atomic(Path(run_folder) / "grid.png", draw(Path(run_folder), records, images_per_task))
    return [Path(run_folder) / name for name in [*files, "grid.png"]]


def render_text(run_folder: Path, *, legend: bool = True) -> str:
    """The contents of table1.md, with or without its legend, computed from the rows that there are now.

    Raises:
        TableError: see `records.load`.
    """
    found = list(lines(load(run_folder)))
    return render(Path(run_folder).resolve().name, found, summary(found), legend=legend)
