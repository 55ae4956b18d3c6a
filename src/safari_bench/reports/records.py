"""The cells of run folders, in the order of the tables, each with the name of its table and of its line."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from safari_bench.errors import TableError
from safari_bench.ledger import LedgerError, Place, Stored, cells, flatten, latest, run_id
from safari_bench.reports.facets import Facet, facets, heading, order
from safari_bench.reports.variants import name_variants
from safari_bench.reports.vocabulary import MEASUREMENT, SAMPLERS, TASKS, rank

__all__ = ["Line", "Record", "TableError", "lines", "load"]


@dataclass(frozen=True)
class Record:
    """One cell in one table.

    Args:
        label: the sampler's name, with the keys that tell its configurations apart where there are several.
        run: the contents of run.json.
        rows: what there is of it, in the dataset's order.
        sets: the contents of set_scores.json, see `metrics.SetScores`; empty if there is none.
        facet: what sets its table apart from others of the task, see `facets`.
        heading: the task with its facet. Tables, marks, ranks and tests are of one dataset and heading.
        varied: the sampler's keys, "sampler.zeta", in which its configurations in this table differ, with their values.
    """

    place: Place
    label: str
    run: Mapping[str, Any]
    rows: pd.DataFrame
    sets: Mapping[str, Any] = field(default_factory=dict)
    facet: Facet = field(default_factory=dict)
    heading: str = ""
    varied: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        return self.place.dataset

    @property
    def task(self) -> str:
        return self.place.task

    @property
    def sampler(self) -> str:
        return self.place.sampler

    @property
    def folder(self) -> Path:
        """The cell's folder; a cell read from an archive has none."""
        return self.place.folder

    @property
    def is_measurement(self) -> bool:
        """Whether its pictures are the measurements themselves, as the baseline that restores nothing shows them."""
        return self.sampler == MEASUREMENT

    @property
    def spec(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        spec: Mapping[str, Any] = self.run["spec"]
        return spec

    def reference(self, image_file: str) -> Path:
        """The picture of the clean image."""
        return self.place.references(self.run) / image_file


@dataclass(frozen=True)
class Line:
    """One line of a table: the cells that differ in nothing but the seed."""

    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The cell of the lowest seed; dataset, heading, label and noise are those of all."""
        return self.records[0]

    @property
    def ids(self) -> list[str]:
        """The images, in the dataset's order."""
        return list(self.first.run["ids"])

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of every seed."""
        return pd.concat([record.rows for record in self.records], ignore_index=True)

    @property
    def set_scores(self) -> dict[str, list[tuple[int, float]]]:
        """Set score -> pictures and value per seed; the value is NaN for want of weights."""
        found: dict[str, list[tuple[int, float]]] = {}
        for sets in (record.sets for record in self.records if record.sets):
            for name, value in sets["scores"].items():
                found.setdefault(name, []).append((int(sets["n"]), math.nan if value is None else float(value)))
        return found


def load(*folders: Path) -> list[Record]:
    """Every cell of the run folders, finished or not, sorted by dataset, task, facet, sampler, configuration and seed.

    Of a cell that is there several times, the one with most images restored counts, see `ledger.latest`.
    A cell of a method without a prior comes once for every facet that it stands in.

    Raises:
        TableError: there is no such folder; it holds no cell; or a file in it is damaged.
    """
    every = latest(cell for folder in folders for cell in _cells(Path(folder)))
    found = [Record(cell.place, cell.place.sampler, cell.run, cell.rows, cell.sets) for cell in every]
    found.sort(key=lambda r: (r.dataset, rank(r.task, TASKS)))
    named = []
    for _, of_task in groupby(found, key=lambda r: (r.dataset, r.task)):
        split = sorted(_split(list(of_task)), key=lambda r: (order(r.facet), r.heading, rank(r.sampler, SAMPLERS)))
        for _, group in groupby(split, key=lambda r: (r.heading, r.sampler)):
            named += _with_labels(list(group))
    return named


def lines(records: list[Record]) -> Iterator[Line]:
    """The lines of the tables, in order. `records` as load returns them."""
    for _, group in groupby(records, key=lambda r: (r.dataset, r.heading, r.sampler, r.label)):
        yield Line(tuple(group))


def _cells(folder: Path) -> list[Stored]:
    try:
        found = list(cells(folder))
    except LedgerError as error:
        raise TableError(str(error)) from error
    if not found:
        raise _nothing(folder)
    for cell in found:
        if absent := {"task", "sampler"} - cell.run["spec"].keys():
            raise TableError(
                f"{cell.place.folder}: run.json names no {' and no '.join(sorted(absent))}, so this is no cell"
            )
    return found


def _split(of_task: list[Record]) -> list[Record]:
    """The cells of one dataset and task, each once for every facet that it stands in."""
    places = facets([record.spec for record in of_task])
    return [
        replace(record, facet=facet, heading=heading(record.task, facet))
        for record, found in zip(of_task, places, strict=True)
        for facet in found
    ]


def _with_labels(group: list[Record]) -> list[Record]:
    """The cells of one sampler in one table, labelled and in order; those that differ in seed alone share a label."""
    specs = {_identity(cell): _unseeded(cell.spec) for cell in group}
    named = name_variants(group[0].sampler, specs)
    group = sorted(group, key=lambda cell: (named[_identity(cell)][1], _identity(cell), cell.spec.get("seed", 0)))
    keys = _varied(group)
    values = [flatten({"sampler": cell.spec["sampler"]}) for cell in group]
    return [
        replace(cell, label=named[_identity(cell)][0], varied={key: own[key] for key in keys if key in own})
        for cell, own in zip(group, values, strict=True)
    ]


def _varied(group: list[Record]) -> list[str]:
    """The sampler's keys with several values; a whole number is the same number however it is written."""
    found = [flatten({"sampler": cell.spec["sampler"]}) for cell in group]
    keys = dict.fromkeys(key for own in found for key in own)
    return [key for key in keys if len({run_id({key: own.get(key)}) for own in found}) > 1]


def _identity(cell: Record) -> str:
    return run_id(_unseeded(cell.spec))


def _unseeded(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "seed"}


def _nothing(folder: Path) -> TableError:
    place = folder if folder.is_dir() else folder.parent
    there = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    what = f"{folder} holds no cells" if folder.is_dir() else f"there is no folder {folder}"
    kept = [name for name in there if name.endswith(".csv")]
    if folder.is_dir() and kept:
        return TableError(
            f"{what}: its rows were not kept, so its tables cannot be rebuilt; its means are in {', '.join(kept)}"
        )
    shown = ", ".join(there[:20]) + (", ..." if len(there) > 20 else "") if there else "nothing"
    return TableError(
        f"{what}; expected a run folder, results/<name>, with <dataset>/<task>/<sampler>/<run id>/run.json or "
        f"cells.json.gz below it; {place} holds: {shown}"
    )
