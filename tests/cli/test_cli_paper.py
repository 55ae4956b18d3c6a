"""Table 1 at paper scale, on a small tree with the real layouts and file names, and networks of the real format."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from guided_reference import random_unet
from PIL import Image

from safari_bench.cli import main, timings
from safari_bench.cli.schema import root

SMALL = dict(image_size=64, num_channels=32, num_res_blocks=1, channel_mult=[1, 2], attention_resolutions=[32])
SIZE = ["dataset.n=2", "dataset.size=64", "compute.device=cpu", "metrics.download_seconds=0", "output=out"]
NETWORK = [f"prior.{key}={value}".replace(" ", "") for key, value in SMALL.items()]
NETWORK += ["prior.num_head_channels=32", "prior.sha256=null", "prior.sanity_check=false"]
SAMPLERS = ["unconditional", "safari", "dps", "ilvr", "mcg", "ddrm", "ddnm", "pigdm", "mmps"]
SAMPLERS += ["diffpir", "pnp_admm", "reddiff", "daps"]
TASKS = ["sr_x4", "inpaint_box", "inpaint_random_92", "deblur_gaussian", "deblur_motion"]


def picture(path: Path, h: int, w: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(h * w).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """data/ and checkpoints/ as the documentation says, in miniature; no weights for LPIPS and FID."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    for number in range(3):
        picture(Path("data/ffhq/00000", f"{number:05d}.png"), 128, 128)
    for number, synset in ((1, "n01751748"), (2, "n09193705"), (3, "n02105855")):
        picture(Path("data/imagenet", synset, f"ILSVRC2012_val_{number:08d}.JPEG"), 90 + number, 140)
    Path("checkpoints").mkdir()
    for seed, name in enumerate(("ffhq_10m.pt", "256x256_diffusion_uncond.pt")):
        unet = random_unet(seed, num_head_channels=32, **SMALL)
        with torch.no_grad():  # small outputs: a thousand random steps would leave every range
            unet.out[2].weight.mul_(0.1)
        torch.save(unet.state_dict(), Path("checkpoints", name))
    return tmp_path


def statuses(name: str = "table1_paper") -> pd.DataFrame:
    return pd.read_csv(Path("out", name, "per_image.csv"), keep_default_na=False)


@pytest.mark.slow
def test_the_overlay_says_how_many_calls_it_takes(tree, capsys):
    """The header's figure is what `plan` counts at the settings of the overlay."""
    assert main(["plan", "experiments=table1", "task=sr_x4", "prior=ffhq256", *SIZE, *NETWORK]) == 0
    plan = pd.read_csv("out/table1_paper/plan.csv")
    assert set(plan.sampler) == {*SAMPLERS, "tv", "degraded"} and set(plan.images) == {2}
    header = (root() / "experiments" / "table1.yaml").read_text()
    assert f"Cost: {plan.nfe.sum()} calls of the network per image and task" in header
    assert f"{round(plan.nfe.sum() * 10_000 / 1e6)} million in all" in header
    said = capsys.readouterr().out
    assert "cells: " in said and "hours" in said
    assert not list(Path("out/table1_paper").rglob("run.json"))  # nothing was run


def test_each_prior_meets_its_own_images_and_the_forecast_stands_beside_the_truth(tree, capsys):
    words = ["experiments=table1", *SIZE, *NETWORK, "task=sr_x4", "sampler=dps,ddrm", "sampler.steps=2"]
    assert main(["-m", *words]) == 0
    said = capsys.readouterr()
    found = statuses()
    assert set(zip(found.dataset, found.prior, strict=True)) >= {("ffhq", "ffhq256"), ("imagenet", "imagenet256")}
    assert set(found.image_id) == {"00000", "00001", "ILSVRC2012_val_00000001", "ILSVRC2012_val_00000002"}
    assert set(found.status) == {"ok"}
    assert "lpips_vgg n/a" in said.err and "n/a" in said.out
    assert "Published values of the same protocol" not in said.out  # 64 px, two images
    assert main(["table", "out/table1_paper", "--all-published"]) == 0
    said = capsys.readouterr().out
    assert "2 images here, 1000 there" in said and "size [64, 64] here, [256, 256] there" in said
    assert main(["plan", *words]) == 0
    plan = pd.read_csv("out/table1_paper/plan.csv").set_index(["dataset", "sampler"])
    assert plan.loc[("ffhq", "dps")].true_nfe == plan.loc[("ffhq", "dps")].nfe == 2
    assert "cells under way or done" in capsys.readouterr().out


def test_a_plan_times_every_arithmetic_and_batch_size_and_goes_on_where_memory_is_short(tree, monkeypatch, capsys):
    measured = timings.time_calls

    def short(denoiser, shape, batch, device, dtype):
        if batch > 2:
            raise torch.OutOfMemoryError("no room for this")
        return measured(denoiser, shape, batch, device, dtype)

    monkeypatch.setattr(timings, "time_calls", short)
    words = ["plan", "experiments=benchmark", "prior=ffhq256", "precision=fp32", "compute.batch_size=1,4", *NETWORK]
    assert main([*words, "dataset.size=64", "dataset.n=6", "compute.device=cpu", "output=out"]) == 0
    said = capsys.readouterr()
    table = pd.read_csv("out/benchmarks/timings.csv").set_index("batch")
    assert list(table.index) == [1, 4, 2] and set(table.precision) == {"fp32"} and set(table.side) == {64}
    assert table.loc[4].drop(["prior", "precision"]).isna().sum() == 3 and (table.ms_forward.dropna() > 0).all()
    assert (table.ms_both >= table.ms_forward).sum() == 2 and "no room" in said.out
    assert "4 images at once do not fit into memory; 2 instead" in said.err
    plan = pd.read_csv("out/benchmarks/plan.csv").set_index("sampler")  # batches of two sizes are one cell
    assert list(plan.index) == ["degraded", "dps"] and plan.nfe["dps"] == 3


def test_the_doctor_says_what_can_be_run(tree, capsys):
    assert main(["doctor", "prior=ffhq256", *NETWORK, "compute.device=cpu"]) == 0
    said = capsys.readouterr().out
    assert "ffhq256: found; one image of 64 px takes" in said  # the words describe it; the other one is as published
    assert "imagenet256: missing: checkpoints/256x256_diffusion_uncond.pt" in said
    assert "lpips_vgg: absent; safari-bench weights fetch" in said
    assert "  ffhq: incomplete, 3 of the 1000 pictures; dataset.root data/ffhq: got 3" in said
    assert "  imagenet: incomplete, 3 of the 1000 pictures; dataset.n: got 1000, but split" in said
    assert "folder: missing: dataset.root has no value" in said and "photos: found; 24 pictures, 64 x 64 px" in said
    assert "smoke: can be run" in said and "table1: lacks ffhq, imagenet, imagenet256\n" in said


def test_the_overlay_sweeps_what_these_tests_run():
    overlay = (root() / "experiments" / "table1.yaml").read_text()
    assert "prior: ffhq256,imagenet256\n" in overlay
    assert f"task: {','.join(TASKS)}\n" in overlay and f"sampler: {','.join(SAMPLERS)},tv\n" in overlay


@pytest.mark.parametrize("prior", ["ffhq256", "imagenet256"])
def test_every_method_and_task_of_table_1_runs(tree, prior):
    words = ["-m", "experiments=table1", f"prior={prior}", *SIZE, *NETWORK]
    assert main([*words, "sampler=tv", "sampler.iterations=2"]) == 0
    assert main([*words, f"sampler={','.join(SAMPLERS)}", "sampler.steps=2"]) == 0
    found = statuses()
    assert set(found.task) == set(TASKS) and set(found.sampler) == {*SAMPLERS, "tv", "degraded"}
    assert len(found) == 2 * len(TASKS) * (len(SAMPLERS) + 2)
    assert set(found.status) == {"ok"}, found[found.status != "ok"][["sampler", "task", "reason"]].drop_duplicates()
