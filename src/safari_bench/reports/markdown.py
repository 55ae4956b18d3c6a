"""A report -> tables for people, in Markdown that also reads well in a terminal."""

from collections.abc import Sequence
from itertools import groupby

from tabulate import tabulate

from safari_bench.reports.comparisons import BEST, LIKE_BEST
from safari_bench.reports.layout import Part, Sheet
from safari_bench.reports.report import BEST_MEANS, LIKE_BEST_MEANS, Report

__all__ = ["render"]

#: GitHub has no underline; underscores are its italics and look like a line below in a terminal.
_SIGNS = {BEST: "**", LIKE_BEST: "_", "": ""}


def render(report: Report, *, legend: bool = True) -> str:
    """The tables of a report.

    Args:
        legend: whether to end with a line for every column and sign.
    """
    parts, captions = [f"# {report.name}"], report.captions()
    for dataset, group in groupby(report.sheets(), key=lambda sheet: sheet.dataset):
        caption, *warnings = captions[dataset]
        parts += [f"## {dataset}", caption, *(f"**{warning}**" for warning in warnings)]
        for sheet in group:
            parts += [f"### {sheet.title}", *_block(sheet)]
    if legend:
        signs = [f"**bold**: {BEST_MEANS}", f"_between underscores, in italics_: {LIKE_BEST_MEANS}"]
        parts += ["## How to read this", "\n".join(f"- {line}" for line in [*report.legend(), *signs])]
    return "\n\n".join(parts) + "\n"


def _block(sheet: Sheet) -> list[str]:
    text = tabulate(
        [[label.replace("|", "\\|"), *(_entry(entry) for entry in entries)] for label, entries in sheet.rows],
        headers=["sampler", *sheet.head],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left", *["right"] * len(sheet.head)],
    )
    notes = [f"- ({number}) {note}" for number, note in enumerate(sheet.notes, start=1)]
    return [text, *(["\n".join(notes)] if notes else [])]


def _entry(parts: Sequence[Part]) -> str:
    return " / ".join(f"{_SIGNS[part.mark]}{part.text}{_SIGNS[part.mark]}" for part in parts)
