"""The check that turns random weights into an error: what denoises passes, what does not is refused."""

import math

import numpy as np
import pytest
import torch

from safari_bench.diffusion import EpsDenoiser, Schedule, VDenoiser
from safari_bench.priors import gaussian
from safari_bench.priors.files import PriorError
from safari_bench.priors.sanity import check, smooth


@pytest.mark.parametrize("side", [32, 64])
def test_a_prior_in_closed_form_passes(side):
    check(gaussian.load(), side, "gaussian")


@pytest.mark.parametrize(
    ("kind", "network", "ratio"),
    [
        (EpsDenoiser, lambda x, t: torch.zeros_like(x), r"1 times"),
        (EpsDenoiser, lambda x, t: torch.full_like(x, torch.nan), r"nan times"),
        (EpsDenoiser, lambda x, t: torch.cat([torch.zeros_like(x)] * 2, 1), r"1 times"),
        (VDenoiser, lambda x, t: torch.zeros_like(x), r"0\.9\d* times"),  # its x0_hat is x_t a little smaller
        (VDenoiser, lambda x, t: 0.3 * torch.roll(x, 1, 3), r"[\d.]+ times"),
    ],
    ids=["zero", "nan", "zero with a variance", "zero v", "nonsense"],
)
def test_what_does_not_denoise_is_refused(kind, network, ratio):
    with pytest.raises(PriorError, match=f"weights.pt: this prior does not denoise.*squared error is {ratio}"):
        check(kind(network, Schedule()), 32, "weights.pt")


def test_the_wrong_kind_of_prediction_is_refused():
    """A network that knows the answer, its v taken for noise and its noise for v."""
    schedule, x = Schedule(), smooth(32)

    def noise(x_t, t):
        abar = schedule.abar(int(t[0]))
        return (x_t - math.sqrt(abar) * x) / math.sqrt(1 - abar)

    def v(x_t, t):
        abar = schedule.abar(int(t[0]))
        return math.sqrt(abar) * noise(x_t, t) - math.sqrt(1 - abar) * x

    check(EpsDenoiser(noise, schedule), 32, "eps")
    check(VDenoiser(v, schedule), 32, "v")
    with pytest.raises(PriorError, match="does not denoise"):
        check(VDenoiser(lambda x_t, t: -noise(x_t, t), schedule), 32, "wrong sign")


def test_the_picture_is_smooth_and_has_three_different_channels():
    x = smooth(64).numpy()[0]
    assert np.abs(np.diff(x, axis=1)).max() < 0.05 and np.abs(np.diff(x, axis=2)).max() < 0.05
    assert np.abs(x).max() <= 0.7 + 1e-6
    assert min(np.abs(x[i] - x[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.5
