"""What loggers wrote is read back from their files and compared with the rows."""

import json
import time
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  its cache is written while HOME is still the user's
import numpy as np
import pandas as pd
import pytest

from safari_bench.cli import main
from safari_bench.loggers import TensorBoard, WeightsAndBiases, contract, running
from safari_bench.loggers.contract import Pace
from safari_bench.loggers.wandb_runs import run_name
from safari_bench.runner.batch import Batch

SMALL = [
    "prior=gaussian",
    "dataset.n=3",
    "sampler=dps",
    "sampler.steps=2",
    "compute.device=cpu",
    "compute.batch_size=1",
]
SCORES = ["psnr", "ssim", "haarpsi", "gmsd", "data_consistency", "nfe", "n_backward", "seconds"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty home and working folder, and no key."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    yield
    from safari_bench.cli import compose

    compose._loggers.cache_clear()


def rows(name: str, sampler: str = "dps") -> pd.DataFrame:
    (path,) = Path("results", name).glob(f"photos/*/{sampler}/*/rows.csv")
    return pd.read_csv(path, keep_default_na=False)


def test_what_is_said_of_rows_leaves_out_what_is_missing() -> None:
    frame = pd.DataFrame(
        {
            "image_id": list("abc"),
            "status": ["ok", "ok", "failed"],
            "psnr": [np.inf, 20.0, 99.0],
            "gmsd": [0.25, 0.5, np.nan],
            "lpips": [np.nan] * 3,
            "sigma": 0.05,
        }
    )
    expected = {"images": 3, "ok": 2, "failed": 1, "unsupported": 0, "psnr": np.inf, "gmsd": 0.375}
    assert running(frame) == expected


def test_a_pace_says_yes_at_once_and_then_now_and_then(monkeypatch) -> None:
    times = iter([100.0, 101.0, 104.9, 105.0, 105.1, 111.0])
    monkeypatch.setattr(contract.time, "monotonic", lambda: next(times))
    pace = Pace(5.0)
    assert [pace.due() for _ in range(6)] == [True, False, False, True, False, True]


def clock(step: dict) -> dict:
    return {key: value for key, value in step.items() if key in ("_runtime", "_timestamp")}


@pytest.mark.slow
class TestWeightsAndBiases:
    @pytest.fixture(autouse=True)
    def own_service(self):
        wandb = pytest.importorskip("wandb")
        yield
        wandb.teardown()  # the service keeps the folders it was started with

    def runs(self, name: str) -> dict[str, list]:
        """By sampler, oldest first."""
        from wandb_file import Run

        found: dict[str, list] = {}
        for path in sorted(Path("results", name, "wandb").glob("offline-run-*/*.wandb")):
            run = Run(path)
            found.setdefault(run.config["spec"]["sampler"]["name"], []).append((run, path.parent))
        return found

    def test_a_sweep_gives_one_finished_run_per_cell_that_says_what_the_csv_says(self, tmp_path) -> None:
        assert main(["-m", "name=logged", "logger=wandb", *SMALL, "task=sr_x4,denoising", "sampler.steps=2"]) == 0
        every = self.runs("logged")
        assert {sampler: len(found) for sampler, found in every.items()} == {"degraded": 2, "dps": 2}
        seen = set()
        for run, folder in every["dps"]:
            task = run.config["spec"]["task"]["name"]
            (path,) = Path("results/logged/photos", task, "dps").glob("*/run.json")
            cell = json.loads(path.read_text())
            frame = pd.read_csv(path.with_name("rows.csv"), keep_default_na=False)
            assert run.id == run_name(cell) and run.group == "logged" and run.exit_code == 0
            assert run.config["config"] == cell["config"] and run.config["spec"] == cell["spec"]
            for name in SCORES:
                assert run.summary[name] == pytest.approx(frame[name].mean(), rel=1e-12), name
            assert [step["images"] for step in run.history if "images" in step] == [1, 2, 3]
            first = next(step for step in run.history if "psnr" in step)
            assert first["psnr"] == pytest.approx(frame.psnr[0], rel=1e-12)
            assert run.history[0] == {"progress": pytest.approx(1 / 6), "_step": 500} | clock(run.history[0])
            self.check_table(run, folder, frame)
            seen.add(task)
        assert seen == {"sr_x4", "denoising"}
        assert not list((tmp_path / "home").rglob("*"))
        assert {path.name for path in Path().iterdir()} <= {"results", "multirun.yaml"}

    def check_table(self, run, folder: Path, frame: pd.DataFrame) -> None:
        (table,) = (value for step in run.history for key, value in step.items() if key == "rows/path")
        held = json.loads((folder / "files" / table).read_text())
        assert held["columns"][:5] == ["image_id", "status", "reason", "restored", "reference"]
        got = pd.DataFrame(held["data"], columns=held["columns"])
        assert list(got.image_id) == list(frame.image_id)
        for name in SCORES:
            assert list(got[name].astype(float)) == pytest.approx(list(frame[name]), rel=1e-12)
        saved = {
            path.read_bytes() for path in Path("results/logged").rglob("images/*.png") if "wandb" not in path.parts
        }
        saved |= {path.read_bytes() for path in Path("results/logged/photos/reference").rglob("*.png")}
        shown = [entry for name, entry in run.files.items() if name.startswith("media/images/")]
        assert len(shown) == 6 and {entry.read_bytes() for entry in shown} <= saved  # 3 restored, 3 references

    def test_a_cell_that_failed_and_is_run_again_resumes_its_run(self) -> None:
        failing = [*SMALL, "name=again", "logger=wandb", "sampler.clip=false", "sampler.zeta=1e38"]
        assert main(failing) == 1
        assert main(failing) == 1
        runs = [run for run, _ in self.runs("again")["dps"]]
        assert len(runs) == 2 and len({run.id for run in runs}) == 1
        assert [run.exit_code for run in runs] == [1, 1] and runs[0].summary["failed"] == 3

    def test_progress_is_told_as_a_batch_runs_and_never_goes_back(self) -> None:
        words = [word for word in SMALL if "batch_size" not in word]  # one batch
        assert main([*words, "name=steps", "logger=wandb", "+logger.wandb.every=0", "sampler.steps=4"]) == 0
        ((run, _),) = self.runs("steps")["dps"]
        told = [(step["_step"], step["progress"]) for step in run.history if "progress" in step]
        assert told == [(750, 0.25), (1500, 0.5), (2250, 0.75), (3000, 1.0)]
        assert run.summary["progress"] == 1

    def test_an_offline_cell_that_is_resumed_begins_a_second_folder_which_is_complete(self, monkeypatch) -> None:
        words, compute = [*SMALL, "name=resumed", "logger=wandb"], Batch.rows

        def interrupted(batch: Batch) -> list[dict]:
            if batch.job.sampler_name == "dps" and len(batch.cell.missing()) == 1:
                raise KeyboardInterrupt
            return compute(batch)

        with monkeypatch.context() as patch:
            patch.setattr(Batch, "rows", interrupted)
            assert main(words) == 130
        assert main(words) == 0
        (first, _), (second, folder) = self.runs("resumed")["dps"]
        frame = rows("resumed")
        assert first.id == second.id and len(frame) == second.summary["images"] == 3
        for name in ("psnr", "haarpsi", "nfe"):
            assert second.summary[name] == pytest.approx(frame[name].mean(), rel=1e-12), name
        assert [step["images"] for step in second.history if "images" in step] == [2, 3]
        (table,) = (value for step in second.history for key, value in step.items() if key == "rows/path")
        assert len(json.loads((folder / "files" / table).read_text())["data"]) == 3

    def test_disabled_writes_nothing(self, monkeypatch) -> None:
        monkeypatch.setenv("WANDB_MODE", "disabled")
        assert main([*SMALL, "name=off", "logger=wandb", "dataset.n=1"]) == 0
        assert not self.runs("off") and len(rows("off")) == 1
        assert not list(Path("results/off/wandb").rglob("*.*"))

    def test_a_finished_cell_is_told_once_even_if_it_was_computed_without(self) -> None:
        words = [*SMALL, "name=late", "dataset.n=1"]
        for logger in ("csv", "wandb", "wandb"):
            assert main([*words, f"logger={logger}"]) == 0
        (run, _), *others = self.runs("late")["dps"]
        assert run.summary["psnr"] == pytest.approx(rows("late").psnr[0]) and not others

    def test_online_without_a_key_or_a_network_is_refused_before_anything_is_sampled(self, capsys, monkeypatch) -> None:
        words = [*SMALL, "name=online", "logger=wandb", "logger.wandb.mode=online"]
        assert main(words) == 2
        assert "WANDB_API_KEY" in capsys.readouterr().err
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # the discard port: nobody answers
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        import wandb

        wandb.teardown()
        start = time.monotonic()
        assert main(words) == 2
        assert time.monotonic() - start < 15
        assert "logger.wandb.mode=offline" in capsys.readouterr().err
        assert not list(Path("results").rglob("rows*"))
        # auto computes and logs offline: a node without network costs no number
        assert main([*SMALL, "name=auto", "logger=wandb", "dataset.n=1"]) == 0
        assert "logging offline" in capsys.readouterr().err
        assert len(rows("auto")) == 1 and self.runs("auto")


@pytest.mark.parametrize(("mode", "expected"), [("auto", "offline"), ("offline", "offline")])
def test_without_a_key_nothing_goes_online(mode: str, expected: str) -> None:
    pytest.importorskip("wandb")
    assert WeightsAndBiases("results/x", mode=mode).mode == expected


@pytest.mark.parametrize(("said", "mode"), [("disabled", "disabled"), ("dryrun", "offline"), ("offline", "offline")])
def test_the_environment_decides_where_the_mode_is_auto(monkeypatch, said: str, mode: str) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", said)
    assert WeightsAndBiases("results/x").mode == mode
    assert WeightsAndBiases("results/x", mode="offline").mode == "offline"


def test_progress_without_a_cell_is_told_to_nobody() -> None:
    pytest.importorskip("wandb")
    pytest.importorskip("tensorboard")
    for logger in (WeightsAndBiases("results/x", mode="offline"), TensorBoard()):
        logger.progress(0.5, 3)


def test_a_misspelt_mode_and_key_are_refused(capsys) -> None:
    pytest.importorskip("wandb")
    assert main([*SMALL, "logger=wandb", "logger.wandb.mode=onlin"]) == 2
    assert "expected one of auto, offline, online" in capsys.readouterr().err
    assert main([*SMALL, "logger=wandb", "logger.wandb.projekt=x"]) == 2
    assert "project" in capsys.readouterr().err


def test_a_logger_that_is_not_installed_says_what_to_install(capsys, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert main([*SMALL, "name=absent", "logger=tensorboard"]) == 2
    assert "pip install 'safari-bench[tensorboard]'" in capsys.readouterr().err
    assert not Path("results").exists()


@pytest.mark.slow
def test_tensorboard_beside_wandb_says_what_the_csv_says() -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    wandb = pytest.importorskip("wandb")
    words = [*SMALL, "name=both", "logger=[csv,tensorboard,wandb]"]
    assert main(words) == 0
    assert main(words) == 0  # nothing to do, nothing said twice
    frame = rows("both")
    (folder,) = Path("results/both/tensorboard").glob("photos-sr_x4-dps-*")
    read = events.EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    read.Reload()
    for name in SCORES:
        said = read.Scalars(name)
        assert [event.step for event in said] == [1, 2, 3]
        assert said[-1].value == pytest.approx(frame[name].mean(), rel=1e-6)
    assert len([tag for tag in read.Tags()["images"]]) == 3
    assert next((event.step, event.value) for event in read.Scalars("progress")) == (500, pytest.approx(1 / 6))
    assert len(list(Path("results/both/wandb").glob("offline-run-*"))) == 2
    wandb.teardown()
