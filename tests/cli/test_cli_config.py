"""Every group option, overlay and tuned file composes and reaches a signature that takes it."""

import hydra
import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from omegaconf import OmegaConf
from PIL import Image

from safari_bench import machine
from safari_bench.cli import main
from safari_bench.cli.compose import jobs
from safari_bench.cli.schema import check, register, root
from safari_bench.cli.settings import applied, renamed, said
from safari_bench.diffusion import Schedule
from safari_bench.ledger import flatten
from safari_bench.priors.unet import save

CONF = root() / "conf"
#: the overlays; exact.yaml is read by the verb of that name
EXPERIMENTS = sorted(path.stem for path in (root() / "experiments").glob("*.yaml") if path.stem != "exact")
PAPER_SCALE = {
    "ffhq256",
    "imagenet256",
    "guided_diffusion",
}  # these files are not here: tests/priors/test_paper_scale.py
TUNED = sorted(path.stem for path in (CONF / "tuned").glob("*.yaml"))


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def compose(*overrides: str):
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return hydra.compose("config", overrides=list(overrides))


@pytest.mark.parametrize("group", ["prior", "task", "sampler", "guidance", "metrics", "logger", "compute"])
def test_every_option_builds(group, tmp_path):
    assert options(group)
    for option in options(group):
        if option in PAPER_SCALE:
            continue
        needs = own_checkpoint(tmp_path) if option == "diffusers" else own_files(option, tmp_path, 64)
        if group == "logger" and option != "csv":
            pytest.importorskip(option)  # installed by those who want it
        cells = jobs(compose(f"{group}={option}", "dataset.n=1", f"output={tmp_path}", *needs), lambda: False)
        assert cells[0].sampler_name == "degraded"


def own_checkpoint(folder) -> list[str]:
    kinds = dict(down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",))
    unet = UNet2DModel(block_out_channels=(8,), layers_per_block=1, norm_num_groups=4, **kinds)
    save(unet, Schedule(), "epsilon", folder)
    return [f"prior.checkpoint={folder}", "prior.sanity_check=false"]


def own_files(task: str, folder, size: int) -> list[str]:
    """What a task of one's own picture needs: a mask, a kernel."""
    key = {"inpaint": "mask", "deblur": "kernel"}.get(task)
    if key is None:
        return []
    n = size if key == "mask" else 5
    Image.fromarray((np.eye(n) * 255).astype(np.uint8)).save(folder / f"{key}.png")
    return [f"task.operator.{key}={folder / key}.png"]


@pytest.mark.parametrize("dataset", ["photos", "leaves"])
def test_every_embedded_dataset_loads(dataset):
    (job, *_) = jobs(compose(f"dataset={dataset}", "dataset.n=2"), lambda: False)
    assert job.dataset.name == dataset
    assert job.dataset.load(1).shape == (3, 64, 64)
    assert len(job.run["spec"]["dataset"]["manifest_sha256"]) == 64


@pytest.mark.parametrize("size", [64, 256])
def test_every_task_measures_at_both_sizes(size, tmp_path):
    for option in options("task"):
        words = [f"task={option}", f"dataset.size={size}", "dataset.n=1", *own_files(option, tmp_path, size)]
        (job, *_) = jobs(compose(*words), lambda: False)
        _, y = job.task.measure(job.dataset.load(0), 0, "photos", "a")
        assert y.isfinite().all()


def test_a_noise_level_means_its_unit_from_the_command_line_to_the_bytes_of_y():
    """0.05 on [0, 1] is 0.1 on [-1, 1]: the same y, and the same sigma_y for the sampler; 0.05 on [-1, 1] is not."""

    def measured(*overrides: str):
        (job, *_) = jobs(compose("dataset.n=1", *overrides), lambda: False)
        return job.task.noise.sigma_y, job.task.measure(job.dataset.load(0), 0, "photos", "a")[1]

    unit, twice = measured("task.sigma=0.05", "task.sigma_range=zero_one"), measured("task.sigma=0.1")
    assert unit[0] == twice[0] == 0.1
    assert torch.equal(unit[1], twice[1])
    assert not torch.equal(unit[1], measured("task.sigma=0.05")[1])


def test_geometry_follows_the_size_of_the_images():
    small, large = compose("task=inpaint_box"), compose("task=inpaint_box", "dataset.size=256")
    assert (small.task.operator.hole, large.task.operator.hole) == (32, 128)
    assert compose("task=inpaint_box", "task.operator.hole=20").task.operator.hole == 20


@pytest.mark.parametrize("overlay", EXPERIMENTS)
def test_every_overlay_composes_and_binds(overlay):
    text = (root() / "experiments" / f"{overlay}.yaml").read_text()
    if "hydra/sweeper: optuna" in text:
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    cfg = compose(f"experiments={overlay}")
    check(cfg)
    for word in ("Question:", "Cost:"):
        assert word in text


@pytest.mark.parametrize("file", TUNED)
def test_every_entry_of_settings_is_merged_and_binds(file):
    of_prior = (root() / "conf" / "prior" / f"{file}.yaml").is_file()  # others are asked for by name
    where = f"prior={file}" if of_prior else f"settings={file}"
    entries = OmegaConf.to_container(OmegaConf.load(CONF / "tuned" / f"{file}.yaml"))
    for task, sampler in [(task, sampler) for task, found in entries.items() for sampler in found]:
        cfg = compose(where, f"task={task}", f"sampler={sampler}")
        check(cfg)
        entry = entries[task][sampler]
        for key, value in flatten(entry["values"]).items():
            assert OmegaConf.select(cfg.sampler, key) == value, (task, sampler, key)
        assert set(entry) <= {"values", "guidance", "chosen", "date", "source", "note"}
        if "guidance" in entry:  # presets are merged after it: guidance=pixel must mean pixel
            assert {key: cfg.guidance[key] for key in entry["guidance"]} == entry["guidance"]
            preset = compose(where, f"task={task}", f"sampler={sampler}", "guidance=pixel").guidance
            assert (preset.pixel, preset.spatial, preset.low, preset.high) == (1, 0, 0, 0)


def test_the_settings_that_run_are_said_and_recorded(tmp_path, capsys):
    def settings_of(*words: str) -> dict:
        values = check(compose("dataset.n=1", *words))
        return {**applied(values), "said": said(values)}

    tuned = settings_of("sampler=dps")
    assert (tuned["name"], tuned["file"], tuned["values"]) == ("tuned", "photos64", {"zeta": 12.0, "steps": 50})
    assert tuned["said"] == "settings: tuned (photos64, sr_x4, dps): zeta=12.0, steps=50"
    assert settings_of("sampler=dps", "sampler.zeta=3")["values"] == {"zeta": 3.0, "steps": 50}
    absent = settings_of("sampler=dps", "task=colorization")
    assert (absent["name"], absent["values"]) == ("paper", {}) and "nothing tuned for dps on colorization" in absent[
        "said"
    ]
    assert settings_of("sampler=dps", "settings=paper")["said"] == "settings: paper, for dps"
    assert settings_of("settings=photos64_long", "sampler=dps")["name"] == "photos64_long"


def test_a_file_of_settings_that_is_not_there_is_refused(capsys):
    assert main(["settings=photos46", "dataset.n=1"]) == 2
    assert "photos64" in capsys.readouterr().err


def test_the_old_word_for_settings_is_understood_and_said(capsys):
    assert renamed(["tuned=photos64_long/${task}/${sampler}", "tuned=null", "task=sr_x4"]) == [
        "settings=photos64_long",
        "settings=paper",
        "task=sr_x4",
    ]
    assert "is now settings=paper" in capsys.readouterr().err


def test_the_run_id_is_of_what_can_change_a_number_and_of_nothing_else():
    def identity(*overrides: str) -> str:
        return str(jobs(compose("dataset.n=2", *overrides), lambda: False)[-1].run["run_id"])

    same = identity()
    assert identity("compute.batch_size=3", "name=other", "output=elsewhere", "compute.workers=2") == same
    changes = [
        "seed=1",
        "precision=fp64",
        "task.sigma=0.06",
        "task.operator.factor=2",
        "guidance.high=0.4",
        "sampler.zeta=3",
    ]
    changes += ["dataset.n=1", "dataset.size=256", "task.sigma_range=zero_one"]
    assert len({same, *(identity(change) for change in changes)}) == 1 + len(changes)
    # guidance is SaFaRI's: it cannot change what DPS returns
    assert identity("sampler=dps", "guidance=pixel") == identity("sampler=dps", "guidance=full")


def test_a_method_without_a_network_has_one_cell_for_the_precisions_of_networks(monkeypatch):
    monkeypatch.setattr(machine, "has_bf16", lambda _: True)

    def identities(*overrides: str) -> list[str]:
        return [str(job.run["run_id"]) for job in jobs(compose("dataset.n=1", *overrides), lambda: False)]

    (degraded, dps), (same, other) = identities("sampler=dps"), identities("sampler=dps", "precision=bf16")
    assert degraded == same and dps != other
    assert identities("sampler=tv") == identities("sampler=tv", "precision=bf16")
    assert not set(identities("sampler=tv")) & set(identities("sampler=tv", "precision=fp64"))
