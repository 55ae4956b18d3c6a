"""Settings chosen from a sweep over tuning images."""

import math

import pytest
from omegaconf import OmegaConf

from safari_bench.cli import main
from safari_bench.cli.tuning import write_tuned
from safari_bench.tables import TableError, choose

SAME = {"steps": 100, "clip": True}
HERE = {"config": {"prior": {"name": "photos64"}}}


def tuning(dataset: str = "photos") -> dict:
    return {"dataset": {"name": dataset, "manifest_sha256": "m", "split": "tuning"}}


@pytest.fixture
def sweep(run):
    """dps: zeta 1, 2, 4 on two datasets; 2 is best on average, 4 on leaves alone. tv: one configuration."""
    scores = {"photos": {1.0: 0.5, 2.0: 0.7, 4.0: 0.4}, "leaves": {1.0: 0.5, 2.0: 0.6, 4.0: 0.65}}
    for dataset, of in scores.items():
        for zeta, score in of.items():
            options = {**SAME, "zeta": zeta}
            run.cell("dps", {"haarpsi": score}, dataset=dataset, options=options, spec=tuning(dataset), run=HERE)
        run.cell("tv", {"haarpsi": 0.3}, dataset=dataset, options={"weight": 0.1}, spec=tuning(dataset), run=HERE)
    return run


def test_the_best_mean_over_datasets_is_chosen(sweep):
    chosen = {choice.sampler: choice for choice in choose(sweep.folder)}
    dps = chosen["dps"]
    assert (dps.prior, dps.task, dict(dps.settings)) == ("photos64", "sr_x4", {"zeta": 2.0})
    assert dps.score == pytest.approx(0.65)
    assert dps.runner_up == pytest.approx(0.525)
    assert dps.candidates == 3 and dict(dps.datasets) == {"leaves": 4, "photos": 4} and dps.at_edge == ()
    assert chosen["tv"].candidates == 1 and math.isnan(chosen["tv"].runner_up)


def test_a_best_value_at_the_edge_of_the_grid_is_named(run):
    for zeta, score in ((1.0, 0.1), (2.0, 0.2), (4.0, 0.3)):
        run.cell("dps", {"gmsd": score}, options={"zeta": zeta}, spec=tuning(), run=HERE)
    (choice,) = choose(run.folder, "gmsd")  # lower is better
    assert choice.settings == {"zeta": 1.0} and choice.at_edge == ("zeta",)


def test_a_configuration_with_a_failure_or_a_dataset_missing_is_out(sweep):
    sweep.cell(
        "dps",
        {"haarpsi": 0.99},
        options={**SAME, "zeta": 8.0},
        spec=tuning(),
        run=HERE,
        statuses={"b": ("failed", "diverged")},
    )
    sweep.cell("dps", {"haarpsi": 0.98}, options={**SAME, "zeta": 16.0}, spec=tuning(), run=HERE)  # photos alone
    assert next(c for c in choose(sweep.folder) if c.sampler == "dps").settings == {"zeta": 2.0}


def test_settings_may_have_been_tried_in_two_precisions(run):
    for zeta, precision, score in ((1.0, "fp32", 0.5), (2.0, "fp32", 0.6), (2.0, "bf16", 0.7), (4.0, "bf16", 0.4)):
        spec = {**tuning(), "precision": precision}
        run.cell("dps", {"haarpsi": score}, options={"zeta": zeta}, spec=spec, run=HERE)
    (choice,) = choose(run.folder)
    assert choice.settings == {"zeta": 2.0} and choice.candidates == 3 and choice.score == pytest.approx(0.65)


def test_nothing_is_chosen_on_test_images(run):
    run.cell("dps", {"haarpsi": 0.5}, spec={"dataset": {"name": "photos", "split": "test"}}, run=HERE)
    with pytest.raises(TableError, match="split 'test'; settings are chosen on tuning images only"):
        choose(run.folder)


def test_files_are_written_where_hydra_finds_them(sweep, tmp_path):
    for spatial, score in ((0.0, 0.3), (1.0, 0.6)):
        options = {"fidelity": {"spatial": spatial, "low": 1.0}, "zeta": 3.0}
        for dataset in ("photos", "leaves"):
            sweep.cell("safari", {"haarpsi": score}, dataset=dataset, options=options, spec=tuning(dataset), run=HERE)
    written = write_tuned(sweep.folder, "haarpsi", tmp_path, also=("steps",))
    dps, safari = (tmp_path / "tuned" / "photos64" / "sr_x4" / f"{name}.yaml" for name in ("dps", "safari"))
    assert set(written) == {dps, safari}  # nothing was compared for tv
    assert OmegaConf.load(dps) == {"sampler": {"zeta": 2.0, "steps": 100}}
    assert OmegaConf.load(safari) == {"guidance": {"spatial": 1.0}}
    assert dps.read_text().startswith("# @package _global_\n")
    assert "0.6500; next 0.5250" in dps.read_text()
    apart = {path.name: path for path in write_tuned(sweep.folder, "haarpsi", tmp_path, into="photos64_long")}
    assert {path.parent for path in apart.values()} == {tmp_path / "tuned" / "photos64_long" / "sr_x4"}
    assert OmegaConf.load(apart["dps.yaml"]) == {"sampler": {"zeta": 2.0}}


@pytest.mark.parametrize("words", [["--into"], ["--into", ""], ["--into", "a/b"]])
def test_a_folder_that_cannot_be_is_refused(sweep, capsys, words):
    assert main(["tune", str(sweep.folder), *words]) == 2
    assert "--into takes the name of a folder of conf/tuned" in capsys.readouterr().err
