"""What becomes of the cells of one job, and its report to the process that began the sweep."""

import contextlib
import json
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safari_bench.ledger import make_folder, write_atomic
from safari_bench.runner import Outcome

__all__ = ["BUSY", "DONE", "FAILED", "SKIPPED", "STATES", "UNSUPPORTED", "Ending", "JobReport", "ending"]

DONE, SKIPPED, UNSUPPORTED, FAILED, BUSY = "done", "skipped as done", "unsupported", "failed", "left to others"
#: where jobs of one sweep say different things of a cell they share, the first of these holds
STATES = (FAILED, UNSUPPORTED, DONE, SKIPPED, BUSY)


@dataclass(frozen=True)
class Ending:
    """What became of a cell.

    Args:
        cell: tells cells apart: the folder.
        what: the same for people.
        state: one of STATES.
        reason: the whole message, for cells that were not computed.
        log: the file with the details of a failure; empty if there is none.
    """

    cell: str
    what: str
    state: str
    reason: str = ""
    log: str = ""


def ending(outcome: Outcome, what: str, log: str = "") -> Ending:
    """The ending of a cell that the runner came back from."""
    cell, counts = str(outcome.folder), outcome.counts
    reason = outcome.reasons[0].strip() if outcome.reasons else ""
    if counts.get("failed"):
        return Ending(cell, what, FAILED, f"{counts['failed']} of {outcome.total} images: {reason}", log)
    if counts.get("unsupported") == outcome.total:
        return Ending(cell, what, UNSUPPORTED, reason)
    return Ending(cell, what, DONE if outcome.attempted else SKIPPED)


@dataclass
class JobReport:
    """One job's account of its cells; see `Ending`.

    Args:
        file: where it stands; rewritten whenever a cell ends.
        label: prefix of everything the job prints, e.g. "[3/27] ".
        logs: the folder for details of failures, one file a cell.
        attempts: how often it was begun, this time included.
    """

    file: Path
    label: str
    logs: Path
    attempts: int = 1
    endings: list[Ending] = field(default_factory=list)

    def note(self, found: Ending) -> None:
        """Report one ending."""
        self.endings.append(found)
        self.write(ended=False)

    def came_back(self, outcome: Outcome, what: str) -> None:
        """Report a cell that the runner came back from, failed or not."""
        if outcome.counts.get("failed"):
            log = self._log(str(outcome.folder), [f"{reason}\n" for reason in outcome.reasons])
        else:
            log = ""
            self._forget(str(outcome.folder))
        self.note(ending(outcome, what, log))

    def failed(self, cell: str, what: str, error: Exception) -> None:
        """Report an error that the runner did not make a row of; its traceback goes to the log."""
        log = self._log(cell, traceback.format_exception(error))
        self.note(Ending(cell, what, FAILED, f"{type(error).__name__}: {str(error).strip() or 'no reason given'}", log))

    def busy(self, cell: str, what: str, why: str) -> None:
        """Report a cell that another process works on."""
        self.note(Ending(cell, what, BUSY, why.strip()))

    def write(self, ended: bool) -> None:
        """Write the report as it is now."""
        endings = [asdict(found) for found in self.endings]
        write_atomic(self.file, json.dumps({"ended": ended, "attempts": self.attempts, "endings": endings}).encode())

    def _log(self, cell: str, lines: Sequence[str]) -> str:
        make_folder(self.logs)
        path = self._path(cell)
        write_atomic(path, f"{cell}\n\n{''.join(lines)}".encode())
        return str(path)

    def _forget(self, cell: str) -> None:
        """The log of an earlier failure, of a cell that is well now."""
        with contextlib.suppress(OSError):
            self._path(cell).unlink(missing_ok=True)
            self.logs.rmdir()  # refused unless it is empty

    def _path(self, cell: str) -> Path:
        return self.logs / f"{Path(cell).name.replace(' ', '-')}.txt"
