"""A sweep's failure policy: nothing stops the rest, one summary, exit codes, launchers, two processes at once."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from safari_bench.cli import main, overrides, sweeps
from safari_bench.cli.endings import Ending, ending
from safari_bench.runner import Outcome

SMALL = ["prior=gaussian", "dataset.n=2", "sampler.steps=2", "compute.device=cpu"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("SAFARI_BENCH_SWEEP", raising=False)


def summary(text: str) -> dict[str, int]:
    (line,) = re.findall(r"^sweep: .*$", text, re.MULTILINE)
    return {state: int(n) for n, state in re.findall(r"(\d+) ([a-z][a-z ]*)", line)}


def test_done_unsupported_and_failed_are_told_apart_and_only_what_is_missing_is_done_again(capsys):
    words = ["-m", "name=mixed", *SMALL, "sampler=safari", "sampler.clip=false", "task=sr_x4,cs_walsh"]
    assert main([*words, "sampler.zeta=0.5,1e38"]) == 1
    said = capsys.readouterr().out
    found = summary(said)
    assert (found["jobs"], found["failed"], found["unsupported"]) == (4, 1, 2)
    assert found["cells"] == found["done"] + 3  # the degraded input of both tasks, and the one that worked
    assert re.search(r"^  failed: .*photos sr_x4 safari [0-9a-f]{12}: 2 of 2 images: image .*$", said, re.MULTILINE)
    (log,) = re.findall(r"^    log: (.*)$", said, re.MULTILINE)
    assert Path(log).read_text().count("not finite") == 2  # both images
    assert "Traceback" not in said
    assert not Path("results/mixed/.sweeps").exists()
    assert main([*words, "sampler.zeta=0.5,1e38"]) == 1
    again = summary(capsys.readouterr().out)
    assert (again["done"], again["failed"]) == (0, 1) and again["skipped as done"] == found["done"]
    assert main([*words, "sampler.zeta=0.5"]) == 0


def test_an_error_no_row_can_hold_stops_its_job_only(capsys, monkeypatch):
    from safari_bench.cli import main as command

    module = sys.modules["safari_bench.cli.running"]
    run_cell = module.run_cell

    def run(job):
        if job.sampler_name == "dps":
            raise OSError("the disk\nis on fire")
        return run_cell(job)

    monkeypatch.setattr(module, "run_cell", run)
    assert command(["-m", "name=fire", *SMALL, "sampler=dps,unconditional"]) == 1
    said = capsys.readouterr()
    found = summary(said.out)
    assert (found["done"], found["failed"]) == (2, 1)
    assert re.search(r"failed: .*dps.*: OSError: the disk\n +is on fire\n +log: results/fire/failures/", said.out)
    (log,) = Path("results/fire/failures").iterdir()
    assert "Traceback" in log.read_text() and "is on fire" in log.read_text()
    monkeypatch.undo()
    assert command(["-m", "name=fire", *SMALL, "sampler=dps,unconditional", f"output={Path.cwd() / 'results'}"]) == 0
    assert not log.parent.exists()  # the cell is well now


def test_a_value_that_is_refused_fails_its_job_only(capsys):
    assert main(["-m", "name=refused", *SMALL, "guidance.spatial=-1,1"]) == 1
    said = capsys.readouterr().out
    assert summary(said)["done"] == 2
    assert re.search(r"failed: job 1: ConfigError: .*guidance.spatial: got -1", said)


def test_a_value_waits_for_the_group_that_is_swept(capsys):
    # neither safari, the default sampler, nor degraded, the row beside them, has an eta
    assert main(["-m", "name=etas", *SMALL, "sampler=ddrm,ddnm", "sampler.eta=0.5"]) == 0
    assert summary(capsys.readouterr().out)["done"] == 3
    runs = [json.loads(path.read_text())["spec"]["sampler"] for path in Path("results/etas").rglob("run.json")]
    assert {run["name"]: run.get("eta") for run in runs} == {"degraded": None, "ddrm": 0.5, "ddnm": 0.5}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampler=ddrm,dps", "sampler.eta=0.5,1"], ["no such key: sampler.eta", "(sampler=dps)", "zeta"]),
        (["sampler=ddrm,dps", "sampler.eta=0.5"], ["no such key: sampler.eta", "(sampler=dps)"]),
        (["sampler=ddrm,ddnm", "sampler.etta=1"], ["did you mean sampler.eta?", "(sampler=ddrm)"]),
        (["sampler=ddrm,ddmm"], ["ddmm", "ddnm"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_sweep_with_a_key_that_one_of_its_jobs_lacks_begins_nothing(capsys, words, said):
    assert main(["-m", "name=keys", *SMALL, *words]) == 2
    printed = capsys.readouterr()
    assert all(word in printed.err for word in said)
    assert "sweep:" not in printed.out
    assert not list(Path("results").rglob("*.csv")) and not Path("results/keys/.sweeps").exists()


@pytest.mark.parametrize(
    ("words", "bound"),
    [
        (["-m", "sampler=a,b", "sampler.x=1"], ["-m", "sampler=a,b", "sampler.x=choice(1)"]),
        (["-m", "sampler=a,b", "+sampler.x=[1,2]"], ["-m", "sampler=a,b", "+sampler.x=choice([1,2])"]),
        (["-m", "sampler=a,b", "sampler.x=1,2", "seed=3"], ["-m", "sampler=a,b", "sampler.x=1,2", "seed=3"]),
        (["-m", "sampler=a", "sampler.x=1", "seed=1,2"], ["-m", "sampler=a", "sampler.x=1", "seed=1,2"]),
        (["-m", "sampler=a,b", "sampler.x=((", "~sampler.y"], ["-m", "sampler=a,b", "sampler.x=((", "~sampler.y"]),
    ],
    ids=str,
)
def test_which_values_wait(words, bound):
    assert overrides.bind(words) == bound


def test_the_jobs_of_a_sweep_are_in_its_order():
    words = ["-m", "sampler=a,b", "seed=range(1,3)", "name=x"]
    expected = [["sampler=a", "seed=1"], ["sampler=a", "seed=2"], ["sampler=b", "seed=1"], ["sampler=b", "seed=2"]]
    assert list(overrides.jobs(words)) == [[*job, "name=x"] for job in expected]


def report(folder: Path, number: int, *found: Ending, ended: bool = True) -> None:
    rows = [vars(ending) for ending in found]
    (folder / f"{number}.json").write_text(json.dumps({"ended": ended, "endings": rows}))


def test_jobs_that_died_without_reporting_are_noticed(tmp_path, capsys):
    sweeps.begin(tmp_path, 3)
    folder = sweeps.current().folder
    report(folder, 0, Ending("a", "cell a", "done"))
    report(folder, 1, Ending("b", "cell b", "done"), ended=False)
    assert sweeps.finish() == 1
    said = capsys.readouterr().out
    assert "died without reporting" in said and "jobs 2-3" in said
    assert sweeps.current() is None and sweeps.finish() == 0


def test_a_shared_cell_counts_once_and_by_what_matters_most(tmp_path, capsys):
    sweeps.begin(tmp_path, 2)
    folder = sweeps.current().folder
    report(folder, 0, Ending("base", "base", "skipped as done"), Ending("x", "x", "left to others", "pid"))
    report(folder, 1, Ending("base", "base", "done"))
    assert sweeps.finish() == 0
    found = summary(capsys.readouterr().out)
    assert (found["cells"], found["done"], found["skipped as done"], found["left to others"]) == (2, 1, 0, 1)


def test_a_reason_that_many_share_is_said_once(tmp_path, capsys):
    sweeps.begin(tmp_path, 140)
    folder = sweeps.current().folder
    for job in range(140):
        lacks = "no file b.pt" if job == 69 else "no file a.pt"
        endings = [Ending(f"job {job + 1}", f"job {job + 1}", "failed", lacks)]
        if job in (5, 7):
            endings.append(Ending(f"x{job}", f"cell x{job}", "unsupported", "needs an SVD"))
        report(folder, job, *endings)
    assert sweeps.finish() == 1
    said = capsys.readouterr().out
    assert summary(said)["failed"] == 140
    assert said.splitlines()[1:] == [
        "  failed: 139 cells (jobs 1-69, 71-140): no file a.pt",
        "  failed: job 70: no file b.pt",
        "  unsupported: 2 cells (jobs 6, 8): needs an SVD",
        "the same command again does only what is missing",
    ]


def test_a_missing_checkpoint_is_said_once_and_to_the_end(capsys):
    words = ["-m", "name=lacks", "prior=ffhq256", "sampler=degraded", "dataset.n=1", "task=sr_x4,denoising"]
    assert main([*words, "compute.device=cpu"]) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if "ffhq_10m.pt" in line]
    assert len(said) == 1 and said[0].startswith("  failed: 2 cells (jobs 1-2): PriorError: ")
    assert said[0].endswith("or give the path of your copy with prior.checkpoint=...")


def test_cells_of_one_job_that_share_a_reason(tmp_path, capsys):
    sweeps.begin(tmp_path, 1)
    report(sweeps.current().folder, 0, *(Ending(c, c, "failed", "disk full") for c in "ab"))
    assert sweeps.finish() == 1
    assert "\n  failed: 2 cells (job 1): disk full\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "attempted", "state"),
    [({"ok": 2}, 2, "done"), ({"ok": 2}, 0, "skipped as done"), ({"unsupported": 2}, 2, "unsupported"),
     ({"ok": 1, "failed": 1}, 1, "failed"), ({"ok": 1, "unsupported": 1}, 2, "done")],
)  # fmt: skip
def test_the_state_of_a_cell(counts, attempted, state):
    reasons = ["why\nand more"] if set(counts) != {"ok"} else []
    found = ending(Outcome(2, attempted, attempted, counts, reasons, False, Path("cell")), "cell")
    assert found.state == state and found.reason.endswith("and more") == (state in ("failed", "unsupported"))


def start(*words: str) -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if key != "SAFARI_BENCH_SWEEP"}
    command = [sys.executable, "-m", "safari_bench", "-m", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_other_launchers_report_fail_and_resume_alike(launcher):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    words = [f"name={launcher}", *SMALL, "sampler=dps", "sampler.clip=false", "sampler.zeta=0.5,1e38"]
    words += [f"hydra/launcher={launcher}"]
    words += ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else ["hydra.launcher.cpus_per_task=1"]
    for done, skipped in ((2, 0), (0, 2)):
        process = start(*words)
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 1, errors[-2000:]
        found = summary(said)
        assert (found["jobs"], found["failed"], found["done"], found["skipped as done"]) == (2, 1, done, skipped)
        assert Path("results", launcher, "table1.md").exists()


@pytest.mark.slow
def test_two_processes_on_the_same_sweep_share_the_work_and_write_no_row_twice():
    words = ["name=shared", "prior=gaussian", "dataset.n=3", "sampler=dps", "sampler.steps=60", "compute.batch_size=1"]
    words += ["compute.device=cpu", "sampler.zeta=0.5,1,2"]
    both = [start(*words), start(*words)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    found = [summary(text) for text in said]
    assert sum(f["done"] for f in found) == 4  # three settings and the degraded input, each computed once
    rows = pd.concat([pd.read_csv(path) for path in Path("results/shared").rglob("rows.csv")])
    assert len(rows) == 12 and not rows.duplicated(["run_id", "image_id"]).any()
