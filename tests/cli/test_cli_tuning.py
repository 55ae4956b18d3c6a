"""A sweeper that learns: what it makes small, and the way from its trials to conf/tuned."""

import math
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from safari_bench.cli import main
from safari_bench.cli.schema import ConfigError
from safari_bench.cli.tuning import objective, write_tuned


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("SAFARI_BENCH_SWEEP", raising=False)


@pytest.mark.slow
def test_trials_are_resumable_cells_and_the_best_becomes_a_tuned_file(tmp_path, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    words = ["-m", "experiments=tune_optuna", "name=t", "task=denoising", "sampler=dps", "dataset.n=1"]
    words += ["sampler.steps=3", "hydra.sweeper.n_trials=4", "compute.device=cpu"]
    assert main(words) == 0
    assert "sweep: 4 jobs, 5 cells: 5 done" in capsys.readouterr().out
    (path,) = write_tuned(Path("results/t"), "haarpsi", tmp_path / "conf")
    trials = pd.read_csv(path.with_suffix(".csv"))
    assert list(trials.columns) == ["zeta", "haarpsi"] and len(trials) == 4
    assert trials.haarpsi.is_monotonic_decreasing and trials.zeta.between(0.1, 20).all()
    cells = pd.concat([pd.read_csv(p) for p in Path("results/t").glob("photos/denoising/dps/*/rows.csv")])
    assert trials.haarpsi[0] == pytest.approx(cells.haarpsi.max())
    assert OmegaConf.load(path).sampler.zeta == pytest.approx(trials.zeta[0])
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
    assert objective("haarpsi", path) == pytest.approx(-rows.haarpsi.mean())
    assert objective("gmsd", path) == pytest.approx(rows.gmsd.mean())
    assert objective("data_consistency", path) == pytest.approx(abs(rows.data_consistency.mean() - 1))
    with pytest.raises(ConfigError, match=r"expected one of .*psnr"):
        objective("lpips", path)
    text = (path / "rows.csv").read_text().replace('"ok"', '"failed"', 1)
    (path / "rows.csv").write_text(text)
    assert objective("haarpsi", path) == math.inf
