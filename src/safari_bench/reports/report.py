"""Everything the renderers need of some runs, computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd

from safari_bench.reports.comparisons import ALPHA, DRAWS, EXACT, NOT_TESTABLE, Marks, compare, marks
from safari_bench.reports.layout import Sheet, dataset_caption, different_measurements, sheets
from safari_bench.reports.records import Line, Record, lines, load
from safari_bench.reports.statistics import RESAMPLES, ranks, summary
from safari_bench.reports.vocabulary import NOTHING, metric

__all__ = ["BEST_MEANS", "LIKE_BEST_MEANS", "Report", "report"]


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

    def legend(self) -> list[str]:
        """One line for every column and sign, without those of the marks."""
        known = [metric(name) for name in dict.fromkeys(self.table.metric)]
        said = [f"{m.heading}: {m.meaning}" for m in known]
        if any(m.learned for m in known):
            said += [
                "n/a: the weights of this score were not found; `safari-bench weights` says which file goes where, "
                "then `safari-bench score RUN metrics=perceptual` fills in the column"
            ]
        return [
            *said,
            "↑ higher is better, ↓ lower is better, → nearer to that number is better",
            f"±: half the 95 % bootstrap interval of the mean over images, {RESAMPLES} resamples; its ends: table1.csv",
            "mean rank: over the tasks, 1 is best; without a score, or scored on fewer images than others, a sampler "
            f"shares the last places; {NOTHING}: not run on every task",
            f"n/s: not supported, failed: no image worked, {NOTHING}: not computed or not finite",
            "without the diffusion prior: degraded (the measurement as a picture), tv (total variation), biharmonic "
            "(holes filled from their rims), wiener (the posterior mean under a stationary Gaussian)",
        ]


#: what the two marks mean, for the renderers to put after their own sign.
BEST_MEANS = "the best of a column, among lines scored on equally many images"
LIKE_BEST_MEANS = (
    "not distinguishable from the best: paired permutation test on the same images and measurements, Holm-corrected "
    f"over the column, at {ALPHA:.0%} (exact up to {EXACT} images, else {DRAWS} exchanges). Not marked where even the "
    f'clearest difference could not pass; comparisons.csv says "{NOT_TESTABLE}" there'
)


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
