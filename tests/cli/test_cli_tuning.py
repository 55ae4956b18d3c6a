"""A sweeper that learns: what it makes small, and the way from its trials to conf/tuned."""

import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import hydra
import pandas as pd
import pytest
from omegaconf import OmegaConf

from safari_bench.cli import main, search, settings
from safari_bench.cli.compose import jobs
from safari_bench.cli.schema import ConfigError, register, root
from safari_bench.cli.tuning import chosen, objective

SEARCHES = sorted(path.stem for path in (root() / "conf" / "search").glob("*.yaml"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("SAFARI_BENCH_SWEEP", raising=False)


@pytest.mark.slow
def test_trials_are_resumable_cells_and_the_best_becomes_a_tuned_file(tmp_path, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    words = ["-m", "experiments=tune_optuna", "name=t", "task=denoising", "sampler=dps", "dataset.n=1"]
    words += [
        *search.draw("dps"),
        "metrics=default",
        "sampler.steps=3",
        "hydra.sweeper.n_trials=4",
        "compute.device=cpu",
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "sweep: 4 jobs, 5 cells: 5 done" in said and "[1/4] objective: haarpsi = 0." in said
    cells = pd.concat([pd.read_csv(p) for p in Path("results/t").glob("photos/denoising/dps/*/rows.csv")])
    entry = chosen(Path("results/t"), "haarpsi")["denoising"]["dps"]
    assert entry["chosen"]["candidates"] == 4 and entry["chosen"]["score"] == pytest.approx(
        cells.haarpsi.max(), abs=1e-4
    )
    assert entry["values"]["steps"] == 3 and 0.1 <= entry["values"]["zeta"] <= 50 and "at_edge" not in entry["chosen"]
    best = OmegaConf.load("results/t/optimization_results.yaml")
    assert best.best_value == pytest.approx(-cells.haarpsi.max())
    assert main(words) == 0  # the same seed draws the same trials
    assert "5 skipped as done" in capsys.readouterr().out


def test_the_objective_is_a_loss_whichever_way_a_metric_points():
    words = [
        "prior=gaussian",
        "name=o",
        "task=denoising",
        "sampler=unconditional",
        "sampler.steps=2",
        "dataset.n=2",
        "compute.device=cpu",
    ]
    assert main(words) == 0
    (path,) = Path("results/o").glob("photos/denoising/unconditional/*")
    rows = pd.read_csv(path / "rows.csv")
    assert objective("haarpsi", path) == ("haarpsi", pytest.approx(-rows.haarpsi.mean()))
    assert objective("auto", path) == objective("deep_distance", path) == ("deep_distance", rows.deep_distance.mean())
    assert objective("gmsd", path) == ("gmsd", pytest.approx(rows.gmsd.mean()))
    assert objective("data_consistency", path)[1] == pytest.approx(abs(rows.data_consistency.mean() - 1))
    with pytest.raises(ConfigError, match=r"expected one of .*psnr"):
        objective("lpips", path)
    text = (path / "rows.csv").read_text().replace('"ok"', '"failed"', 1)
    (path / "rows.csv").write_text(text)
    assert objective("haarpsi", path) == ("haarpsi", math.inf)


def test_lpips_is_the_objective_where_its_weights_are_found(published):
    words = ["prior=gaussian", "name=o", "task=denoising", "sampler=unconditional", "sampler.steps=2", "dataset.n=1"]
    assert main([*words, "compute.device=cpu", "metrics=perceptual", "metrics.sets=null"]) == 0
    (path,) = Path("results/o").glob("photos/denoising/unconditional/*")
    rows = pd.read_csv(path / "rows.csv")
    assert objective("auto", path) == objective("lpips_vgg", path) == ("lpips_vgg", pytest.approx(rows.lpips_vgg[0]))


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_draws_keys_that_its_method_takes(name):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    register()
    words = [f"sampler={name}", "dataset.n=1", "prior=gaussian"]
    params = dict(word.split("=", 1) for word in search.draw(name)[1:])
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
        for end in (-1, -2):  # both ends of every interval, the last two of every choice
            values = {key: re.findall(r"[^(), ]+", str(text))[end] for key, text in params.items() if "(" in text}
            drawn = [f"{key}={value}" for key, value in values.items()]
            cells = jobs(hydra.compose("config", overrides=[*words, *drawn]), lambda: False)
            assert cells[-1].sampler_name == name
            config = OmegaConf.create(cells[-1].run["config"])
            assert {key: str(OmegaConf.select(config, key)).removesuffix(".0") for key in values} == {
                key: value if value.isalpha() else f"{float(value):.16g}" for key, value in values.items()
            }


@pytest.mark.parametrize("file", search.files())
def test_every_grid_sets_keys_that_its_method_takes(file):
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
        for name, words in search.grids(file):
            first = [word.split(",")[0] for word in words]  # of every list
            cells = jobs(hydra.compose("config", overrides=[*first, "dataset.n=1", "prior=gaussian"]), lambda: False)
            assert cells[-1].sampler_name == name


def test_grids_are_those_of_the_sampler_and_the_task_asked_for():
    found = list(search.grids("photos64", "dps", "inpaint_box"))
    assert [words for _, words in found] == [
        ["sampler=dps", "sampler.steps=50", "sampler.guide_below=8", "sampler.zeta=3,6,12", "task=inpaint_box"],
        ["sampler=dps", "sampler.steps=50", "sampler.guide_below=8", "sampler.zeta=1.5", "task=inpaint_box"],
    ]
    assert len(list(search.grids("photos64", "dps", "sr_x4"))) == 3
    with pytest.raises(ConfigError, match="did you mean photos64"):
        list(search.grids("photos46"))


def test_a_grid_runs_resumes_and_says_what_differs_from_what_ships(capfd):
    words = ["tune", "--prior", "gaussian", "--sampler", "dps", "--task", "denoising", "dataset.n=1", "sampler.steps=2"]
    words += ["sampler.zeta=0.1,0.2", "compute.device=cpu"]
    assert main(words) == 0
    said = capfd.readouterr().out
    assert "2 jobs, 3 cells: 3 done" in said and "denoising dps: zeta=" in said
    path = Path("results/tuning_gaussian/tuned.yaml")
    entry = OmegaConf.load(path).denoising.dps
    assert entry["values"].zeta in (0.1, 0.2) and entry["values"].steps == 2 and entry.chosen.images == {"photos": 1}
    before = settings.files()["gaussian"].read_bytes()
    assert main(words) == 0
    assert "3 skipped as done" in capfd.readouterr().out
    assert settings.files()["gaussian"].read_bytes() == before  # what ships stays


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_make_hands_on_what_is_asked_for():
    def said(*words: str) -> str:
        command = ["make", "-n", "-C", str(root()), *words]
        # `make test ARGS=...` would hand its own ARGS on
        outside = {
            name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES")
        }
        return subprocess.run(command, capture_output=True, text=True, check=True, env=outside).stdout

    drawn = said("tune", "TASK=sr_x4", "SAMPLER=ddrm", "ARGS=objective=psnr", "INTO=mine")
    assert re.search(r"tune --draw --task sr_x4 --sampler ddrm --into mine objective=psnr", drawn)
    assert re.search(r"tune --prior photos64 +--sampler dps *$", said("tuned", "PRIOR=photos64", "SAMPLER=dps"), re.M)
