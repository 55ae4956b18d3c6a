"""How the jobs of a sweep end, whichever processes they run in: one summary, and the exit code.

Every job writes what became of its cells to a file in the run folder, so that the process that began the sweep hears of
it from any launcher, and notices jobs that died without reporting.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safari_bench.cli.endings import DONE, FAILED, STATES, Ending, JobReport
from safari_bench.cli.summary import print_summary
from safari_bench.ledger import make_folder, write_atomic

__all__ = ["Sweep", "abandon", "begin", "current", "finish"]

#: a killed worker of joblib takes the others with it, so that a job may be begun again without any fault of its own
_ATTEMPTS = 3
_FOLDER = "SAFARI_BENCH_SWEEP"  # the environment variable that tells a launcher's processes where to report


@dataclass(frozen=True)
class Sweep:
    """A sweep under way, seen from the process that began it or from one of its jobs.

    Args:
        folder: where its jobs report to, <run folder>/.sweeps/<this sweep>.
        total: how many jobs there will be; 0 where nobody knows.
    """

    folder: Path
    total: int

    @property
    def run_folder(self) -> Path:
        """results/<name>."""
        return self.folder.parents[1]

    @contextmanager
    def job(self, number: int) -> Iterator[JobReport | None]:
        """The context a job runs in. An Exception ends the job, never the sweep.

        Gives None for a job that has ended, or that a worker died of too often; see `unfinished`.
        """
        label = f"[{number + 1}/{self.total}] " if self.total else ""
        before = self.reports().get(number, {"ended": False, "attempts": 0, "endings": []})
        if before["ended"] or before["attempts"] >= _ATTEMPTS:
            yield None
            return
        report = JobReport(self.folder / f"{number}.json", label, self.run_folder / "failures", before["attempts"] + 1)
        report.endings += [Ending(**found) for found in before["endings"] if found["state"] == DONE]
        report.write(ended=False)
        try:
            yield report
        except Exception as error:
            report.failed(f"job {number + 1}", f"job {number + 1}", error)
        report.write(ended=True)

    def unfinished(self) -> bool:
        """Whether another round of jobs, after a worker died, could end more of them."""
        told = self.reports()
        waiting = range(self.total or max(told, default=-1) + 1)
        return any(n not in told or not (told[n]["ended"] or told[n]["attempts"] >= _ATTEMPTS) for n in waiting)

    def reports(self) -> dict[int, dict[str, Any]]:
        """What the jobs have reported until now, by their number."""
        return {int(path.stem): json.loads(path.read_bytes()) for path in self.folder.glob("*.json")}


def begin(run_folder: Path, total: int) -> None:
    """Make the place where jobs report to.

    Args:
        total: how many jobs there will be; 0 where nobody knows.
    """
    folder = run_folder.resolve() / ".sweeps" / f"{time.time_ns()}-{os.getpid()}"
    make_folder(folder)
    write_atomic(folder / "total", str(total).encode())
    os.environ[_FOLDER] = str(folder)


def current() -> Sweep | None:
    """The sweep this process belongs to, if any."""
    folder = os.environ.get(_FOLDER)
    return Sweep(Path(folder), int((Path(folder) / "total").read_text())) if folder else None


def abandon() -> None:
    """Forget the sweep this process began if none of its jobs has: the words of the command itself were refused."""
    sweep = _own()
    if sweep is not None and not any(sweep.folder.glob("*.json")):
        _clear(sweep)


def finish() -> int:
    """Print the summary of the sweep this process began, if it did, and clear its reports away.

    Returns:
        the exit code: 1 if a cell failed or a job died without reporting, else 0.
    """
    sweep = _own()
    if sweep is None:
        return 0
    reports = sweep.reports()
    lost = [number + 1 for number in range(sweep.total) if not reports.get(number, {"ended": False})["ended"]]
    endings = [(Ending(**found), number + 1) for number in sorted(reports) for found in reports[number]["endings"]]
    cells: dict[str, tuple[Ending, int]] = {}
    for found, job in sorted(endings, key=lambda pair: STATES.index(pair[0].state), reverse=True):
        cells[found.cell] = found, job
    print_summary(list(cells.values()), len(reports), lost, sweep.run_folder)
    _clear(sweep)
    return int(bool(lost) or any(found.state == FAILED for found, _ in cells.values()))


def _own() -> Sweep | None:
    """The sweep that this very process began."""
    sweep = current()
    return sweep if sweep is not None and sweep.folder.name.endswith(f"-{os.getpid()}") else None


def _clear(sweep: Sweep) -> None:
    shutil.rmtree(sweep.folder)
    if not any(sweep.folder.parent.iterdir()):
        sweep.folder.parent.rmdir()
    del os.environ[_FOLDER]
