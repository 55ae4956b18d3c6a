"""What loggers wrote is read back from their files and compared with the rows."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from safari_bench.cli import main
from safari_bench.loggers import WeightsAndBiases, running
from safari_bench.loggers.wandb_runs import run_name

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


def test_what_is_said_of_rows_leaves_out_what_is_not_finite() -> None:
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
    expected = {"images": 3, "ok": 2, "failed": 1, "unsupported": 0, "psnr": 20.0, "gmsd": 0.375}
    assert running(frame) == expected


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
            assert run.history[0]["psnr"] == pytest.approx(frame.psnr[0], rel=1e-12)
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
        saved |= {path.read_bytes() for path in Path("results/logged/photos/reference").glob("*.png")}
        shown = [entry for name, entry in run.files.items() if name.startswith("media/images/")]
        assert len(shown) == 6 and {entry.read_bytes() for entry in shown} <= saved  # 3 restored, 3 references

    def test_a_cell_that_failed_and_is_run_again_resumes_its_run(self) -> None:
        failing = [*SMALL, "name=again", "logger=wandb", "sampler.clip=false", "sampler.zeta=1e38"]
        assert main(failing) == 1
        assert main(failing) == 1
        runs = [run for run, _ in self.runs("again")["dps"]]
        assert len(runs) == 2 and len({run.id for run in runs}) == 1
        assert [run.exit_code for run in runs] == [1, 1] and runs[0].summary["failed"] == 3

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


@pytest.mark.parametrize(("mode", "expected"), [("auto", "offline"), ("offline", "offline")])
def test_without_a_key_nothing_goes_online(mode: str, expected: str) -> None:
    pytest.importorskip("wandb")
    assert WeightsAndBiases("results/x", mode=mode).mode == expected


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
    assert len(list(Path("results/both/wandb").glob("offline-run-*"))) == 2
    wandb.teardown()
