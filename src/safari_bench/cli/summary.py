"""The summary of a sweep: counts, then each reason once."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from safari_bench.cli.endings import BUSY, DONE, FAILED, SKIPPED, STATES, UNSUPPORTED, Ending

__all__ = ["print_summary"]

_SHOWN = 40  # reasons


def print_summary(cells: Sequence[tuple[Ending, int]], jobs: int, lost: Sequence[int], run_folder: Path) -> None:
    """Print how many cells ended how, and every reason with the jobs that share it.

    Args:
        cells: what became of each, with the number of the job that says so.
        jobs: how many reported.
        lost: numbers of the jobs that died without reporting.
    """
    counts = {state: sum(found.state == state for found, _ in cells) for state in STATES}
    order = (DONE, SKIPPED, UNSUPPORTED, FAILED, BUSY)
    said = ", ".join(f"{counts[state]} {state}" for state in order if counts[state] or state != BUSY)
    print(f"sweep: {jobs} jobs, {len(cells)} cells: {said}")
    reasons = _reasons(cells)
    if lost:
        where = run_folder / ".submitit"
        logs = f"; their logs: {_short(where)}" if where.is_dir() else ""
        text = "died without reporting (interrupted, killed, or out of memory)"
        reasons.append(f"  {text}: jobs {_ranges(lost)}{logs}")
    for reason in reasons[:_SHOWN]:
        print(reason)
    if len(reasons) > _SHOWN:
        print(f"  and {len(reasons) - _SHOWN} more")
    if counts[FAILED] or counts[BUSY] or lost:
        print("the same command again does only what is missing")
    sys.stdout.flush()


def _reasons(cells: Sequence[tuple[Ending, int]]) -> list[str]:
    """One entry per reason: many cells may share one, such as a checkpoint that is missing."""
    entries = []
    for state in STATES:
        alike: dict[str, list[tuple[Ending, int]]] = {}
        for found, job in cells:
            if found.state == state and found.reason:
                alike.setdefault(found.reason, []).append((found, job))
        entries += [_entry(state, reason, group) for reason, group in alike.items()]
    return entries


def _entry(state: str, reason: str, group: Sequence[tuple[Ending, int]]) -> str:
    what = group[0][0].what
    if len(group) > 1:
        jobs = _ranges({job for _, job in group})
        what = f"{len(group)} cells (job{'s' * (not jobs.isdigit())} {jobs})"
    lines = [f"  {state}: {what}: {reason}".replace("\n", "\n      ")]
    if log := group[0][0].log:
        lines.append(f"    log: {_short(Path(log))}" + (f", and {len(group) - 1} beside it" if len(group) > 1 else ""))
    return "\n".join(lines)


def _short(path: Path) -> str:
    """Relative to the current folder where it is below it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _ranges(numbers: Iterable[int]) -> str:
    """1, 2, 3, 7 as "1-3, 7"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
