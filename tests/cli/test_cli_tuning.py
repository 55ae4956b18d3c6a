"""A sweeper that learns: what it makes small, and the way from its trials to conf/tuned."""

import math
import re
import shutil
import subprocess
from pathlib import Path

import hydra
import pandas as pd
import pytest
from omegaconf import OmegaConf

from safari_bench.cli import main
from safari_bench.cli.compose import jobs
from safari_bench.cli.schema import ConfigError, register, root
from safari_bench.cli.tuning import objective, write_tuned

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
    words += ["search=dps", "metrics=default", "sampler.steps=3", "hydra.sweeper.n_trials=4", "compute.device=cpu"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "sweep: 4 jobs, 5 cells: 5 done" in said and "[1/4] objective haarpsi, to be made small: -0." in said
    (path,) = write_tuned(Path("results/t"), "haarpsi", tmp_path / "conf")
    trials = pd.read_csv(path.with_suffix(".csv"))
    assert list(trials.columns) == ["zeta", "haarpsi"] and len(trials) == 4
    assert trials.haarpsi.is_monotonic_decreasing and trials.zeta.between(0.1, 50).all()
    cells = pd.concat([pd.read_csv(p) for p in Path("results/t").glob("photos/denoising/dps/*/rows.csv")])
    assert trials.haarpsi[0] == pytest.approx(cells.haarpsi.max())
    assert OmegaConf.load(path).sampler == {"zeta": pytest.approx(trials.zeta[0]), "steps": 3}
    assert "edge" not in path.read_text()
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
    assert objective("auto", path) == objective("haarpsi", path)
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
    words = ["experiments=tune_optuna", f"sampler={name}", f"search={name}", "dataset.n=1", "prior=gaussian"]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
        params = hydra.compose("config", overrides=words, return_hydra_config=True).hydra.sweeper.params
        for end in (-1, -2):  # both ends of every interval, the last two of every choice
            values = {key: re.findall(r"[^(), ]+", str(text))[end] for key, text in params.items()}
            drawn = [f"{key}={value}" for key, value in values.items()]
            cells = jobs(hydra.compose("config", overrides=[*words, *drawn]), lambda: False)
            assert cells[-1].sampler_name == name
            config = OmegaConf.create(cells[-1].run["config"])
            assert {key: str(OmegaConf.select(config, key)).removesuffix(".0") for key in values} == {
                key: value if value.isalpha() else f"{float(value):.16g}" for key, value in values.items()
            }


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_make_hands_on_the_metric_and_the_folder():
    words = ["make", "-n", "-C", str(root()), "tune", "TASK=sr_x4", "SAMPLER=ddrm"]
    plain = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert " task=sr_x4 sampler=ddrm search=ddrm" in plain
    assert re.search(r"safari-bench tune tune_sr_x4_ddrm *$", plain, re.MULTILINE)
    words += ["ARGS=objective=psnr dataset.n=2", "INTO=mine"]
    assert "tune tune_sr_x4_ddrm psnr --into mine" in subprocess.run(words, capture_output=True, text=True).stdout
