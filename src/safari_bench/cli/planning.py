"""`safari-bench plan`: what a run will cost, before it starts, and what it did cost, beside that."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig
from tabulate import tabulate

from safari_bench.cli.compose import jobs
from safari_bench.cli.timings import Timings
from safari_bench.ledger import make_folder, write_atomic
from safari_bench.operators import Denoising
from safari_bench.rng import Streams
from safari_bench.runner import Forecast, Job, calls, forecast

__all__ = ["Plan"]

_SIDE = 8  # pixels of the stand-in image on which calls are counted


class Plan:
    """Collects the cells of a sweep; `report` prints and writes what they cost."""

    def __init__(self) -> None:
        self._cells: dict[Path, Forecast] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._timings = Timings()
        self._folder: Path | None = None

    def add(self, cfg: DictConfig) -> None:
        """One job of the sweep."""
        for job in jobs(cfg, lambda: False):
            self._folder = job.folder
            timing = self._timings.of(job)  # batches of several sizes are measured though they are one cell
            if job.cell_folder not in self._cells:
                self._cells[job.cell_folder] = forecast(job, self._count(job), timing)

    def _count(self, job: Job) -> tuple[int, int]:
        """Calls of this method at these settings, counted once."""
        key = json.dumps(job.run["spec"]["sampler"], sort_keys=True)
        if key not in self._counts:
            stand_in = Denoising((3, _SIDE, _SIDE), Streams(0, "plan", ["one"]))
            self._counts[key] = calls(job.sampler, stand_in, job.denoiser.schedule)
        return self._counts[key]

    def report(self) -> None:
        """Print the tables and write them into the run folder. The forecast stays beside the truth once there is
        some: run the verb again.
        """
        if self._folder is None:
            return
        cells = list(self._cells.values())
        frame = pd.DataFrame([asdict(cell) for cell in cells])
        make_folder(self._folder)
        write_atomic(self._folder / "plan.csv", frame.to_csv(index=False, lineterminator="\n").encode())
        if len(timings := self._timings.frame()):
            write_atomic(self._folder / "timings.csv", timings.to_csv(index=False, lineterminator="\n").encode())
            write_atomic(self._folder / "timings.md", self._timings.markdown().encode())
            print(self._timings.markdown())
        print(tabulate([_row(cell) for cell in cells], _HEAD, tablefmt="simple", disable_numparse=True))
        print(_total(cells))
        print(f"in {self._folder}: plan.csv, timings.csv, timings.md. Hours are those of the network alone")


_HEAD = ["dataset", "task", "sampler", "images", "calls", "backward", "hours", "MB", "done", "calls then", "hours then"]


def _row(cell: Forecast) -> Sequence[str]:
    names = [cell.dataset, cell.task, cell.sampler, f"{cell.images}"]
    said = ["n/s", "", "", ""]
    if not cell.unsupported:
        said = [f"{cell.nfe}", f"{cell.n_backward}", f"{cell.hours:.3g}", f"{cell.disk:.1f}"]
    then = ["" if math.isnan(value) else f"{value:.4g}" for value in (cell.true_nfe, cell.true_hours)]
    return [*names, *said, f"{cell.done}", *then]


def _total(cells: Sequence[Forecast]) -> str:
    count = sum(cell.images * cell.nfe for cell in cells)
    hours, disk = sum(cell.hours for cell in cells), sum(cell.disk for cell in cells)
    text = f"{len(cells)} cells: {count:,} calls of the network, {hours:.3g} hours, {disk:.0f} MB"
    known = [cell for cell in cells if cell.nfe and not math.isnan(cell.true_hours)]
    if known:
        forecast, measured = sum(cell.hours for cell in known), sum(cell.true_hours for cell in known)
        text += f"; {len(known)} cells under way or done: {forecast:.3g} hours forecast, {measured:.3g} measured"
    return text
