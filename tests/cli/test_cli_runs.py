"""Whole commands as a person runs them: resume after kill -9 and Ctrl-C, a full disk, sweeps, exit codes."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from safari_bench.cli import main

#: columns that measure a run rather than a restoration
COST = ["seconds", "peak_mem_mb"]
CELL = ["prior=gaussian", "task=sr_x4", "sampler=dps", "dataset.n=6", "sampler.steps=120"]
CELL += ["compute.batch_size=1", "compute.device=cpu"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def start(*words: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "safari_bench", *CELL, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def batches(name: str) -> int:
    return len(list(Path("results", name).glob("photos/sr_x4/dps/*/rows/*.json")))


def wait_for(condition, process: subprocess.Popen) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.005)


def rows(run: str | Path) -> pd.DataFrame:
    (path,) = Path(run).glob("photos/sr_x4/dps/*/rows.csv")
    return pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=COST)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pd.DataFrame:
    """The rows of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert start("name=whole", cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}).wait() == 0
    return rows(folder / "results/whole")


@pytest.mark.parametrize("counts", [[2], pytest.param([0, 4], marks=pytest.mark.slow)])
def test_killed_and_resumed_is_as_if_never_killed(whole, counts):
    for count in counts:  # 0: during the first batch
        process = start("name=killed")
        wait_for(lambda count=count: batches("killed") >= count and Path("results/killed").exists(), process)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL  # it was still at work
    assert not list(Path("results/killed").glob("photos/sr_x4/dps/*/rows.csv"))
    assert start("name=killed").wait() == 0
    pd.testing.assert_frame_equal(rows("results/killed"), whole)


def test_ctrl_c_keeps_the_rows_in_hand_and_says_how_to_resume():
    process = start("name=interrupted", "sampler.steps=300")
    wait_for(lambda: batches("interrupted") >= 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "stopping after the batch in hand" in errors
    assert "Run the same command again" in errors
    assert "Traceback" not in errors
    # the batch in hand was finished, and no other begun; the signal may arrive just before the next one begins
    assert 1 <= batches("interrupted") < 6
    assert not list(Path("results/interrupted").rglob(".*.tmp"))
    table = pd.read_csv("results/interrupted/per_image.csv")  # of what is finished
    assert set(table.sampler) == {"degraded", "dps"}


def test_a_full_disk_loses_nothing(whole):
    """A file-size limit stands in for a full disk: writes fail with an OSError in the middle of a run."""
    process = start(
        "name=full", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000)), env={**os.environ}
    )
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "cannot write" in errors
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert start("name=full").wait() == 0
    pd.testing.assert_frame_equal(rows("results/full"), whole)


def test_the_second_run_does_nothing_and_says_so(capsys):
    words = ["prior=gaussian", "dataset.n=2", "sampler.steps=3", "name=twice", "compute.device=cpu"]
    assert main(words) == 0
    assert "nothing to do" not in capsys.readouterr().out
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.count("complete, nothing to do (2 images") == 2  # the degraded input and the method


def test_a_sweep_fills_one_table_and_resumes(capsys):
    words = ["-m", "name=sweep", "prior=gaussian", "dataset.n=2", "sampler.steps=3", "compute.device=cpu"]
    words += ["sampler=dps,safari"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "[1/2]" in said.err
    assert "[2/2]" in said.err
    table = pd.read_csv("results/sweep/table1.csv")
    assert set(table.sampler) == {"degraded", "dps", "safari"}
    assert {"dataset", "task", "sigma", "sigma_range", "metric", "n", "mean", "ci_low", "ci_high"} <= set(table)
    per_image = pd.read_csv("results/sweep/per_image.csv")
    assert len(per_image) == 6
    assert Path("results/sweep/grid.png").stat().st_size > 1000
    assert "| safari" in said.out
    assert main([*words[:-1], "sampler=dps,safari,unconditional"]) == 0
    said = capsys.readouterr().out
    assert said.count("nothing to do") == 2  # dps and safari; the shared baseline goes without saying


def test_a_guidance_sweep_is_told_apart(capsys):
    words = ["-m", "name=guided", "prior=gaussian", "dataset.n=1", "sampler.steps=2", "guidance.spatial=0,0.5"]
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| safari")]
    assert len(lines) == 2
    assert "spatial=0.5" in "".join(lines)


def test_a_failed_cell_neither_stops_a_sweep_nor_hides(capsys):
    """A step size that diverges: the command ends with 1, the other cell is there, and the table says failed."""
    words = [
        "-m",
        "name=mixed",
        "prior=gaussian",
        "dataset.n=1",
        "sampler=dps",
        "sampler.steps=3",
        "sampler.clip=false",
    ]
    assert main([*words, "sampler.zeta=1e38,0.5"]) == 1
    per_image = pd.read_csv("results/mixed/per_image.csv")
    assert set(per_image.status) == {"ok", "failed"}
    assert "failed" in Path("results/mixed/table1.md").read_text()


def test_a_sweep_whose_tables_cannot_be_written_has_failed(capsys):
    Path("results/full/table1.csv").mkdir(parents=True)
    words = ["-m", "name=full", "prior=gaussian", "dataset.n=1", "sampler.steps=2", "compute.device=cpu", "seed=0,1"]
    assert main(words) == 1
    assert "tables could not be written" in capsys.readouterr().err
    assert len(list(Path("results/full").rglob("rows.csv"))) == 4


def test_one_cell_prints_its_scores_and_leaves_the_figures_to_the_verb_table(capsys):
    words = ["name=one", "prior=gaussian", "dataset.n=2", "sampler.steps=2", "compute.device=cpu"]
    assert main(words) == 0
    said = capsys.readouterr().out
    table = pd.read_csv("results/one/table1.csv")
    psnr = table[(table.sampler == "safari") & (table.metric == "psnr")].iloc[0]
    line = next(line for line in said.splitlines() if line.startswith("PSNR "))
    degraded = table[(table.sampler == "degraded") & (table.metric == "psnr")]["mean"].iloc[0]
    numbers = ["2", f"{psnr['mean']:.4g}", f"{psnr.ci_low:.4g}", "to", f"{psnr.ci_high:.4g}", f"{degraded:.4g}"]
    assert line.split()[2:] == numbers and "results/one/photos/sr_x4/safari/" in said
    assert len(pd.read_csv("results/one/per_image.csv")) == 4
    assert not Path("results/one/grid.png").exists()
    assert main(["table", "one"]) == 0
    assert Path("results/one/grid.png").exists()


def test_unsupported_is_not_a_failure(capsys):
    assert main(["task=cs_walsh", "sampler=safari", "dataset.n=1", "sampler.steps=2", "name=u"]) == 0
    assert "unsupported" in capsys.readouterr().err


def test_tables_are_rebuilt_from_rows_alone(capsys):
    assert main(["-m", "prior=gaussian", "dataset.n=1", "sampler.steps=2", "name=again", "compute.device=cpu"]) == 0
    before = {
        p: Path("results/again", p).read_bytes() for p in ("per_image.csv", "table1.csv", "table1.md", "grid.png")
    }
    for path in before:
        Path("results/again", path).unlink()
    assert main(["table", "results/again"]) == 0
    assert main(["table", "again"]) == 0
    assert {p: Path("results/again", p).read_bytes() for p in before} == before


def test_own_pictures_run(capsys):
    import numpy as np
    from PIL import Image

    Path("pictures").mkdir()
    for name in ("one", "two"):
        pixels = np.random.default_rng(len(name)).integers(0, 255, (90, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"pictures/{name}.jpg")
    words = ["dataset=folder", "dataset.root=pictures", "dataset.size=64", "task=deblur_gaussian", "sampler.steps=2"]
    assert main([*words, "prior=gaussian", "name=own"]) == 0
    per_image = pd.read_csv("results/own/per_image.csv")
    assert sorted(per_image.image_id.unique()) == ["one", "two"]
    assert per_image.image_sha256.str.len().eq(64).all()
