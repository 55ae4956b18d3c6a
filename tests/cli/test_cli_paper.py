"""Table 1 at paper scale, on a small tree with the real layouts and file names, and networks of the real format."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from guided_reference import random_unet
from paper import DIFFPIR_TASKS, SAMPLERS, TASKS, header_of
from PIL import Image

from safari_bench.cli import main, planning, timings

SMALL = dict(image_size=64, num_channels=32, num_res_blocks=1, channel_mult=[1, 1, 2], attention_resolutions=[16])
SIZE = ["dataset.n=2", "dataset.size=64", "compute.device=cpu", "metrics.download_seconds=0", "output=out"]
NETWORK = [f"prior.{key}={value}".replace(" ", "") for key, value in SMALL.items()]
NETWORK += ["prior.num_head_channels=32", "prior.sha256=null", "prior.sanity_check=false"]
#: FID of the first layer with features: some 30 times faster than the last
SHALLOW = ["+metrics.sets.layer='64'", "metrics.sets.fid_from=2", "metrics.sets.kid_subsets=2"]


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
    assert main(["plan", "experiments=table1", "prior=ffhq256", *SIZE, *NETWORK]) == 0
    plan = pd.read_csv("out/table1_paper/plan.csv")
    assert set(plan.sampler) == {*SAMPLERS, "tv", "degraded"} and set(plan.images) == {2}
    counts = plan.groupby("task")[["nfe", "n_backward"]].sum()
    assert set(counts.index) == set(TASKS)
    for overlay, tasks, images, form in (
        ("table1", TASKS, 2000, ".0f"),  # of two datasets
        ("table1_diffpir", DIFFPIR_TASKS, 200, ".1f"),
    ):
        spent, back = counts.loc[tasks].sum()
        said = f"Cost: {spent} calls of the network and {back} backward passes per image for all tasks, "
        said += f"{spent * images / 1e6:{form}} and {back * images / 1e6:{form}} million in all"
        assert said in header_of(overlay)
    said = capsys.readouterr().out
    assert "cells: " in said and "hours" in said
    assert not list(Path("out/table1_paper").rglob("run.json"))  # nothing was run


TRUTH = ["done", "true_nfe", "true_hours", "true_memory", "true_disk", "true_references"]


@pytest.mark.slow
def test_each_prior_meets_its_own_images_and_the_forecast_stands_beside_the_truth(tree, monkeypatch, capsys):
    words = ["experiments=table1", *SIZE, *NETWORK, "task=sr_x4", "sampler=dps,ddrm", "sampler.steps=2"]
    assert main(["plan", *words]) == 0
    before, measured = pd.read_csv("out/table1_paper/plan.csv"), Path("out/table1_paper/timings.csv").read_bytes()
    assert set(before.done) == {0} and before[TRUTH[1:]].isna().all().all()
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
    with monkeypatch.context() as patched:  # a second forecast would be another one
        patched.setattr(timings, "time_calls", None)
        patched.setattr(planning, "forecast", None)
        assert main(["plan", *words]) == 0
        assert "cells under way or done" in capsys.readouterr().out
        assert main(["plan", *words, "sampler=dps"]) == 0  # the others were run, and stay
    after = pd.read_csv("out/table1_paper/plan.csv").set_index("run_id").loc[before.run_id].reset_index()
    forecast = [column for column in before if column not in TRUTH]
    pd.testing.assert_frame_equal(after[forecast], before[forecast], check_exact=True)
    assert Path("out/table1_paper/timings.csv").read_bytes() == measured
    assert (after.done == 2).all() and (after[TRUTH] > 0).drop(columns=["true_nfe", "true_hours"]).all().all()
    assert (after.true_nfe == after.nfe).all() and (after.true_hours[after.nfe > 0] > 0).all()
    kept = after[after.sampler != "degraded"]
    assert (kept.memory > 0).all() and (kept.references == kept.disk).all() and (kept.batch == 2).all()
    assert main(["plan", "--again", *words]) == 0
    assert Path("out/table1_paper/timings.csv").read_bytes() != measured


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


def run_every_method(prior: str, tasks: list[str], *more: str) -> pd.DataFrame:
    words = ["-m", "experiments=table1", f"prior={prior}", f"task={','.join(tasks)}", *SIZE, *NETWORK, *more]
    words += ["compute.batch_size=2"]  # to choose it takes four calls a cell, more than the cell; others here do
    assert main([*words, "sampler=tv", "sampler.iterations=2"]) == 0
    assert main([*words, "sampler=daps", "sampler.steps=2", "sampler.ode_steps=2", "sampler.langevin_steps=5"]) == 0
    assert main([*words, f"sampler={','.join(SAMPLERS[:-1])}", "sampler.steps=2"]) == 0
    found = statuses()
    assert set(found.task) == set(tasks) and set(found.sampler) == {*SAMPLERS, "tv", "degraded"}
    assert len(found) == 2 * len(tasks) * (len(SAMPLERS) + 2)
    assert set(found.status) == {"ok"}, found[found.status != "ok"][["sampler", "task", "reason"]].drop_duplicates()
    return found


@pytest.mark.parametrize(
    ("prior", "tasks"),
    [
        pytest.param("ffhq256", TASKS[1:3], marks=pytest.mark.slow),
        pytest.param("ffhq256", TASKS[3:], marks=pytest.mark.slow),
        pytest.param("imagenet256", TASKS[:2], marks=pytest.mark.slow),
        pytest.param("imagenet256", TASKS[2:-1], marks=pytest.mark.slow),
        pytest.param("imagenet256", TASKS[-1:], marks=pytest.mark.slow),
    ],
)
def test_every_method_and_task_of_table_1_runs(tree, prior, tasks):
    run_every_method(prior, tasks)


@pytest.mark.slow
def test_a_task_of_table_1_is_scored_by_lpips_fid_and_kid(tree, published):
    """Random backbones in the files of the published ones."""
    found = run_every_method("ffhq256", TASKS[:1], *SHALLOW)
    assert (found[["lpips_vgg", "lpips_alex"]].astype(float) > 0).all().all()
    scores = [json.loads(path.read_text()) for path in Path("out/table1_paper").rglob("set_scores.json")]
    assert len(scores) == len(SAMPLERS) + 2 and all(score["n"] == 2 for score in scores), scores
    assert all(score["scores"]["fid_64"] > 0 and "kid_64" in score["scores"] for score in scores), scores


def test_a_cell_of_the_protocol_of_diffpir_runs(tree):
    words = ["-m", "experiments=table1_diffpir", "prior=ffhq256", "task=deblur_motion", *SIZE, *NETWORK]
    assert main([*words, "sampler=diffpir", "sampler.steps=2"]) == 0
    found = statuses("table1_diffpir")
    assert set(found.status) == {"ok"} and set(found.sigma_range) == {"zero_one"} and set(found.sigma) == {0.05}
