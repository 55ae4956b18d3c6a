"""How the jobs of a sweep end, whichever processes they run in: one summary, and the exit code.

Every job writes what became of its cells to a file in the run folder, so that the process that began the sweep hears of
it from any launcher, and notices jobs that died without a word.
"""

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safari_bench.ledger import make_folder, write_atomic
from safari_bench.runner import Outcome

__all__ = ["Ending", "JobReport", "Refused", "abandon", "begin", "current", "ending", "finish"]

_FOLDER = "SAFARI_BENCH_SWEEP"  # the environment variable that tells a launcher's processes where to report
_DONE, _SKIPPED, _UNSUPPORTED, _FAILED, _BUSY = "done", "skipped as done", "unsupported", "failed", "left to others"
#: where jobs of one sweep say different things of a cell they share, the first of these holds
_STATES = (_FAILED, _UNSUPPORTED, _DONE, _SKIPPED, _BUSY)
_SHOWN = 40  # lines


class Refused(BaseException):
    """A sweep that must not begin. Hydra goes on after any Exception that a callback raises."""


@dataclass(frozen=True)
class Ending:
    """What became of a cell.

    Args:
        cell: tells cells apart: the folder.
        what: the same for people.
        reason: one line, for cells that were not computed.
    """

    cell: str
    what: str
    state: str
    reason: str = ""


def ending(outcome: Outcome, what: str) -> Ending:
    """The ending of a cell that the runner came back from."""
    cell, counts = str(outcome.folder), outcome.counts
    reason = _first_line(outcome.reasons[0]) if outcome.reasons else ""
    if counts.get("failed"):
        return Ending(cell, what, _FAILED, f"{counts['failed']} of {outcome.total} images: {reason}")
    if counts.get("unsupported") == outcome.total:
        return Ending(cell, what, _UNSUPPORTED, reason)
    return Ending(cell, what, _DONE if outcome.attempted else _SKIPPED)


@dataclass
class JobReport:
    """One job's account of its cells; see `Ending`.

    Args:
        file: where it stands; rewritten whenever a cell ends.
        label: prefix of everything the job prints, e.g. "[3/27] ".
    """

    file: Path
    label: str
    endings: list[Ending] = field(default_factory=list)

    def note(self, found: Ending) -> None:
        self.endings.append(found)
        self._write(ended=False)

    def failed(self, cell: str, what: str, error: Exception) -> None:
        """Note an error that the runner did not make a row of. The traceback of an unforeseen one goes to stderr."""
        if not type(error).__module__.startswith("safari_bench"):
            traceback.print_exception(error)
        self.note(Ending(cell, what, _FAILED, f"{type(error).__name__}: {_first_line(str(error))}"))

    def busy(self, cell: str, what: str, why: str) -> None:
        self.note(Ending(cell, what, _BUSY, _first_line(why)))

    def _write(self, ended: bool) -> None:
        endings = [asdict(found) for found in self.endings]
        write_atomic(self.file, json.dumps({"ended": ended, "endings": endings}).encode())


@dataclass(frozen=True)
class Sweep:
    """A sweep under way, seen from the process that began it or from one of its jobs."""

    folder: Path
    total: int

    @contextmanager
    def job(self, number: int) -> Iterator[JobReport]:
        """The context a job runs in. An Exception ends the job, never the sweep."""
        report = JobReport(self.folder / f"{number}.json", f"[{number + 1}/{self.total}] " if self.total else "")
        try:
            yield report
        except Exception as error:
            report.failed(f"job {number + 1}", f"job {number + 1}", error)
        report._write(ended=True)


def begin(run_folder: Path, total: int) -> None:
    """Makes the place where jobs report to.

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
        the exit code: 1 if a cell failed or a job ended without a word, else 0.
    """
    sweep = _own()
    if sweep is None:
        return 0
    reports = {int(path.stem): json.loads(path.read_bytes()) for path in sweep.folder.glob("*.json")}
    lost = [number for number in range(sweep.total) if not reports.get(number, {"ended": False})["ended"]]
    endings = [(Ending(**found), number + 1) for number in sorted(reports) for found in reports[number]["endings"]]
    cells: dict[str, tuple[Ending, int]] = {}
    for found, job in sorted(endings, key=lambda pair: _STATES.index(pair[0].state), reverse=True):
        cells[found.cell] = found, job
    _print(list(cells.values()), len(reports), lost)
    _clear(sweep)
    return int(bool(lost) or any(found.state == _FAILED for found, _ in cells.values()))


def _own() -> Sweep | None:
    """The sweep that this very process began."""
    sweep = current()
    return sweep if sweep is not None and sweep.folder.name.endswith(f"-{os.getpid()}") else None


def _clear(sweep: Sweep) -> None:
    shutil.rmtree(sweep.folder)
    if not any(sweep.folder.parent.iterdir()):
        sweep.folder.parent.rmdir()
    del os.environ[_FOLDER]


def _print(cells: Sequence[tuple[Ending, int]], jobs: int, lost: Sequence[int]) -> None:
    """cells: what became of each, with the number of the job that says so."""
    counts = {state: sum(found.state == state for found, _ in cells) for state in _STATES}
    order = (_DONE, _SKIPPED, _UNSUPPORTED, _FAILED, _BUSY)
    said = ", ".join(f"{counts[state]} {state}" for state in order if counts[state] or state != _BUSY)
    print(f"sweep: {jobs} jobs, {len(cells)} cells: {said}")
    lines = _reasons(cells)
    if lost:
        numbers = _ranges([number + 1 for number in lost])
        lines.append(f"  ended without a word (interrupted, killed, or out of memory): jobs {numbers}")
    print("\n".join(lines[:_SHOWN]), end="\n" if lines else "")
    if len(lines) > _SHOWN:
        print(f"  and {len(lines) - _SHOWN} more")
    if counts[_FAILED] or counts[_BUSY] or lost:
        print("the same command again does only what is missing")
    sys.stdout.flush()


def _reasons(cells: Sequence[tuple[Ending, int]]) -> list[str]:
    """One line per reason: many cells may share one, such as a checkpoint that is missing."""
    lines = []
    for state in _STATES:
        alike: dict[str, list[tuple[Ending, int]]] = {}
        for found, job in cells:
            if found.state == state and found.reason:
                alike.setdefault(found.reason, []).append((found, job))
        for reason, group in alike.items():
            jobs = _ranges({job for _, job in group})
            what = (
                group[0][0].what if len(group) == 1 else f"{len(group)} cells (job{'s' * (not jobs.isdigit())} {jobs})"
            )
            lines.append(f"  {state}: {what}: {reason}")
    return lines


def _ranges(numbers: Iterable[int]) -> str:
    """1, 2, 3, 7 as "1-3, 7"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")[:600]
