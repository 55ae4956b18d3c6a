"""Words of a command line in any order, and what is said and refused before anything is computed."""

import pytest

from safari_bench.cli import main

SMALL = ["prior=gaussian", "sampler=unconditional", "sampler.steps=2", "task=denoising", "compute.device=cpu"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("SAFARI_BENCH_SWEEP", raising=False)


def test_a_flag_may_stand_anywhere(capsys):
    assert main(["name=a", "dataset.n=1", "-m", "seed=0,1", *SMALL]) == 0
    assert "sweep: 2 jobs, 4 cells: 4 done" in capsys.readouterr().out
    assert main(["name=a", "--cfg", "job", "seed=3", *SMALL]) == 0
    assert "seed: 3\n" in capsys.readouterr().out


def test_our_own_line_is_all_that_is_said_of_an_error(capsys):
    assert main(["name=b", "dataset=folder", "dataset.root=nowhere", *SMALL]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Error executing job" not in said and "nowhere" in said
