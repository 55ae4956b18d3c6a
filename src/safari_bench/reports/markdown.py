"""A report -> tables for people, in Markdown that also reads well in a terminal."""

from collections.abc import Sequence

from tabulate import tabulate

from safari_bench.reports.comparisons import BEST, LIKE_BEST
from safari_bench.reports.layout import Part, Sheet
from safari_bench.reports.report import Report
from safari_bench.reports.templates import fill

__all__ = ["render"]

#: GitHub has no underline; underscores are its italics and look like a line below in a terminal.
_SIGNS = {BEST: "**", LIKE_BEST: "_", "": ""}


def render(report: Report, *, legend: bool = True) -> str:
    """The tables of a report.

    Args:
        legend: whether to end with a line for every column and sign.
    """
    return fill("table1.md.j2", {"pipe": _table}, report=report, legend=legend)


def _table(sheet: Sheet) -> str:
    return tabulate(
        [[label.replace("|", "\\|"), *(_entry(entry) for entry in entries)] for label, entries in sheet.rows],
        headers=["sampler", *sheet.head],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left", *["right"] * len(sheet.head)],
    )


def _entry(parts: Sequence[Part]) -> str:
    return " / ".join(f"{_SIGNS[part.mark]}{part.text}{_SIGNS[part.mark]}" for part in parts)
