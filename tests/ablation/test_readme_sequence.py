"""The sequence that README shows: a sweep over psi's weights with the default metrics, then its ablation."""

import shlex

import pandas as pd

from safari_bench.cli import main

SWEEP = "-m guidance.spatial=0,0.5,1 guidance.high=0,1 name=my_sweep"
SMALL = ["dataset.n=2", "sampler.steps=2", "prior=gaussian"]


def test_a_sweep_and_its_ablation(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(SWEEP), *SMALL]) == 0
    capsys.readouterr()
    for verb in ("study", "ablate"):
        assert main([verb, "results/my_sweep"]) == 0
        said = capsys.readouterr()
        assert "high phase" in said.err and "metrics=signatures" in said.err
        assert ("now called ablate" in said.err) == (verb == "study")
    assert (tmp_path / "results" / "my_sweep" / "ablation.md").stat().st_size > 0
    found = pd.read_csv(tmp_path / "results" / "my_sweep" / "verdicts.csv")
    assert {"spatial", "high", "spatial x high"} <= set(found.comparison)
