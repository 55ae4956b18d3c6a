"""The cells of a run folder, in the order of the tables, after checking that they may stand in one table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from safari_bench.errors import TableError
from safari_bench.ledger import Cell, LedgerError, attached, flatten, run_id
from safari_bench.reports.variants import name_variants
from safari_bench.reports.vocabulary import SAMPLERS, TASKS, rank

__all__ = ["Line", "Record", "TableError", "lines", "load", "refuse_mixture"]


@dataclass(frozen=True)
class Record:
    """One cell.

    Args:
        label: the sampler's name, with the keys that tell its configurations apart where there are several.
        run: the contents of run.json.
        rows: what there is of it, in the dataset's order.
        sets: the contents of set_scores.json, see `metrics.SetScores`; empty if there is none.
    """

    folder: Path
    dataset: str
    task: str
    sampler: str
    label: str
    run: Mapping[str, Any]
    rows: pd.DataFrame
    sets: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run_folder(self) -> Path:
        """results/<name>."""
        return self.folder.parents[3]

    def reference(self, image_file: str) -> Path:
        """The picture of the clean image. run.json names the folder; an older one does not, and all sets shared one."""
        return self.folder.parents[2] / str(self.run.get("references", "reference")) / image_file

    @property
    def spec(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        spec: Mapping[str, Any] = self.run["spec"]
        return spec


@dataclass(frozen=True)
class Line:
    """One line of a table: the cells that differ in nothing but the seed."""

    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The cell of the lowest seed; dataset, task, label and noise are those of all."""
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


def load(*folders: Path, one_prior: bool = True) -> list[Record]:
    """Every cell of the run folders, finished or not, sorted by dataset, task, sampler, configuration and seed.

    Of a cell that several folders hold, the one with most images restored counts, the first named where they are even.

    Args:
        one_prior: whether all cells of a dataset must use the same prior, as far as they use one.

    Raises:
        TableError: there is no such folder; it holds no cell; a file in it is damaged; or cells of one dataset name saw
            different images or used different priors, or cells of one task name different degradations.
    """
    cells: dict[tuple[str, ...], Record] = {}
    for folder in map(Path, folders):
        paths = sorted(folder.glob("*/*/*/*/run.json"))
        if not paths:
            raise _nothing(folder)
        for record in (_record(path.parent) for path in paths):
            key = record.dataset, record.task, record.sampler, str(record.run["run_id"])
            if key not in cells or _restored(record) > _restored(cells[key]):
                cells[key] = record
    found = list(cells.values())
    _check_comparable(found, one_prior)
    found.sort(key=lambda r: (r.dataset, rank(r.task, TASKS), rank(r.sampler, SAMPLERS)))
    named = []
    for _, group in groupby(found, key=lambda r: (r.dataset, r.task, r.sampler)):
        named += _with_labels(list(group))
    return named


def refuse_mixture(folder: Path, planned: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    """Refuse cells that would cost a run folder its table, before they are computed.

    Args:
        planned: folder and contents of run.json of each.

    Raises:
        TableError: naming what differs.
    """
    paths = Path(folder).glob("*/*/*/*/run.json")
    try:
        present = [_bare(path.parent, Cell.at(path.parent).run()) for path in sorted(paths)]
        _check_comparable(present)
    except (LedgerError, TableError):
        return  # there is no table to lose
    _check_comparable([*present, *(_bare(place, run) for place, run in planned)])


def _bare(folder: Path, run: Mapping[str, Any]) -> Record:
    dataset, task, sampler = folder.parts[-4:-1]
    return Record(folder, dataset, task, sampler, sampler, run, pd.DataFrame())


def lines(records: list[Record]) -> Iterator[Line]:
    """The lines of the tables, in order. `records` as load returns them."""
    for _, group in groupby(records, key=lambda r: (r.dataset, r.task, r.sampler, r.label)):
        yield Line(tuple(group))


def _restored(record: Record) -> int:
    return int((record.rows.status == "ok").sum())


def _record(folder: Path) -> Record:
    dataset, task, sampler = folder.parts[-4:-1]
    try:
        cell = Cell.at(folder)
        sets = attached(folder, "set_scores")
        return Record(folder, dataset, task, sampler, sampler, cell.run(), cell.rows(), sets)
    except LedgerError as error:
        raise TableError(str(error)) from error


def _with_labels(cells: list[Record]) -> list[Record]:
    """The cells of one sampler on one task, labelled and in order; those that differ in seed alone share a label."""
    specs = {_identity(cell): _unseeded(cell.spec) for cell in cells}
    named = name_variants(cells[0].sampler, specs)
    cells = sorted(cells, key=lambda cell: (named[_identity(cell)][1], _identity(cell), cell.spec.get("seed", 0)))
    return [replace(cell, label=named[_identity(cell)][0]) for cell in cells]


def _identity(cell: Record) -> str:
    return run_id(_unseeded(cell.spec))


def _unseeded(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "seed"}


def _nothing(folder: Path) -> TableError:
    place = folder if folder.is_dir() else folder.parent
    there = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    what = f"{folder} holds no cells" if folder.is_dir() else f"there is no folder {folder}"
    shown = ", ".join(there[:20]) + (", ..." if len(there) > 20 else "") if there else "nothing"
    return TableError(
        f"{what}; expected a run folder, results/<name>, with <dataset>/<task>/<sampler>/<run id>/run.json below it; "
        f"{place} holds: {shown}"
    )


def _check_comparable(found: list[Record], one_prior: bool = True) -> None:
    """One dataset name, one set of images and one prior; one task name, one degradation."""
    seen: dict[tuple[str, ...], tuple[dict[str, Any], Record]] = {}
    for record in found:
        task = {f"task.{key}": value for key, value in flatten(record.spec["task"]).items()}
        # geometry scales with the images, so it may change from dataset to dataset; noise may not
        noise = {key: value for key, value in task.items() if not key.startswith("task.operator")}
        images = {"dataset.manifest_sha256": record.spec["dataset"].get("manifest_sha256")}
        for name, facts in (
            (("images of dataset", record.dataset), images),
            (("noise of task", record.task), noise),
            (("operator of task", record.task, "on", record.dataset), task),
            *([(("prior on dataset", record.dataset), _prior(record))] if one_prior and _prior(record) else []),
        ):
            before, other = seen.setdefault(name, (facts, record))
            keys = [k for k in {**before, **facts} if before.get(k) != facts.get(k)]
            if keys:
                said = "; ".join(f"{k} is {before.get(k)!r} and {facts.get(k)!r}" for k in keys)
                raise TableError(
                    f"two cells cannot stand in one table, because the {' '.join(name)} differs: {said} "
                    f"(in {other.folder} and {record.folder}); make a table of each alone, in folders of their own: "
                    "another name="
                )


def _prior(record: Record) -> dict[str, Any]:
    """What the prior's node says; nothing for methods that use none."""
    prior = record.spec.get("prior", {})
    return {} if prior.get("name") == "none" else flatten(prior, "prior")
