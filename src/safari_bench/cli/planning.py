"""`safari-bench plan`: what a run will cost, before it starts, and what it did cost, beside that."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig
from tabulate import tabulate

from safari_bench.cli.compose import jobs
from safari_bench.cli.timings import Timings
from safari_bench.ledger import make_folder, write_atomic
from safari_bench.operators import Denoising
from safari_bench.rng import Streams
from safari_bench.runner import Forecast, Job, calls, forecast, truth

__all__ = ["Plan"]

_SIDE = 8  # pixels of the stand-in image on which calls are counted


class Plan:
    """Collects the cells of a sweep; `report` prints and writes what they cost.

    Args:
        again: make forecasts anew that the run folder holds already.
    """

    def __init__(self, *, again: bool = False) -> None:
        self._again = again
        self._cells: dict[str, Forecast] = {}
        self._kept: dict[str, Forecast] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._timings = Timings()
        self._folder: Path | None = None

    def add(self, cfg: DictConfig) -> None:
        """One job of the sweep."""
        if "download_seconds" in cfg.metrics:
            cfg = cfg.copy()
            cfg.metrics.download_seconds = 0  # a plan downloads no weights
        for job in jobs(cfg, lambda: False):
            if self._folder is None:
                self._open(job.folder)
            name = str(job.run["run_id"])
            kept = self._kept.get(name)
            if kept and self._timings.holds(job):  # neither is measured again
                self._cells[name] = truth(kept, job.folder)
                continue
            timing = self._timings.of(job)  # batches of several sizes are measured though they are one cell
            if name not in self._cells:
                self._cells[name] = truth(kept, job.folder) if kept else forecast(job, self._count(job), timing)

    def _open(self, folder: Path) -> None:
        """What an earlier call left in the run folder."""
        self._folder = folder
        if not self._again:
            self._kept = {cell.run_id: cell for cell in _read(folder / "plan.csv")}
            self._timings.read(folder / "timings.csv")

    def _count(self, job: Job) -> tuple[int, int]:
        """Calls of this method at these settings, counted once."""
        key = json.dumps(job.run["spec"]["sampler"], sort_keys=True)
        if key not in self._counts:
            stand_in = Denoising((3, _SIDE, _SIDE), Streams(0, "plan", ["one"]))
            self._counts[key] = calls(job.sampler, stand_in, job.denoiser.schedule)
        return self._counts[key]

    def report(self) -> None:
        """Print the tables and write them into the run folder. The forecast stays beside the truth once there is
        some: run the verb again. plan.csv also keeps the forecasts of cells that were not asked for now and were run.
        """
        if self._folder is None:
            return
        cells = list(self._cells.values())
        others = [truth(cell, self._folder) for name, cell in self._kept.items() if name not in self._cells]
        frame = pd.DataFrame([asdict(cell) for cell in cells + [cell for cell in others if cell.done]])
        make_folder(self._folder)
        write_atomic(self._folder / "plan.csv", frame.to_csv(index=False, lineterminator="\n").encode())
        if len(timings := self._timings.frame()):
            write_atomic(self._folder / "timings.csv", timings.to_csv(index=False, lineterminator="\n").encode())
            write_atomic(self._folder / "timings.md", self._timings.markdown().encode())
            print(self._timings.markdown())
        print(tabulate([_row(cell) for cell in cells], _HEAD, tablefmt="simple", disable_numparse=True))
        print(_total(cells))
        print(
            f"in {self._folder}: plan.csv, timings.csv, timings.md. Hours are those of the network alone, MiB those of "
            "its call, of the GPU or the process"
        )


def _read(path: Path) -> list[Forecast]:
    """The forecasts of an earlier call; none where the file is of a version with other columns."""
    if not path.is_file():
        return []
    kinds = {field.name: field.type for field in fields(Forecast)}
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(frame.columns) != list(kinds):
        return []
    found = []
    for row in frame.to_dict("records"):
        values = {str(key): row[key] if kinds[str(key)] is str else row[key] or "nan" for key in row}
        found.append(Forecast(**{key: kinds[key](value) for key, value in values.items()}))  # type: ignore[operator]
    return found


_HEAD = ["dataset", "task", "sampler", "images", "calls", "backward", "hours", "at once", "MiB", "MB"]
_HEAD += ["done", "calls then", "hours then", "MiB then", "MB then"]


def _row(cell: Forecast) -> Sequence[str]:
    names = [cell.dataset, cell.task, cell.sampler, f"{cell.images}"]
    said = ["n/s", "", "", "", "", ""]
    if not cell.unsupported:
        said = [f"{cell.nfe}", f"{cell.n_backward}", f"{cell.hours:.3g}", f"{cell.batch}", _known(cell.memory, ".0f")]
        said += [f"{cell.disk:.1f}"]
    then = [_known(cell.true_nfe, ".4g"), _known(cell.true_hours, ".4g")]
    return [*names, *said, f"{cell.done}", *then, _known(cell.true_memory, ".0f"), _known(cell.true_disk, ".1f")]


def _known(value: float, form: str) -> str:
    return "" if math.isnan(value) else f"{value:{form}}"


def _total(cells: Sequence[Forecast]) -> str:
    count, back = sum(cell.images * cell.nfe for cell in cells), sum(cell.images * cell.n_backward for cell in cells)
    hours, disk = sum(cell.hours for cell in cells), sum(cell.disk for cell in cells) + _originals(cells, "references")
    text = f"{len(cells)} cells: {count:,} calls of the network with {back:,} backward passes, {hours:.3g} hours, "
    text += f"{disk:.3g} MB with the originals beside them"
    known = [cell for cell in cells if cell.nfe and not math.isnan(cell.true_hours)]
    if known:
        foreseen, measured = sum(cell.hours for cell in known), sum(cell.true_hours for cell in known)
        there = sum(cell.true_disk for cell in known) + _originals(known, "true_references")
        text += f"; {len(known)} cells under way or done: {foreseen:.3g} hours forecast, {measured:.3g} measured; "
        text += f"{there:.3g} MB on disk"
    return text


def _originals(cells: Sequence[Forecast], column: str) -> float:
    """Megabytes of the originals, which the cells of a dataset share."""
    each: dict[str, float] = {cell.dataset: getattr(cell, column) for cell in cells}
    return sum(each.values())
