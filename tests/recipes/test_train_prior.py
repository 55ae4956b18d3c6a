"""The training recipe: batches as functions of their number, the loss against its equation, runs cut in two."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from PIL import Image

from recipes import train_prior
from recipes.mixture import Mixture
from recipes.photographs import PACK, manifest
from recipes.train_prior import Run, train
from safari_bench.errors import ConfigError
from safari_bench.ledger import exclusive
from safari_bench.priors.unet import load

CPU = torch.device("cpu")
REPOSITORY = Path(train_prior.__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A packed file of two noisy photographs, a stamp, and pictures of other splits that must not be read."""
    place = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(place / PACK, "w") as archive:
        for name, channels in (("train/a", 3), ("train/b", 3), ("stamps/c", 4)):
            pixels = rng.integers(0, 256, (40, 50, channels), np.uint8)
            stored = io.BytesIO()
            Image.fromarray(pixels).save(stored, "WEBP", lossless=True)
            archive.writestr(f"{name}.webp", stored.getvalue())
        archive.writestr("test/d.webp", b"no picture")
    return place


def unet() -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8, in_channels=12, out_channels=12, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip


def run_of(network: UNet2DModel) -> Run:
    ema = EMAModel(network.parameters(), decay=0.5, use_ema_warmup=True, power=3 / 4, foreach=True)
    return Run(network, ema, torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.0), 2e-3)


def data(folder: Path, **changes) -> Mixture:
    return Mixture(folder / PACK, **{"last": 8, "batch_size": 4, "size": 16, **changes})


def losses(folder: Path) -> list[float]:
    with (folder / "loss.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_a_batch_depends_on_its_number_alone(folder):
    ahead, again = data(folder)[5], data(folder, first=5)[0]
    for ours, theirs in zip(ahead, again, strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(data(folder)[4].x, ahead.x)
    assert not torch.equal(data(folder, seed=2)[5].x, ahead.x)


@pytest.mark.parametrize(
    "kinds", [{"leaves": 1.0}, {"leaves": 0.0, "grey": 0.0, "flat": 0.0}, {"grey": 1.0, "leaves": 0.0}]
)
def test_pictures_are_pictures(folder, kinds):
    x, u, eps = data(folder, batch_size=32, stamps=0.5, **kinds)[0]
    assert x.shape == eps.shape == (32, 3, 16, 16)
    assert x.abs().max() <= 1 and x.min() < -0.4 and x.max() > 0.4
    assert torch.equal((32 * u).floor(), torch.arange(32.0))  # one draw per stratum


def test_flat_pictures_are_flat(folder):
    x = data(folder, batch_size=32, leaves=0.0, grey=0.0, flat=1.0, stamps=0.0)[0].x
    neighbours = (x[..., 1:] - x[..., :-1]).abs().flatten(1).max(1).values
    assert neighbours.max() < 0.1 and (neighbours < 1e-6).any() and x.flatten(1).mean(1).std() > 0.1


def test_the_manifest_names_free_photographs_once():
    rows = manifest()
    assert len({row["sha256"] for row in rows}) == len(rows)
    assert len(manifest("test")) == 23 and len(manifest("tuning")) == 12
    assert all(row["licence"] and "mixed" not in row["licence"] for row in rows)


def test_the_first_loss_is_that_of_the_equation(folder, tmp_path):
    """Independent of the recipe: v = sqrt(abar) eps - sqrt(1 - abar) x at t = floor(T u^1.5)."""
    mixture, network = data(folder, last=1), unet()
    x, u, eps = mixture[0]
    t = np.floor(1000 * u.numpy() ** 1.5).astype(int)
    abar = np.cumprod(1 - np.linspace(1e-4, 2e-2, 1000))[t]
    signal_, noise = (torch.tensor(np.sqrt(a), dtype=torch.float32).view(-1, 1, 1, 1) for a in (abar, 1 - abar))
    with torch.no_grad():
        folded = torch.nn.functional.pixel_unshuffle(signal_ * x + noise * eps, 2)
        v_hat = torch.nn.functional.pixel_shuffle(network(folded, torch.tensor(t)).sample, 2)
        expected = ((v_hat - (signal_ * eps - noise * x)) ** 2).mean().item()
    train(run_of(unet()), mixture, tmp_path, CPU, until=1e12, workers=0)
    assert losses(tmp_path)[0] == pytest.approx(expected, rel=0.02)  # bfloat16


def test_a_run_cut_in_two_is_the_run_in_one_piece(folder, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for place in (whole, cut):
        place.mkdir()
    first = run_of(unet())
    train(first, data(folder), whole, CPU, until=1e12, cooldown=4, workers=0)
    train(run_of(unet()), data(folder, last=3), cut, CPU, until=1e12, workers=0)
    again = run_of(unet())
    again.resume(cut / "checkpoint.pt", CPU)
    assert again.step == 3 and again.images == 12
    train(again, data(folder, first=3), cut, CPU, until=1e12, cooldown=4, workers=0)
    assert losses(cut) == losses(whole)
    assert (cut / "prior/diffusion_pytorch_model.safetensors").read_bytes() == (
        whole / "prior/diffusion_pytorch_model.safetensors"
    ).read_bytes()


def test_a_run_does_not_go_on_with_other_settings(folder, tmp_path):
    first, second = run_of(unet()), run_of(unet())
    first.settings, second.settings = {"rate": 1e-4, "batch": 4}, {"rate": 2e-4, "batch": 4}
    train(first, data(folder, last=1), tmp_path, CPU, until=1e12, workers=0)
    with pytest.raises(ConfigError, match=r"made with rate 0.0001, now 0.0002; say the same"):
        second.resume(tmp_path / "checkpoint.pt", CPU)
    second.settings = dict(first.settings)
    second.resume(tmp_path / "checkpoint.pt", CPU)
    assert second.step == 1


def test_two_processes_do_not_train_one_run(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_prior", "--photographs", str(folder), "--into", str(tmp_path)])
    with exclusive(tmp_path):
        assert train_prior.main() == 1
    assert "works on" in capsys.readouterr().err and not (tmp_path / "checkpoint.pt").exists()


def test_the_exported_weights_are_the_average_not_the_last(folder, tmp_path):
    run = run_of(unet())
    train(run, data(folder), tmp_path, CPU, until=1e12, workers=0)
    exported = load(str(tmp_path / "prior"), sanity_check=False).network.unet
    for average, ours in zip(run.ema.shadow_params, exported.parameters(), strict=True):
        torch.testing.assert_close(ours, average.half().float(), rtol=0, atol=0)
    pairs = zip(run.unet.parameters(), exported.parameters(), strict=True)
    assert sum((ours.detach() - theirs).abs().sum() for ours, theirs in pairs) > 0.01


def test_a_loss_that_is_not_finite_stops_the_run(folder, tmp_path):
    network = unet()
    with torch.no_grad():
        network.conv_in.weight.fill_(torch.nan)
    with pytest.raises(RuntimeError, match="not finite at step 1"):
        train(run_of(network), data(folder), tmp_path, CPU, until=1e12, workers=0)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_without_photographs_the_command_says_how_to_get_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_prior", "--photographs", str(tmp_path / "none")])
    assert train_prior.main() == 2
    assert "python -m recipes.photographs" in capsys.readouterr().err


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint(folder, tmp_path):
    command = [sys.executable, "-m", "recipes.train_prior", "--photographs", str(folder), "--into", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*command, "--batch", "1", "--workers", "0"], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert "from step 0" in process.stdout.readline()
    time.sleep(10)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "stopped at step" in said
    assert (tmp_path / "checkpoint.pt").is_file() and losses(tmp_path)
