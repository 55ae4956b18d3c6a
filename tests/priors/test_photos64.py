"""The prior that ships: what was promised of it, on test images and without the code that trained it."""

import hashlib
from importlib.resources import files

import pytest
import torch
from omegaconf import OmegaConf

from safari_bench.cli.schema import root
from safari_bench.data import Leaves, Photos
from safari_bench.priors import gaussian
from safari_bench.priors.unet import PriorError, UNetPrior, load

FOLDER = files("safari_bench") / "priors" / "photos64"
WEIGHTS = FOLDER / "diffusion_pytorch_model.safetensors"
SHA256 = OmegaConf.load(root() / "conf" / "prior" / "photos64.yaml").sha256


@pytest.fixture(scope="module")
def prior() -> UNetPrior:
    return load("photos64", SHA256)


def test_its_size_is_as_promised(prior):
    assert len(WEIGHTS.read_bytes()) <= 12 * 2**20
    assert sum(p.numel() for p in prior.network.parameters()) <= 6_000_000


def test_card_configuration_and_file_name_the_same_weights(prior):
    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert prior.sha256 == digest == SHA256
    assert digest in (FOLDER / "card.md").read_text(encoding="utf-8")


def test_other_weights_are_refused():
    with pytest.raises(PriorError, match="expected 0000"):
        load("photos64", "0" * 64)


def test_images_of_another_size_are_warned_of_or_refused(prior, recwarn):
    prior.check((3, 64, 64))
    assert not recwarn
    with pytest.warns(UserWarning, match="trained on 64 x 64"):
        prior.check((3, 256, 256))
    with pytest.raises(ValueError, match="multiples of 16"):
        prior.check((3, 72, 64))


@pytest.mark.parametrize("dataset", [Photos("test", 64, 4), Leaves("test", 64, 4)], ids=["photos", "leaves"])
@pytest.mark.parametrize("level", [0.1, 0.2, 0.5, 1.0, 2.0])
def test_one_step_beats_the_fitted_gaussian(prior, dataset, level):
    """x0_hat of a noisy image, on average over four images; the card has the whole measurement."""
    x = torch.stack([dataset.load(i) for i in range(4)])
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    t = prior.schedule.nearest(level)
    abar = prior.schedule.abar(t)
    x_t = abar**0.5 * x + (1 - abar) ** 0.5 * z

    def psnr(denoiser) -> float:
        with torch.no_grad():
            mse = (denoiser.predict(x_t, t).x0_hat.clamp(-1, 1) - x).square().flatten(1).mean(1)
        return float((10 * torch.log10(4 / mse)).mean())

    assert psnr(prior) > psnr(gaussian.load()) + 0.2
