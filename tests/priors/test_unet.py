"""The door for diffusion UNets: diffusers' own network as the oracle, and every way a folder can be wrong."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from safari_bench.diffusion import Schedule
from safari_bench.priors.unet import Folded, PriorError, load, save

SMALL = dict(
    sample_size=16,
    block_out_channels=(8, 16),
    layers_per_block=1,
    norm_num_groups=4,
    down_block_types=("DownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "UpBlock2D"),
)
WEIGHTS = "diffusion_pytorch_model.safetensors"


def opened(folder: str, sha256: str | None = None):
    return load(folder, sha256, sanity_check=False)


def unet(channels: int = 3, out: int | None = None) -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(in_channels=channels, out_channels=out or channels, **SMALL)


def pictures(side: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_folder_written_by_diffusers_gives_diffusers_own_x0(tmp_path, kind):
    """The oracle is the scheduler's pred_original_sample for the network's output."""
    model = unet()
    model.save_pretrained(tmp_path)
    scheduler = DDPMScheduler(prediction_type=kind, beta_schedule="linear", clip_sample=False)
    scheduler.save_config(tmp_path)
    prior = opened(str(tmp_path))
    x_t = pictures()
    for t in (0, 400, 999):
        with torch.no_grad():
            output = model(x_t, t).sample
        expected = scheduler.step(output, t, x_t).pred_original_sample
        torch.testing.assert_close(prior.predict(x_t, t).x0_hat, expected, rtol=1e-4, atol=1e-4)


def test_six_channels_are_a_mean_and_a_variance(tmp_path):
    model = unet(3, 6)
    model.save_pretrained(tmp_path)
    DDPMScheduler(beta_schedule="linear").save_config(tmp_path)
    prediction = opened(str(tmp_path)).predict(pictures(), 500)
    with torch.no_grad():
        output = model(pictures(), 500).sample
    torch.testing.assert_close(prediction.var_fraction, (output[:, 3:] + 1) / 2)


def test_folding_gives_each_pixel_back_to_its_place():
    """A network whose convolutions pass channels through unchanged must give the picture back."""

    model = unet(12)
    model.forward = lambda x, t: SimpleNamespace(sample=x)
    folded = Folded(model)
    x = pictures(16)
    assert folded.fold == 2 and folded.stride == 4
    assert torch.equal(folded(x, torch.zeros(2)), x)


def test_what_save_writes_load_reads_and_diffusers_too(tmp_path):
    model = unet(12)
    sha256 = save(model, Schedule(), "v_prediction", tmp_path)
    prior = opened(str(tmp_path), sha256)
    assert prior.sha256 == sha256
    assert (tmp_path / WEIGHTS).stat().st_size < 2.2 * sum(p.numel() for p in model.parameters()) + 20_000
    theirs = UNet2DModel.from_pretrained(tmp_path)
    for (name, ours), original in zip(theirs.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, original.half().float(), rtol=0, atol=0, msg=name)
    assert DDPMScheduler.from_pretrained(tmp_path).config.prediction_type == "v_prediction"
    x_t = pictures().requires_grad_()
    (gradient,) = torch.autograd.grad(prior.predict(x_t, 300).x0_hat.sum(), x_t)
    assert gradient.abs().sum() > 0
    assert prior.predict(pictures().double(), 300).x0_hat.dtype == torch.float64


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda d: shutil.rmtree(d), "no file .*config.json"),
        (lambda d: (d / "config.json").write_text("{"), "not JSON"),
        (lambda d: (d / "scheduler_config.json").unlink(), "no file .*scheduler_config.json"),
        (lambda d: (d / WEIGHTS).unlink(), "no file .*safetensors"),
        (lambda d: (d / WEIGHTS).write_bytes((d / WEIGHTS).read_bytes()[:-100]), "sha256 is .* expected"),
        (lambda d: edit(d / "scheduler_config.json", prediction_type="sample"), "got prediction_type 'sample'"),
        (lambda d: edit(d / "scheduler_config.json", beta_schedule="scaled_linear"), "'scaled_linear'"),
        (lambda d: edit(d / "scheduler_config.json", trained_betas=[0.1, 0.2]), "got trained_betas"),
        (lambda d: edit(d / "scheduler_config.json", rescale_betas_zero_snr=True), "got rescale_betas_zero_snr"),
        (lambda d: edit(d / "config.json", _class_name="UNet2DConditionModel"), "got a UNet2DConditionModel"),
        (lambda d: edit(d / "config.json", down_block_types=["DownBlock2D"]), "diffusers cannot build this network"),
        (lambda d: (d / "scheduler_config.json").write_text('{"beta_schedule": "linear"}'), "no 'num_train_timesteps'"),
        (lambda d: (d / "config.json").write_text("[]"), "holds a list, expected a JSON object"),
    ],
)
def test_a_wrong_folder_is_refused(tmp_path, damage, said):
    folder = tmp_path / "prior"
    sha256 = save(unet(), Schedule(), "epsilon", folder)
    damage(folder)
    with pytest.raises(PriorError, match=said):
        opened(str(folder), sha256)


@pytest.mark.parametrize("damage", ["truncated", "other network", "not safetensors"])
def test_weights_that_do_not_fit_are_refused_and_never_replaced_by_random_ones(tmp_path, damage):
    save(unet(), Schedule(), "epsilon", tmp_path)
    weights = tmp_path / WEIGHTS
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "not safetensors":
        weights.write_bytes(b"\x80\x02}q\x00." * 100)
    else:
        edit(tmp_path / "config.json", block_out_channels=[8, 24])
    with pytest.raises(PriorError, match="do not fit"):
        opened(str(tmp_path))


def test_sides_the_network_cannot_halve_are_refused(tmp_path):
    save(unet(12), Schedule(), "epsilon", tmp_path)
    with pytest.raises(ValueError, match=r"30 x 32.*multiples of 4"):
        opened(str(tmp_path)).predict(torch.zeros(1, 3, 30, 32), 5)


def test_a_network_whose_channels_are_no_folded_rgb_is_refused(tmp_path):
    save(unet(5), Schedule(), "epsilon", tmp_path)
    with pytest.raises(PriorError, match="5 input channels"):
        opened(str(tmp_path))


def test_attention_under_its_names_of_2022_is_read(tmp_path):
    """As in the google/ddpm-* checkpoints, which are the ones with this layout."""
    kinds = dict(down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"))
    torch.manual_seed(0)
    model = UNet2DModel(**{**SMALL, **kinds}).eval()
    save(model, Schedule(), "epsilon", tmp_path)
    expected = opened(str(tmp_path)).predict(pictures(), 500).x0_hat
    state = load_file(tmp_path / WEIGHTS)
    former = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for name in list(state):
        for now, before in former.items():
            if f".{now}." in name:
                state[name.replace(now, before)] = state.pop(name)
    assert any("proj_attn" in name for name in state)
    save_file(state, tmp_path / WEIGHTS)
    assert torch.equal(opened(str(tmp_path)).predict(pictures(), 500).x0_hat, expected)


def test_random_weights_are_an_error_unless_asked_for(tmp_path):
    save(unet(), Schedule(), "epsilon", tmp_path)
    with pytest.raises(PriorError, match=r"does not denoise: on a smooth 16 x 16 picture .*sanity_check=false"):
        load(str(tmp_path))
    assert load(str(tmp_path), sanity_check=False).settings == {}


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
