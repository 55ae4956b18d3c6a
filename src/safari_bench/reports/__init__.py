"""Rows -> statistics -> CSV, Markdown, LaTeX and pictures.

Reads what the ledger wrote, finished or not, and never results in memory.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from safari_bench.ledger import make_folder, write_atomic
from safari_bench.reports import figures, grid, latex, markdown
from safari_bench.reports.choice import Choice, choose
from safari_bench.reports.published import render_published, same_protocol
from safari_bench.reports.records import TableError, refuse_mixture
from safari_bench.reports.report import Report, report
from safari_bench.reports.statistics import per_image, wide

__all__ = ["Choice", "TableError", "build", "choose", "home", "refuse_mixture", "render_text"]


def build(*run_folders: Path, into: Path | None = None, images_per_task: int = 2) -> list[Path]:
    """Writes the tables and pictures of a run folder, results/<name>, or of several as if they were one.

    ======================  ==========================================================================================
    ``per_image.csv``       every row
    ``table1.csv``          tidy: one row for each dataset, task, sampler and metric, with n, seeds, mean and interval
    ``table1_wide.csv``     one row for each dataset, task and sampler
    ``comparisons.csv``     the best of every column against the others, with p-values
    ``ranks.csv``           mean rank over tasks
    ``published.csv``       published values of the same protocol beside the measured ones; only where there are any
    ``table1.md, .tex``     for people; the second compiles on its own
    ``grid.png``            pictures side by side; only where any were saved
    ``distortion.png``      perception against distortion
    ``cost.png``            quality against cost
    ``spectrum.png``        radial power spectra
    ======================  ==========================================================================================

    Every file depends on the rows and saved pictures alone: building twice, or from cells computed in another order,
    gives the same bytes.

    Args:
        into: the folder written to; None for `home(*run_folders)`.
        images_per_task: how many rows of pictures each task has in grid.png: the first ones of the dataset.

    Returns:
        The files written.

    Raises:
        TableError: see `records.load`; or a saved picture cannot be read. All tables are written by then.
        LedgerError: a file cannot be written.
    """
    found = report(run_folders)
    folder = home(*run_folders) if into is None else into
    make_folder(folder)
    written = []
    for name, data in _files(found, images_per_task):
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
    return _text(report(run_folders), legend=legend, all_published=all_published)


def _files(found: Report, images_per_task: int) -> Iterator[tuple[str, bytes]]:
    """One by one, so that a picture that cannot be read costs no table."""
    yield "per_image.csv", _csv(per_image(found.lines))
    yield "table1.csv", _csv(found.table)
    yield "table1_wide.csv", _csv(wide(found.lines, found.table))
    yield "comparisons.csv", _csv(found.comparisons)
    yield "ranks.csv", _csv(found.ranks)
    beside = same_protocol(found.lines, found.table)
    if len(beside):
        yield "published.csv", _csv(beside)
    yield "table1.md", _text(found).encode()
    yield "table1.tex", latex.render(found).encode()
    if (pictures := grid.draw(found.lines, images_per_task)) is not None:  # one that was published before is left alone
        yield "grid.png", pictures
    yield "distortion.png", figures.distortion(found.lines, found.table)
    yield "cost.png", figures.cost(found.lines, found.table)
    yield "spectrum.png", figures.spectrum(found.lines)


def _text(found: Report, *, legend: bool = True, all_published: bool = False) -> str:
    text = markdown.render(found, legend=legend)
    beside = render_published(found.lines, found.table, everything=all_published)
    return f"{text}\n{beside}" if beside else text


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()
