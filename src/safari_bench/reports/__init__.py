"""Rows -> statistics -> CSV, Markdown, LaTeX and pictures.

Reads what the ledger wrote, finished or not, and never results in memory.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pandas as pd

from safari_bench.ledger import make_folder, pack, write_atomic
from safari_bench.reports import axes, figures, grid, latex, markdown
from safari_bench.reports.choice import Choice, choose
from safari_bench.reports.columns import tidy
from safari_bench.reports.published import render_published, same_protocol
from safari_bench.reports.records import TableError
from safari_bench.reports.report import Report, report
from safari_bench.reports.statistics import per_image, wide

__all__ = [
    "Choice",
    "Report",
    "TableError",
    "build",
    "choose",
    "home",
    "pack",
    "publish",
    "render_text",
    "report",
    "text",
]


def build(
    *run_folders: Path, into: Path | None = None, images_per_task: int = 2, tables_only: bool = False
) -> list[Path]:
    """Writes the tables and pictures of a run folder, results/<name>, or of several as if they were one.

    ======================  ==========================================================================================
    ``per_image.csv``       every row
    ``table1.csv``          tidy: one row for each dataset, task, facet, sampler and metric, with n, seeds, mean and
                            interval
    ``table1_wide.csv``     one row for each dataset, task, facet and sampler
    ``comparisons.csv``     the best of every column against the others, with p-values
    ``ranks.csv``           mean rank over tasks and facets
    ``published.csv``       published values of the same protocol beside the measured ones; only where there are any
    ``table1.md, .tex``     for people; the second compiles on its own
    ``axis_<key>.png``      scores against a number that differs between cells, such as task.sigma
    ``distortion.png``      perception against distortion
    ``cost.png``            quality against cost
    ``grid.png``            pictures side by side; only where any were saved
    ``spectrum.png``        radial power spectra; only where any pictures were saved
    ======================  ==========================================================================================

    Every file depends on the rows and saved pictures alone: building twice, or from cells computed in another order,
    gives the same bytes.

    Args:
        into: the folder written to; None for `home(*run_folders)`.
        images_per_task: how many rows of pictures each task has in grid.png: the first ones of the dataset.
        tables_only: leave out all pictures, which take most of the time. Those of an earlier build stay as they are.

    Returns:
        The files written.

    Raises:
        TableError: see `records.load`; or a saved picture cannot be read. All tables are written by then.
        LedgerError: a file cannot be written.
    """
    return publish(report(run_folders), home(*run_folders) if into is None else into, images_per_task, tables_only)


def publish(found: Report, folder: Path, images_per_task: int = 2, tables_only: bool = False) -> list[Path]:
    """As `build`, of a report that is there already."""
    make_folder(folder)
    written = []
    for name, data in chain(_tables(found), () if tables_only else _pictures(found, images_per_task)):
        write_atomic(folder / name, data)
        written.append(folder / name)
    return written


def home(*run_folders: Path) -> Path:
    """Where tables go: into a lone run's folder; of several runs into <a>+<b>, beside the first."""
    if len(run_folders) == 1:
        return Path(run_folders[0])
    paths = [Path(folder).resolve() for folder in run_folders]
    return paths[0].parent / "+".join(dict.fromkeys(path.name for path in paths))


def render_text(*run_folders: Path, legend: bool = True, all_published: bool = False) -> str:
    """The contents of table1.md, with or without its legend, computed from the rows that there are now.

    Args:
        all_published: end with published values of other protocols too, see `published.render_published`.

    Raises:
        TableError: see `records.load`.
    """
    return text(report(run_folders), legend=legend, all_published=all_published)


def text(found: Report, *, legend: bool = True, all_published: bool = False) -> str:
    """As `render_text`, of a report that is there already."""
    rendered = markdown.render(found, legend=legend)
    beside = render_published(found.lines, found.table, everything=all_published)
    return f"{rendered}\n{beside}" if beside else rendered


def _tables(found: Report) -> Iterator[tuple[str, bytes]]:
    yield "per_image.csv", _csv(per_image(found.lines))
    yield "table1.csv", _csv(tidy(found.table, found.lines))
    yield "table1_wide.csv", _csv(tidy(wide(found.lines, found.table), found.lines))
    yield "comparisons.csv", _csv(tidy(found.comparisons, found.lines))
    yield "ranks.csv", _csv(found.ranks)
    beside = same_protocol(found.lines, found.table)
    if len(beside):
        yield "published.csv", _csv(tidy(beside, found.lines))
    yield "table1.md", text(found).encode()
    yield "table1.tex", latex.render(found).encode()


def _pictures(found: Report, images_per_task: int) -> Iterator[tuple[str, bytes]]:
    """Those drawn from scores first: a saved picture that cannot be read costs none of them."""
    for key, plot in axes.against(found.lines, found.table):
        yield f"axis_{key}.png", plot
    yield "distortion.png", figures.distortion(found.lines, found.table)
    yield "cost.png", figures.cost(found.lines, found.table)
    pictures = grid.draw(found.lines, images_per_task)
    if pictures is not None:  # without saved pictures, what was published before is left alone
        yield "grid.png", pictures
        yield "spectrum.png", figures.spectrum(found.lines)


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()
