"""Random command lines: exit code 0, 1 or 2, no traceback, no hang, and nothing written outside the output folder.

Cells are built and never computed, but for the commands of the last test, which run as users run them.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import STUDY, junk, lines, tree, words_of_verbs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safari_bench.cli import exact_schema, main, running
from safari_bench.errors import ConfigError, LedgerError, SafariBenchError
from safari_bench.ledger.run import read_run

SECONDS = 20
QUICK = ["name=fuzz", "prior=gaussian", "dataset.n=1", "compute.device=cpu", "metrics=default"]
KEYS = tree()
FAST = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
LONG = settings(FAST, max_examples=5000, derandomize=False)


class Built(SafariBenchError):
    """A cell is ready to be computed."""

    exit_code = 0


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
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


def held(words: list[str]) -> None:
    """Run a command in this process and look at how it ends."""
    with limited():
        code = main(words)
    assert code in (0, 1, 2), words
    if words[0] == "manifest":  # it may have been told to write a file of that name
        for name in set(os.listdir()) & set(words[1:]):
            Path(name).unlink()
    assert set(os.listdir()) <= {"results"}, words


@FAST
@given(lines(KEYS))
def test_a_command_ends_well_or_is_refused(words):
    held([*QUICK, *words])


@pytest.mark.slow
@LONG
@given(lines(KEYS))
def test_five_thousand_commands_end_well_or_are_refused(words):
    held([*QUICK, *words])


@FAST
@given(words_of_verbs())
def test_verbs_refuse_words_that_make_no_sense(words):
    held(words)


@settings(FAST, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(STUDY), st.sampled_from(junk())), min_size=1, max_size=2))
def test_an_exact_study_is_read_or_refused(pairs):
    try:
        exact_schema.load([f"{key}={value}" for key, value in pairs])
    except Exception as error:
        from omegaconf.errors import OmegaConfBaseException  # which `explained` makes a message of

        assert isinstance(error, ConfigError | OmegaConfBaseException), pairs


RUN = {
    "schema": 1,
    "ids": ["a", "b"],
    "settings": {"name": "paper", "asked": "tuned", "file": "", "values": {}},
    "config": {"objective": "haarpsi", "task": {"operator": {}}, "sampler": {}, "dataset": {}, "prior": {}},
    "spec": {
        "dataset": {"name": "photos"},
        "prior": {"name": "none"},
        "task": {"name": "sr_x4", "operator": {}, "noise": "gaussian", "sigma": 0.1, "sigma_range": "zero_one"},
        "sampler": {"name": "dps"},
        "seed": 0,
        "numbers": 3,
    },
}
PLACES = ["ids", "spec", "config", "settings", "settings.values", "config.task.operator", "spec.task.operator"]
PLACES += [
    "spec.task",
    "spec.sampler",
    "spec.prior",
    "spec.dataset",
    "config.sampler",
    "spec.sampler.name",
    "spec.numbers",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_damaged_run_json_is_named(tmp_path, place):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(RUN))
    assert read_run(path) == RUN
    for value in (None, [1], {"a": 1}, "x", 1, True):
        run = json.loads(json.dumps(RUN))
        *parents, last = place.split(".")
        node = run
        for part in parents:
            node = node[part]
        if isinstance(value, type(node[last])):
            continue
        node[last] = value
        path.write_text(json.dumps(run))
        if not (place == "spec.numbers" and value is True):
            with pytest.raises(LedgerError, match=r"run\.json is damaged"):
                read_run(path)


@pytest.mark.slow
@settings(FAST, max_examples=100, derandomize=False)
@given(st.one_of(lines(KEYS), words_of_verbs()))
def test_commands_of_users_end_well_or_are_refused(words):
    """In processes of their own, and computed where they make sense."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SAFARI_BENCH_DOWNLOAD_SECONDS": "0"}
    quick = [*QUICK, "sampler=unconditional", "sampler.steps=1"] if "=" in "".join(words[:1]) else []
    command = [sys.executable, "-m", "safari_bench", *quick, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * SECONDS, env=environment)
    assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr, (words, done.stderr)
    assert set(os.listdir()) <= {"results"}, words
    assert not Path("results").is_symlink()
