"""Progress of jobs that run in other processes, from what they report in the run folder."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from safari_bench.cli import sweeps

__all__ = ["shown"]

_SECONDS = 1.0


@contextmanager
def shown(seconds: float = _SECONDS) -> Iterator[None]:
    """Meanwhile, print a line on stderr whenever cells of the sweep under way have ended."""
    sweep, over = sweeps.current(), Event()
    if sweep is None:
        yield
        return

    def watch() -> None:
        said = ""
        while True:
            last = over.wait(seconds)
            if (line := _line(sweep)) not in ("", said):
                print(line, file=sys.stderr, flush=True)
                said = line
            if last:
                return

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _line(sweep: sweeps.Sweep) -> str:
    """How many jobs and cells have ended; empty before the first."""
    reports = sweep.reports()
    ended = sum(report["ended"] for report in reports.values())
    state = {found["cell"]: found["state"] for report in reports.values() for found in report["endings"]}
    if not state:
        return ""
    counts = Counter(state.values())
    said = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    return f"progress: {ended} of {sweep.total or '?'} jobs ended; {len(state)} cells: {said}"
