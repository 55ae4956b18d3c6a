"""Random command lines: exit code 0, 1 or 2, no traceback, no hang, and nothing written outside the output folder."""

import os
import signal
import traceback
from contextlib import contextmanager

import pytest
from commands import lines, tree
from hypothesis import HealthCheck, given, settings

from safari_bench.cli import main, running
from safari_bench.errors import SafariBenchError

SECONDS = 20
QUICK = ["name=fuzz", "prior=gaussian", "dataset.n=1", "compute.device=cpu", "metrics=default"]
KEYS = tree()
FAST = settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(FAST, max_examples=5000, derandomize=False)


class Built(SafariBenchError):
    """A cell is ready to be computed."""

    exit_code = 0


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Cells are built and never computed; the current folder is an empty one."""
    before = os.getcwd()
    place = tmp_path_factory.mktemp("fuzz")
    os.chdir(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "run_cell", _stop)
        yield place
    os.chdir(before)


def _stop(job):
    raise Built("ready")


@contextmanager
def limited():
    def over(number, frame):
        raise TimeoutError(f"over {SECONDS} s:\n{''.join(traceback.format_stack(frame))}")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def held(words: list[str]) -> int:
    """Run a command in this process and look at how it ends."""
    with limited():
        code = main(words)
    assert code in (0, 1, 2), words
    assert set(os.listdir()) <= {"results"}, os.listdir()
    return code


@FAST
@given(lines(KEYS))
def test_a_command_that_makes_no_sense_is_refused(words):
    held([*QUICK, *words])
