"""guided-diffusion checkpoints: an independent network as the oracle, and every way a file can be wrong."""

import argparse
import re

import pytest
import torch
from guided_reference import GuidedUNet, half_torso, random_unet

from safari_bench.diffusion import Schedule
from safari_bench.priors.guided_diffusion import load
from safari_bench.priors.unet import PriorError

BASE = dict(
    image_size=32,
    num_channels=32,
    num_res_blocks=1,
    channel_mult=[1, 2, 2],
    attention_resolutions=[16],
    num_head_channels=16,
)
#: every flag that changes the network, one or two at a time; sides of feature maps are 32, 16, 8
VARIANTS = {
    "like ffhq": {},
    "like imagenet": dict(num_res_blocks=2, attention_resolutions=[16, 8]),
    "attention everywhere": dict(attention_resolutions=[32, 16, 8], num_head_channels=8),
    "attention in the middle only": dict(attention_resolutions=[]),
    "new attention order": dict(use_new_attention_order=True, num_head_channels=8),
    "new attention order, two blocks": dict(use_new_attention_order=True, num_res_blocks=2),
    "one head": dict(num_head_channels=64, attention_resolutions=[8]),
    "number of heads": dict(num_head_channels=None, num_heads=4, channel_mult=[1, 2, 3], attention_resolutions=[16, 8]),
    "no variance": dict(learn_sigma=False),
    "no scale and shift": dict(use_scale_shift_norm=False),
    "convolutions resample": dict(resblock_updown=False, num_res_blocks=2),
    "three blocks, four levels": dict(num_res_blocks=3, channel_mult=[1, 1, 2, 2], attention_resolutions=[8, 4]),
}
#: every refusal of a file says where to get the right one
SOURCE = "get (it|the file) from the authors' page and put it"
FLAGS = {"learn_sigma": True, "use_scale_shift_norm": True, "resblock_updown": True}


def saved(folder, state):
    path = folder / "checkpoint.pt"
    torch.save(state, path)
    return str(path)


def opened(path, **flags):
    return load(path, sanity_check=False, **{**BASE, **flags})


def noisy() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    return x, torch.tensor([3, 700])


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_the_converted_network_is_the_original(tmp_path, name):
    flags = {**BASE, **VARIANTS[name]}
    unet = random_unet(**flags)
    prior = load(saved(tmp_path, unet.state_dict()), sanity_check=False, **{**FLAGS, **flags})
    x, t = noisy()
    assert relative(prior.network(x, t), unet(x, t)) < 1e-5


@torch.no_grad()
def test_weights_in_half_precision_are_read(tmp_path):
    unet = random_unet(**BASE)
    state = half_torso(unet)
    assert {value.dtype for value in state.values()} == {torch.float16, torch.float32}
    prior = opened(saved(tmp_path, state))
    assert {weight.dtype for weight in prior.network.parameters()} == {torch.float32}
    rounded = GuidedUNet(**BASE).eval()
    rounded.load_state_dict({key: value.float() for key, value in state.items()})
    x, t = noisy()
    assert relative(prior.network(x, t), rounded(x, t)) < 1e-5
    assert relative(prior.network(x, t), unet(x, t)) > 1e-5


@torch.no_grad()
def test_the_order_of_attention_weights_and_the_number_of_heads_matter(tmp_path):
    """So the test above would see either of them wrong; neither can be read off the weights."""
    unet = random_unet(**BASE)
    path = saved(tmp_path, unet.state_dict())
    x, t = noisy()
    for wrong in ({"use_new_attention_order": True}, {"num_head_channels": 32}):
        assert relative(opened(path, **wrong).network(x, t), unet(x, t)) > 1e-4
    assert opened(path).settings != opened(path, num_head_channels=32).settings


@torch.no_grad()
def test_channels_per_head_win_over_the_number_of_heads(tmp_path):
    """The model configs of DPS give both."""
    path = saved(tmp_path, random_unet(**BASE).state_dict())
    x, t = noisy()
    both, one = opened(path, num_heads=4), opened(path)
    assert torch.equal(both.network(x, t), one.network(x, t)) and both.settings == one.settings


@torch.no_grad()
def test_the_prediction_is_that_of_the_noise_with_its_variance(tmp_path):
    unet = random_unet(**BASE)
    prior = opened(saved(tmp_path, unet.state_dict()))
    x, _ = noisy()
    assert prior.schedule == Schedule(timesteps=1000, beta_start=1e-4, beta_end=2e-2)
    output = unet(x, torch.tensor([400, 400]))
    abar = prior.schedule.abar(400)
    prediction = prior.predict(x, 400)
    x0_hat = (x - (1 - abar) ** 0.5 * output[:, :3]) / abar**0.5
    torch.testing.assert_close(prediction.x0_hat, x0_hat, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(prediction.var_fraction, (output[:, 3:] + 1) / 2, rtol=1e-3, atol=1e-4)


def test_gradients_go_through_and_weights_take_none(tmp_path):
    prior = opened(saved(tmp_path, random_unet(**BASE).state_dict()))
    x = noisy()[0].requires_grad_()
    (gradient,) = torch.autograd.grad(prior.predict(x, 400).x0_hat.sum(), x)
    assert gradient.abs().sum() > 0
    assert not any(weight.requires_grad for weight in prior.network.parameters())


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (dict(num_channels=64), "num_channels: the weights have 32, the configuration says 64"),
        (dict(num_res_blocks=2), "num_res_blocks: the weights have 1, the configuration says 2"),
        (
            dict(channel_mult=[1, 2, 4]),
            r"channel_mult: the weights have \[1, 2, 2\], the configuration says \[1, 2, 4\]",
        ),
        (dict(attention_resolutions=[8, 16]), r"attention_resolutions: the weights have \[16\], .* \[16, 8\]"),
        (dict(attention_resolutions=[]), r"attention_resolutions: the weights have \[16\], .* \[\]"),
        (dict(learn_sigma=False), "learn_sigma: the weights have True, the configuration says False"),
        (dict(use_scale_shift_norm=False), "use_scale_shift_norm: the weights have True"),
        (dict(resblock_updown=False), "resblock_updown: the weights have True"),
        (dict(num_channels=64, learn_sigma=False), "num_channels: .*\n.*learn_sigma: "),
        (dict(num_head_channels=None), "num_heads and prior.num_head_channels are both null"),
        (dict(num_head_channels=48), "num_head_channels=48 does not divide the 64 channels"),
        (dict(num_head_channels=None, num_heads=5), "num_heads=5 does not divide the 64 channels"),
        (dict(noise_schedule="cosine"), "noise_schedule: got cosine, expected linear"),
    ],
)
def test_a_network_other_than_the_configuration_says_is_named(tmp_path, claim, said):
    path = saved(tmp_path, random_unet(**BASE).state_dict())
    with pytest.raises(PriorError, match=said) as refusal:
        opened(path, source="the authors' page", **claim)
    assert said.startswith("num_head") or claim.get("noise_schedule") or re.search(SOURCE, str(refusal.value))


def test_what_is_not_claimed_is_read_off_the_weights(tmp_path):
    path = saved(tmp_path, random_unet(**BASE).state_dict())
    prior = load(path, image_size=32, num_head_channels=16, sanity_check=False)
    assert prior.network.unet.config.block_out_channels == [32, 64, 64]
    assert (prior.network.stride, prior.network.side) == (4, 32)


class Trap:
    def __reduce__(self):
        return open, ("trapped", "w")


def cut(content: bytes, by: float) -> bytes:
    return content[: int(len(content) * by)]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.unlink(), "no file .*get it from the authors' page and put it there"),
        (lambda p: (p.unlink(), p.mkdir()), "is a folder.*prior=diffusers"),
        (lambda p: p.write_bytes(b""), "an empty file.*the authors' page"),
        (lambda p: p.write_text("<!DOCTYPE html><title>Google Drive"), "a web page, not a checkpoint"),
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"),
        (lambda p: p.write_bytes(cut(p.read_bytes(), 0.999)), "cannot be read to its end"),
        (lambda p: p.write_bytes(cut(p.read_bytes(), 0.5)), "cannot be read to its end"),
        (lambda p: p.write_bytes(bytes(range(1, 256)) * 9), "not a file of torch.save"),
        (lambda p: torch.save({"weights": Trap()}, p), "opening it would run _?io.open, which this suite never does"),
        (lambda p: torch.save({"args": argparse.Namespace(), "a": torch.ones(1)}, p), "would run argparse.Namespace"),
        (lambda p: torch.save({"model": {}, "step": 3}, p), "got entries such as model, step.*EMA"),
        (lambda p: torch.save(torch.ones(3), p), "got a Tensor, expected the weights"),
        (
            lambda p: torch.save({"conv.weight": torch.ones(3)}, p),
            "not the weights of a guided-diffusion UNet.*conv.we",
        ),
    ],
    ids=[
        *("missing", "folder", "empty", "web page", "LFS pointer", "cut", "cut in half", "not torch"),
        *("code", "arguments", "training state", "tensor", "another network"),
    ],
)
def test_a_wrong_file_is_refused_and_nothing_in_it_is_run(tmp_path, monkeypatch, spoil, said):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, random_unet(**BASE).state_dict())
    spoil(tmp_path / "checkpoint.pt")
    with pytest.raises(PriorError, match=said) as refusal:
        opened(path, source="the authors' page")
    assert re.search(SOURCE, str(refusal.value)) and path in str(refusal.value)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: s.pop("middle_block.1.qkv.weight"),
            r"1 weights are missing \(middle_block.1.qkv.weight\) and 0 left",
        ),
        (lambda s: s.update(extra=torch.ones(1)), r"0 weights are missing \(none\) and 1 left over \(extra\)"),
        (lambda s: s.pop("input_blocks.3.0.skip_connection.weight"), "do not fit together.*conv_shortcut.weight"),
        (lambda s: s.update({"out.2.bias": torch.ones(5)}), "do not fit together.*conv_out.bias"),
        (lambda s: s.update({"label_emb.weight": torch.ones(10, 128)}), "wants a class label"),
        (lambda s: s.update({"input_blocks.0.0.weight": torch.ones(32, 6, 3, 3)}), "takes 6 channels and gives 6"),
        (lambda s: s.update({"time_embed.0.weight": torch.ones(128, 64)}), r"channels \[32, 64, 64\] with 32"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("output_blocks.5")], "6 input and 5 output blocks"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("input_blocks.3.0.in_")], "no 'input_blocks.3.0.in_lay"),
        (lambda s: [s.update({f"module.{k}": s.pop(k)}) for k in list(s)], "such as module.time_embed"),
    ],
)
def test_every_weight_has_its_place_and_every_place_its_weight(tmp_path, change, said):
    state = random_unet(**BASE).state_dict()
    change(state)
    path = saved(tmp_path, state)
    with pytest.raises(PriorError, match=said):
        opened(path)
    with pytest.raises(PriorError, match=f"{said}(.|\n)*get the file from the authors' page and put it at {path}$"):
        opened(path, source="the authors' page")


def test_the_hash_is_compared_and_kept(tmp_path):
    path = saved(tmp_path, random_unet(**BASE).state_dict())
    digest = opened(path).sha256
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert opened(path, sha256=digest.upper()).sha256 == digest
    with pytest.raises(PriorError, match=f"sha256 is {digest}, expected 0000.*{SOURCE} at {path}"):
        opened(path, sha256="0" * 64, source="the authors' page")


def test_random_weights_are_an_error(tmp_path):
    path = saved(tmp_path, random_unet(**BASE).state_dict())
    with pytest.raises(PriorError, match=r"does not denoise: on a smooth 32 x 32 picture .*sanity_check=false"):
        load(path, **BASE)
    with pytest.raises(PriorError, match=f"does not denoise.*{SOURCE} at {path}"):
        load(path, source="the authors' page", **BASE)


def test_weights_as_they_are_before_training_are_an_error(tmp_path):
    """The original network starts with an output of zero: its estimate is the noisy picture itself."""
    state = random_unet(**BASE).state_dict()
    state["out.2.weight"].zero_()
    state["out.2.bias"].zero_()
    with pytest.raises(PriorError, match="error is 1 times that of doing nothing"):
        load(saved(tmp_path, state), **BASE)
