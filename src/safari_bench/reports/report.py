"""Everything the renderers need of some runs, computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import pandas as pd

from safari_bench.reports.comparisons import Marks, compare, marks
from safari_bench.reports.layout import Sheet, dataset_caption, different_measurements, sheets
from safari_bench.reports.records import Line, Record, lines, load
from safari_bench.reports.statistics import ranks, summary
from safari_bench.reports.vocabulary import Metric, metric

__all__ = ["Report", "report"]


@dataclass(frozen=True)
class Report:
    """The tables of some runs.

    Attributes:
        name: the runs' names, with " + " between them.
        records, lines: see `records`.
        table, ranks: see `statistics`.
        comparisons, marks: see `comparisons`.
    """

    name: str
    records: list[Record]
    lines: list[Line]
    table: pd.DataFrame
    ranks: pd.DataFrame
    comparisons: pd.DataFrame
    marks: Marks

    def sheets(self) -> list[Sheet]:
        """Every table, as text without markup."""
        return list(sheets(self.lines, self.table, self.ranks, self.marks))

    @cached_property
    def captions(self) -> dict[str, list[str]]:
        """dataset -> what its lines have in common, then warnings."""
        found = {}
        for dataset, group in groupby(self.lines, key=lambda line: line.first.dataset):
            members = list(group)
            found[dataset] = [dataset_caption(members)]
            odd = different_measurements(members)
            if odd:
                said = f"{odd} measurements differ between samplers: the scores of those images do not compare."
                found[dataset].append(said)
        return found

    @property
    def metrics(self) -> list[Metric]:
        """The columns of the tables."""
        return [metric(name) for name in dict.fromkeys(self.table.metric)]


def report(folders: Sequence[Path]) -> Report:
    """Reads the rows that there are now and does all the statistics.

    Raises:
        TableError: see `records.load`.
    """
    records = load(*folders)
    found = list(lines(records))
    table = summary(found)
    compared = compare(found, table)
    name = " + ".join(dict.fromkeys(Path(folder).resolve().name for folder in folders))
    return Report(name, records, found, table, ranks(table), compared, marks(table, compared))
