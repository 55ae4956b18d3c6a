"""Every sweep ends in data: per_image.csv, table1.csv and, for numbers, a plot against what was varied."""

from pathlib import Path

import pandas as pd
import pytest

from safari_bench.cli import main
from safari_bench.reports import pack, render_text

TINY = ["compute.device=cpu", "compute.threads=1", "hydra/launcher=basic"]
DPS = ["sampler=dps", "sampler.steps=2", "prior=gaussian"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAFARI_BENCH_SWEEP", raising=False)


@pytest.mark.parametrize(
    ("words", "column", "values", "plot"),
    [
        (["task.sigma=0.05,0.2", "sampler=tv,wiener"], "sigma", [0.05, 0.2], "axis_task.sigma.png"),
        (
            ["task.operator.factor=4,8", "sampler=tv"],
            "task.operator.factor",
            [4, 8],
            "axis_task.operator.factor.png",
        ),
        pytest.param(
            ["task=deblur_gaussian", "task.operator.std=1,2", "sampler=tv"],
            "task.operator.std",
            [1, 2],
            "axis_task.operator.std.png",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["task.noise=gaussian,poisson", "sampler=tv"],
            "task.noise",
            ["gaussian", "poisson"],
            None,
            marks=pytest.mark.slow,
        ),
        (["prior=gaussian,mixture", *DPS[:2]], "prior", ["gaussian", "mixture"], None),
        pytest.param(["precision=fp32,fp64", *DPS], "precision", ["fp32", "fp64"], None, marks=pytest.mark.slow),
        pytest.param(
            ["dataset.n=1,2", "sampler=tv"], "dataset.n", [1, 2], "axis_dataset.n.png", marks=pytest.mark.slow
        ),
        pytest.param(
            ["dataset=leaves", "dataset.size=32,64", "sampler=tv"],
            "dataset.size",
            [32, 64],
            "axis_dataset.size.png",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_sweep_ends_in_data(words, column, values, plot):
    size = [] if words[0].startswith("dataset.n") else ["dataset.n=1"]
    assert main(["-m", "name=swept", *words, *size, *TINY]) == 0
    folder = Path("results/swept")
    rows, table = (pd.read_csv(folder / name, keep_default_na=False) for name in ("per_image.csv", "table1.csv"))
    assert set(values) <= set(rows[column]) and sorted(set(table[column])) == values
    text = (folder / "table1.md").read_text()
    task = table.task[0]
    assert all(f"### {task}, {column.split('.')[-1]} {value}, " in text for value in values)
    assert plot is None or (folder / plot).is_file()


def test_a_lone_value_is_named_and_a_second_run_joins_it():
    words, page = ["name=lone", "sampler=tv", "dataset.n=1", *TINY], Path("results/lone/table1.md")
    assert main([*words, "task.operator.factor=8"]) == 0
    assert "### sr_x4, factor 8, " in page.read_text()
    assert main(words) == 0
    assert all(f"### sr_x4, factor {factor}, " in page.read_text() for factor in (4, 8))


def test_tables_that_cannot_be_written_are_a_failure(capsys):
    Path("results/blocked/table1.csv").mkdir(parents=True)
    assert main(["-m", "name=blocked", "sampler=tv", "dataset.n=1", "seed=0,1", *TINY]) == 1
    assert "table1.csv" in capsys.readouterr().err


@pytest.mark.slow
def test_a_packed_run_has_the_same_table():
    assert main(["-m", "name=run", "sampler=tv,biharmonic", "task.sigma=0.05,0.2", "dataset.n=2", *TINY]) == 0
    before = {path.name: path.read_bytes() for path in Path("results/run").glob("*.csv")}
    text = render_text(Path("results/run"))
    for path in pack(Path("results/run")):
        to = Path("elsewhere/results/run") / path.name
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
    assert render_text(Path("elsewhere/results/run")) == text
    assert main(["table", "elsewhere/results/run"]) == 0
    assert {path.name: path.read_bytes() for path in Path("elsewhere/results/run").glob("*.csv")} == before
