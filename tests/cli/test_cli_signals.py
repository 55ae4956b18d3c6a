"""Processes that end early: by SIGTERM, by the death of their parent, by a killed worker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from safari_bench import ledger
from safari_bench.cli import main, manifests, signals, sweeps, tuning
from safari_bench.errors import CellBusy

MODULE = """
import os, signal, time
from dataclasses import dataclass
from safari_bench.samplers import Unconditional


@dataclass(frozen=True, kw_only=True)
class Restless(Unconditional):
    mode: str = "calm"

    def restore(self, problem, denoiser, progress):
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "slow":
            open(f"worker.{os.getpid()}", "w").close()
            time.sleep(5 if "once" in os.environ else 120)
        return problem.operator.baseline(problem.y)
"""
OWN = ["--config-dir", "own", "--allow", "restless", "prior=gaussian", "compute.device=cpu", "metrics=default"]
OWN += ["task=denoising", "sampler=restless", "name=s"]
JOBLIB = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    Path("restless.py").write_text(MODULE)
    Path("own/sampler").mkdir(parents=True)
    Path("own/sampler/restless.yaml").write_text("name: restless\n_target_: restless.Restless\nsteps: 2\nmode: calm\n")
    return tmp_path


def begun(*words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "safari_bench", *OWN, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers(count: int, seconds: float = 120) -> list[int]:
    """Ids of the processes that have begun to sleep."""
    until = time.monotonic() + seconds
    while len(found := list(Path().glob("worker.*"))) < count and time.monotonic() < until:
        time.sleep(0.1)
    assert len(found) == count
    return [int(path.suffix[1:]) for path in found]


def alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_sigterm_is_a_first_ctrl_c():
    with signals.Interrupt("the batch") as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    with signals.ended_like_ctrl_c(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_job_is_begun_again_a_few_times_and_not_after_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    sweeps.begin(tmp_path / "run", 2)
    sweep = sweeps.current()
    with sweep.job(0) as report:
        assert report is not None
    with sweep.job(0) as report:
        assert report is None
    for _ in range(3):
        assert sweep.unfinished()
        with pytest.raises(KeyboardInterrupt), sweep.job(1) as report:
            assert report is not None
            raise KeyboardInterrupt
    assert not sweep.unfinished()
    with sweep.job(1) as report:
        assert report is None
    assert json.loads((sweep.folder / "1.json").read_text())["ended"] is False


@pytest.mark.slow
def test_sigterm_keeps_the_batch_in_hand(own, monkeypatch):
    monkeypatch.setenv("once", "1")
    process = begun("sampler.mode=slow", "dataset.n=3", "compute.batch_size=1")
    workers(1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopping after" in said and "Traceback" not in said
    assert len(list(Path("results/s").glob("*/*/restless/*/rows/*.json"))) == 1


@pytest.mark.slow
def test_workers_die_with_their_parent(own):
    process = begun(*JOBLIB, "sampler.mode=slow", "seed=0,1", "dataset.n=1")
    found = workers(2)
    process.kill()
    process.communicate()
    until = time.monotonic() + 10
    while any(map(alive, found)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not any(map(alive, found))


@pytest.mark.slow
def test_a_killed_worker_ends_only_its_cell(own):
    process = begun(*JOBLIB, "sampler.mode=kill,calm", "seed=0,1", "dataset.n=1")
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    assert len(list(Path("results/s").glob("*/*/restless/*/rows.csv"))) == 2
    assert "died without reporting (interrupted, killed, or out of memory): jobs 1-2" in said


def test_verbs_that_write_into_a_folder_wait_for_nobody_and_lose_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with ledger.exclusive(tmp_path / "results/exact"):
        assert main(["exact", "max_steps=1"]) == 1
        assert "works on" in capsys.readouterr().err
    with ledger.exclusive(tmp_path / "conf/tuned"), pytest.raises(CellBusy):
        tuning.write(tmp_path / "conf/tuned/mine.yaml", {"sr_x4": {"dps": {"values": {"zeta": 1.0}}}})
    tuning.write(tmp_path / "conf/tuned/mine.yaml", {"sr_x4": {"dps": {"values": {"zeta": 1.0}}}})
    assert "zeta: 1.0" in (tmp_path / "conf/tuned/mine.yaml").read_text()


def test_a_manifest_replaces_no_file_that_appeared_meanwhile(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = manifests.manifest_csv
    monkeypatch.setattr(manifests, "manifest_csv", lambda dataset: Path("a.csv").write_text("theirs") and made(dataset))
    assert main(["manifest", "a.csv", "dataset=leaves", "dataset.n=1"]) == 2
    assert "is there already" in capsys.readouterr().err and Path("a.csv").read_text() == "theirs"


def test_a_sweep_whose_tables_cannot_be_written_does_not_end_well(own, capsys):
    Path("results/s/table1.csv").mkdir(parents=True)
    assert main([*OWN, "-m", "seed=0", "dataset.n=1"]) == 1
    assert "error: the tables could not be written" in capsys.readouterr().err
    sys.modules.pop("restless", None)
