"""Settings chosen from a sweep over tuning images."""

import math

import hydra
import pytest
from omegaconf import OmegaConf

from safari_bench.cli import main, settings
from safari_bench.cli.schema import ConfigError, register, root
from safari_bench.cli.tuning import chosen, difference, found_with, write
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


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory whose conf/tuned is looked into."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "conf" / "tuned"


def test_entries_hold_what_was_varied_and_what_differs_from_the_sampler_s_own_file(sweep):
    for spatial, score in ((0.0, 0.3), (1.0, 0.6)):
        options = {"fidelity": {"spatial": spatial, "low": 1.0}, "zeta": 3.0}
        for dataset in ("photos", "leaves"):
            sweep.cell("safari", {"haarpsi": score}, dataset=dataset, options=options, spec=tuning(dataset), run=HERE)
    found = chosen(sweep.folder, "haarpsi", also=("steps",))["sr_x4"]
    assert set(found) == {"dps", "safari"}  # nothing was compared for tv
    assert found["dps"]["values"] == {"zeta": 2.0, "steps": 100} and "guidance" not in found["dps"]
    assert found["safari"]["values"] == {"zeta": 3.0} and found["safari"]["guidance"] == {"spatial": 1.0}
    assert (found["dps"]["chosen"]["score"], found["dps"]["chosen"]["runner_up"]) == (0.65, 0.525)
    assert chosen(sweep.folder, "haarpsi", also=("clip",))["sr_x4"]["dps"]["values"]["clip"] is True


def test_a_file_keeps_its_other_entries_and_its_comment(elsewhere):
    path = elsewhere / "mine.yaml"
    write(path, {"sr_x4": {"dps": {"values": {"zeta": 2.0, "lr": 5e-5}}}})
    path.write_text("# chosen by hand\n" + path.read_text().split("\n", 1)[1])
    write(path, {"denoising": {"tv": {"values": {"weight": 0.1}}}, "sr_x4": {"tv": {"values": {"weight": 0.2}}}})
    assert path.read_text().startswith("# chosen by hand\ndenoising:\n")
    assert settings.entry("mine", "photos64", "sr_x4", "dps") == {"values": {"zeta": 2.0, "lr": 5e-5}}
    assert settings.entry("mine", "photos64", "sr_x4", "tv") == {"values": {"weight": 0.2}}
    assert difference({"sr_x4": {"tv": {"values": {"weight": 0.2}}}}, "mine") == []
    assert difference({"sr_x4": {"tv": {"values": {"weight": 0.3}}}}, "mine") == ["sr_x4 tv: weight=0.2 -> weight=0.3"]


def test_what_is_typed_wins_then_overlays_then_presets_then_the_file(run, elsewhere):
    for spatial, low, score in ((0.3, 1.7, 0.6), (1.0, 1.0, 0.3), (0.2, 0.1, 0.1)):
        psi = {"spatial": spatial, "low": low, "high": 0.5, "pixel": 0.0}
        options = {"fidelity": psi, "zeta": 3.0, "steps": 50}
        run.cell("safari", {"haarpsi": score}, options=options, spec=tuning(), run=HERE)
    write(elsewhere / "mine.yaml", chosen(run.folder, "haarpsi"))

    def weights(*words: str) -> tuple[dict[str, float], tuple[float, int]]:
        register()
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
            cfg = hydra.compose("config", overrides=["task=sr_x4", *words])
        psi = OmegaConf.to_container(cfg.guidance)
        named = {key: psi[key] for key in ("pixel", "spatial", "low", "high") if psi[key]}
        return named, (cfg.sampler.zeta, cfg.sampler.steps)

    found, full, at = {"spatial": 0.3, "low": 1.7, "high": 0.5}, {"spatial": 1.0, "low": 1.0, "high": 0.5}, (3.0, 50)
    assert weights("settings=mine") == (found, at)
    assert weights("settings=mine", "guidance=pixel") == ({"pixel": 1.0}, at)
    assert weights("settings=mine", "guidance=full") == (full, at)
    assert weights("settings=mine", "guidance.spatial=0.9") == ({**found, "spatial": 0.9}, at)
    assert weights("settings=mine", "sampler.zeta=7") == (found, (7.0, 50))
    assert weights("settings=mine", "experiments=smoke") == (found, (3.0, 5))
    assert weights("settings=mine", "experiments=ablation_cutoff")[0] == {"low": 1.0, "high": 0.5}
    assert weights("settings=mine", "task=denoising") == (full, (1.0, 1000))
    assert weights("settings=paper") == (full, (1.0, 1000))
    assert weights()[1] == (12.0, 50)  # conf/tuned/photos64.yaml


def test_a_name_that_is_no_key_of_the_sampler_is_not_written(run):
    for value, score in ((1.0, 0.5), (2.0, 0.6)):
        run.cell("dps", {"haarpsi": score}, options={"zeta": value, "stepz": value}, spec=tuning(), run=HERE)
    with pytest.raises(ConfigError, match="stepz"):
        chosen(run.folder, "haarpsi")


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


def test_the_entry_is_of_the_metric_asked_for(run):
    for zeta, psnr, haarpsi in ((1.0, 20.0, 0.9), (2.0, 30.0, 0.1)):
        run.cell("dps", {"psnr": psnr, "haarpsi": haarpsi}, options={"zeta": zeta}, spec=tuning(), run=HERE)
    entry = chosen(run.folder, "psnr")["sr_x4"]["dps"]
    assert entry["values"]["zeta"] == 2.0 and entry["chosen"]["metric"] == "psnr"


@pytest.mark.parametrize("words", [["--into"], ["--into", ""], ["--into", "a/b"], ["--into", ".."]])
def test_a_name_that_cannot_be_is_refused(sweep, capsys, words):
    assert main(["tune", str(sweep.folder), *words]) == 2
    assert "--into" in capsys.readouterr().err
