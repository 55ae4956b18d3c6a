"""Settings chosen from a sweep over tuning images."""

import math
import shutil

import hydra
import pandas as pd
import pytest
from omegaconf import OmegaConf

from safari_bench.cli import main
from safari_bench.cli.schema import ConfigError, register, root
from safari_bench.cli.tuning import found_with, write_tuned
from safari_bench.reports import TableError, choose

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


def test_what_was_drawn_from_an_interval_has_no_edge(run):
    for zeta, score in ((1.0160177584759034, 0.1), (2.7128376483748374, 0.2), (7.3891273891237812, 0.3)):
        run.cell("dps", {"haarpsi": score}, options={"zeta": zeta}, spec=tuning(), run=HERE)
    (choice,) = choose(run.folder)
    assert choice.settings == {"zeta": 7.3891273891237812} and choice.at_edge == ()


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
    assert OmegaConf.load(safari) == {"guidance": {"spatial": 1.0}, "sampler": {"zeta": 3.0}}  # conf/sampler has 1
    assert dps.read_text().startswith("# @package _global_\n")
    assert "0.6500; next 0.5250" in dps.read_text()
    apart = {path.name: path for path in write_tuned(sweep.folder, "haarpsi", tmp_path, into="photos64_long")}
    assert {path.parent for path in apart.values()} == {tmp_path / "tuned" / "photos64_long" / "sr_x4"}
    assert OmegaConf.load(apart["dps.yaml"]) == {"sampler": {"zeta": 2.0, "steps": 100}}  # conf/sampler has 1000
    written = {path.name: path for path in write_tuned(sweep.folder, "haarpsi", tmp_path, also=("clip",))}
    assert OmegaConf.load(written["dps.yaml"]).sampler.clip is True


def test_weights_that_were_searched_for_yield_to_a_preset_that_is_chosen(run, tmp_path):
    conf = tmp_path / "conf"
    shutil.copytree(root() / "conf", conf, ignore=shutil.ignore_patterns("tuned"))
    for spatial, low, score in ((0.3, 1.7, 0.6), (1.0, 1.0, 0.3), (0.2, 0.1, 0.1)):
        psi = {"spatial": spatial, "low": low, "high": 0.5, "pixel": 0.0}
        options = {"fidelity": psi, "zeta": 3.0, "steps": 50}
        run.cell("safari", {"haarpsi": score}, options=options, spec=tuning(), run=HERE)
    for into in (None, "photos64_optuna"):
        write_tuned(run.folder, "haarpsi", conf, into=into)

    def weights(*words: str) -> tuple[dict[str, float], tuple[float, int]]:
        register()
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf)):
            cfg = hydra.compose("config", overrides=["task=sr_x4", *words])
        psi = OmegaConf.to_container(cfg.guidance)
        named = {key: psi[key] for key in ("pixel", "spatial", "low", "high") if psi[key]}
        return named, (cfg.sampler.zeta, cfg.sampler.steps)

    found, full, at = {"spatial": 0.3, "low": 1.7, "high": 0.5}, {"spatial": 1.0, "low": 1.0, "high": 0.5}, (3.0, 50)
    assert weights() == (found, at)
    assert weights("tuned=photos64_optuna/${task}/${sampler}") == (found, at)
    assert weights("tuned=photos64_optuna/sr_x4/safari") == (found, at)
    assert weights("guidance=pixel") == ({"pixel": 1.0}, at)
    assert weights("guidance=full") == (full, at)
    assert weights("guidance.spatial=0.9") == ({**found, "spatial": 0.9}, at)
    assert weights("experiments=ablation_cutoff")[0] == {"low": 1.0, "high": 0.5}  # an overlay that chose
    assert weights("task=denoising") == (full, (1.0, 1000)) and weights("sampler=dps")[0] == full
    shutil.rmtree(run.folder / "photos" / "sr_x4" / "safari")  # another search, which leaves the weights alone
    for zeta in (1.0, 2.0):
        options = {"zeta": zeta, "fidelity": {**full, "pixel": 0.0}}
        run.cell("safari", {"haarpsi": zeta}, options=options, spec=tuning(), run=HERE)
    write_tuned(run.folder, "haarpsi", conf)
    assert weights() == (full, (2.0, 1000))


def test_the_metric_is_the_one_that_the_cells_were_searched_by(run):
    def search(objective: str, zeta: float, **scores: float) -> None:
        told = {"config": {**HERE["config"], "objective": objective}}
        run.cell("dps", {"haarpsi": 0.5, **scores}, options={"zeta": zeta}, spec=tuning(), run=told)

    assert found_with(run.folder) == "haarpsi"
    search("auto", 1.0, lpips_vgg=math.nan)
    assert found_with(run.folder) == "haarpsi"
    search("auto", 2.0, lpips_vgg=0.25)
    assert found_with(run.folder) == "lpips_vgg"
    search("psnr", 3.0, psnr=20.0)
    with pytest.raises(ConfigError, match="the objectives auto and psnr; say which"):
        found_with(run.folder)


def test_the_csv_is_of_the_metric_asked_for(run, tmp_path):
    for zeta, psnr, haarpsi in ((1.0, 20.0, 0.9), (2.0, 30.0, 0.1)):
        run.cell("dps", {"psnr": psnr, "haarpsi": haarpsi}, options={"zeta": zeta}, spec=tuning(), run=HERE)
    (path,) = write_tuned(run.folder, "psnr", tmp_path)
    assert OmegaConf.load(path).sampler.zeta == 2.0
    assert list(pd.read_csv(path.with_suffix(".csv")).columns) == ["zeta", "psnr"]


@pytest.mark.parametrize("words", [["--into"], ["--into", ""], ["--into", "a/b"]])
def test_a_folder_that_cannot_be_is_refused(sweep, capsys, words):
    assert main(["tune", str(sweep.folder), *words]) == 2
    assert "--into takes the name of a folder of conf/tuned" in capsys.readouterr().err
