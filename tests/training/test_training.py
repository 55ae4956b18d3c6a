"""The recipe: batches as functions of their number, the loss against its equation, and runs cut in two."""

import math

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from safari_bench.data import photographs, textures
from safari_bench.diffusion import Schedule
from safari_bench.priors.unet import load
from safari_bench.training import Mixture, Recipe, TrainingError, train

CPU = torch.device("cpu")
QUICK = Recipe(workers=0, warmup=2, checkpoint_minutes=0.0)


def unet(width: int = 8) -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8, in_channels=12, out_channels=12, block_out_channels=(width, 16), layers_per_block=1,
        norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip


def data(steps: int = 8, **changes) -> Mixture:
    return Mixture(**{"steps": steps, "batch_size": 4, "size": 16, **changes})


def losses(folder) -> list[float]:
    return [float(line.split(",")[1]) for line in (folder / "loss.csv").read_text().splitlines()[1:]]


def test_a_batch_depends_on_its_number_alone():
    first, again = data(), data()
    ahead = first[5]
    for _ in range(2):
        again[3]
    for ours, theirs in zip(ahead, again[5], strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(first[4].x, ahead.x)
    assert not torch.equal(data(seed=1)[5].x, ahead.x)


@pytest.mark.parametrize("kinds", [{"leaves": 1.0}, {"leaves": 0.0, "textures": 0.0}, {"leaves": 0.0, "textures": 1.0}])
def test_pictures_are_pictures(kinds):
    x, u, eps = data(size=64, batch_size=32, **kinds)[0]
    assert x.shape == eps.shape == (32, 3, 64, 64)
    assert -1 <= x.min() < -0.5 and 0.5 < x.max() <= 1
    assert x.flatten(1).std(1).min() > 0.01  # none is blank
    assert torch.equal((32 * u).floor(), torch.arange(32.0))  # one draw per stratum
    assert abs(eps.std() - 1) < 0.01


def test_no_tuning_or_test_photograph_is_shown(monkeypatch):
    import safari_bench.data.wheels as wheels

    read, seen = wheels._read, set()
    monkeypatch.setattr(wheels, "_read", lambda name: seen.add(name) or read(name))
    data(batch_size=16)[0]
    assert seen == {*wheels.SPLITS["train"], *wheels._GREY}
    assert not seen & {*wheels.SPLITS["test"], *wheels.SPLITS["tuning"]}


def test_no_photograph_dominates(monkeypatch):
    """Each crop is traced to its photograph by colours made up for the purpose."""
    monkeypatch.setattr("safari_bench.training.mixture._contrasted", lambda picture, gain, shift: picture)
    mixture = data(batch_size=400, leaves=0.0, textures=0.0, colour=0.0, tries=1)
    mixture[0]
    names = list(photographs("train"))
    mixture._coloured = [p.point([k] * 768) for k, p in enumerate(mixture._coloured)]
    colours = ((mixture[1].x[:, 0, 0, 0] + 1) * 127.5).round().long()
    counts = torch.bincount(colours, minlength=len(names))
    assert len(counts) == len(names)
    # each is binomial(400, 1/6): 5 standard deviations fail once in 10^5 runs, and the seed is fixed
    assert (counts - 400 / len(names)).abs().max() < 5 * math.sqrt(400 * 5 / 36)


def test_textures_are_grey_photographs():
    for name, picture in textures().items():
        assert picture.ndim == 2 and picture.dtype == np.uint8, name


def test_the_first_loss_is_that_of_the_equation(tmp_path):
    """Independent of the recipe: v = sqrt(abar) eps - sqrt(1 - abar) x at t = floor(T u^1.5)."""
    mixture, network = data(steps=1), unet()
    x, u, eps = mixture[0]
    abar = np.cumprod(1 - np.linspace(1e-4, 2e-2, 1000))[np.floor(1000 * u.numpy() ** 1.5).astype(int)]
    signal, noise = (torch.tensor(np.sqrt(a), dtype=torch.float32).view(-1, 1, 1, 1) for a in (abar, 1 - abar))
    x_t = signal * x + noise * eps
    with torch.no_grad():
        t = torch.tensor(np.floor(1000 * u.numpy() ** 1.5).astype(int))
        folded = torch.nn.functional.pixel_unshuffle(x_t, 2)
        v_hat = torch.nn.functional.pixel_shuffle(network(folded, t).sample, 2)
        expected = ((v_hat - (signal * eps - noise * x)) ** 2).mean().item()
    train(unet(), mixture, Recipe(workers=0, bf16=False), tmp_path, CPU)
    assert losses(tmp_path)[0] == pytest.approx(expected, rel=1e-5)


def test_training_learns(tmp_path, monkeypatch):
    """One batch again and again, noise and all, is soon known by heart."""
    batch = data()[0]
    monkeypatch.setattr(Mixture, "__getitem__", lambda self, step: batch)
    recipe = Recipe(workers=0, warmup=5, learning_rate=5e-3)
    train(unet(width=16), data(steps=80), recipe, tmp_path, CPU)
    curve = losses(tmp_path)
    assert np.mean(curve[-5:]) < 0.5 * curve[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_cut_in_two_is_the_run_in_one_piece(tmp_path, workers):
    """Same losses, same weights: what a Ctrl-C leaves is all that the rest needs."""
    recipe = Recipe(workers=workers, warmup=2)
    whole = train(unet(), data(), recipe, tmp_path / "whole", CPU)
    calls = iter([False, False, True])
    assert train(unet(), data(), recipe, tmp_path / "cut", CPU, lambda: next(calls)) is None
    assert len(losses(tmp_path / "cut")) == 3
    assert train(unet(), data(), recipe, tmp_path / "cut", CPU) == whole
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    """The process dies in step 5, with a checkpoint after every step; what it leaves behind is a whole checkpoint."""
    import safari_bench.training.recipe as module

    whole = train(unet(), data(), QUICK, tmp_path / "whole", CPU)
    step, count = module._step, iter(range(100))

    def dies(*arguments):
        if next(count) == 4:
            raise SystemExit(137)
        return step(*arguments)

    monkeypatch.setattr(module, "_step", dies)
    with pytest.raises(SystemExit):
        train(unet(), data(), QUICK, tmp_path / "killed", CPU)
    monkeypatch.setattr(module, "_step", step)
    (tmp_path / "killed" / "checkpoint.partial").write_bytes(b"half a file")
    assert len(losses(tmp_path / "killed")) == 4
    assert train(unet(), data(), QUICK, tmp_path / "killed", CPU) == whole


def test_the_shipped_weights_are_the_average_not_the_last(tmp_path):
    network = unet()
    train(network, data(), Recipe(workers=0, warmup=2, ema_decay=0.5), tmp_path, CPU)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    shipped = load(str(tmp_path / "prior"), sanity_check=False).network.unet
    for average, ours in zip(state["ema"]["shadow_params"], shipped.parameters(), strict=True):
        torch.testing.assert_close(ours, average.half().float(), rtol=0, atol=0)
    last = [state["network"][name].half().float() for name, _ in shipped.named_parameters()]
    assert sum((ours - theirs).abs().sum() for ours, theirs in zip(shipped.parameters(), last, strict=True)) > 0


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    train(unet(), data(), QUICK, tmp_path, CPU)
    with pytest.raises(TrainingError, match="not a checkpoint of this network"):
        train(unet(width=12), data(), QUICK, tmp_path, CPU)
    (tmp_path / "checkpoint.pt").write_bytes(b"garbage")
    with pytest.raises(TrainingError, match="not a checkpoint"):
        train(unet(), data(), QUICK, tmp_path, CPU)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    network = unet()
    with torch.no_grad():
        network.conv_in.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="loss is nan at step 1"):
        train(network, data(), QUICK, tmp_path, CPU)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("leaves", 1.5), ("textures", -0.1), ("steps", 0), ("size", 8), ("tries", 0)]
)
def test_a_mixture_that_makes_no_sense_is_refused(key, value):
    with pytest.raises(ValueError, match=rf"training.data.{key}: got {value}"):
        data(**{key: value})


def test_the_schedule_is_the_samplers(tmp_path):
    train(unet(), data(steps=1), QUICK, tmp_path, CPU)
    assert load(str(tmp_path / "prior"), sanity_check=False).schedule == Schedule()
