"""The schedule and its steps against diffusers' schedulers, an implementation that shares no code with ours."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from safari_bench.diffusion import EpsDenoiser, Schedule, VDenoiser
from safari_bench.rng import Streams

SCHEDULE = Schedule()
REFERENCE = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=2e-2, beta_schedule="linear", clip_sample=False)


def images(purpose: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return Streams(0, "test", ["a", "b"], dtype=dtype).normal(purpose, (3, 4, 6))


def test_levels_against_diffusers():
    alphas = DDPMScheduler(**REFERENCE).alphas_cumprod.double()
    ours = torch.tensor([SCHEDULE.abar(t) for t in range(1000)], dtype=torch.float64)
    torch.testing.assert_close(ours, alphas, rtol=2e-5, atol=0)  # diffusers accumulates in float32
    assert SCHEDULE.abar(-1) == 1.0
    assert math.isclose(SCHEDULE.sigma(999), math.sqrt(1 / SCHEDULE.abar(999) - 1))


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large", "learned_range"])
@pytest.mark.parametrize("t", [999, 500, 7, 1])
def test_ddpm_step_against_diffusers(variance, t):
    """Adjacent timesteps, as diffusers takes them with all 1000."""
    fraction = torch.rand(2, 3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    reference = DDPMScheduler(**REFERENCE, variance_type=variance)
    reference.set_timesteps(1000)
    x_t, eps = images("x_t"), images("eps")
    output = torch.cat([eps, 2 * fraction - 1], 1) if variance == "learned_range" else eps
    z = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = reference.step(output, t, x_t, generator=torch.Generator().manual_seed(3)).prev_sample
    x0_hat = (x_t - math.sqrt(1 - SCHEDULE.abar(t)) * eps) / math.sqrt(SCHEDULE.abar(t))
    ours = SCHEDULE.ddpm_step(x_t, x0_hat, t, t - 1, z, variance, fraction)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=2e-4)  # float32 levels in diffusers


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_step_against_diffusers(eta, steps):
    reference = DDIMScheduler(**REFERENCE, set_alpha_to_one=True, timestep_spacing="leading")
    reference.set_timesteps(steps)
    stride = 1000 // steps
    x_t, eps, z = images("x_t"), images("eps"), images("z")
    for t in (stride * (steps - 1), stride * (steps // 2), 0):
        s = t - stride if t > 0 else -1
        expected = reference.step(eps, t, x_t, eta=eta, variance_noise=z).prev_sample
        x0_hat = (x_t - math.sqrt(1 - SCHEDULE.abar(t)) * eps) / math.sqrt(SCHEDULE.abar(t))
        ours = SCHEDULE.ddim_step(x0_hat, eps, t, s, eta, z)
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("t", "s"), [(999, 900), (500, 499), (30, 10), (12, -1)])
def test_ddim_with_eta_one_is_ddpm_with_fixed_small(t, s):
    x_t, eps, z = images("x_t"), images("eps"), images("z")
    x0_hat = (x_t - math.sqrt(1 - SCHEDULE.abar(t)) * eps) / math.sqrt(SCHEDULE.abar(t))
    ddpm = SCHEDULE.ddpm_step(x_t, x0_hat, t, s, z)
    torch.testing.assert_close(SCHEDULE.ddim_step(x0_hat, eps, t, s, 1.0, z), ddpm, rtol=1e-10, atol=1e-10)


def test_steps_keep_the_marginal_variance():
    """If x0_hat and eps are the true ones, every eta leaves x_s with abar_s signal and 1 - abar_s noise."""
    for eta in (0.0, 0.3, 1.0):
        for t, s in SCHEDULE.pairs(13):
            c1, c2 = SCHEDULE.ddim_coefficients(t, s, eta)
            assert math.isclose(c1**2 + c2**2, 1 - SCHEDULE.abar(s), abs_tol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 250, 999, 1000])
def test_uniform_grid_keeps_both_ends(steps):
    pairs = SCHEDULE.pairs(steps)
    times = [t for t, _ in pairs]
    assert len(times) == len(set(times)) == steps
    assert times[0] == 999
    assert pairs[-1][1] == -1
    assert [s for _, s in pairs[:-1]] == times[1:]
    if steps > 1:
        assert times[-1] == 0
        exact = np.linspace(999, 0, steps)
        assert np.abs(np.array(times) - exact).max() <= 0.5


def test_other_grids():
    assert [t for t, _ in SCHEDULE.pairs(10, "leading")] == [900, 800, 700, 600, 500, 400, 300, 200, 100, 0]
    assert [t for t, _ in SCHEDULE.pairs(5, "quadratic")] == [999, 499, 292, 133, 0]
    with pytest.raises(ValueError, match="repeats timesteps"):
        SCHEDULE.pairs(900, "quadratic")


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_step_counts_are_refused(steps):
    with pytest.raises(ValueError, match="expected 1 to 1000"):
        SCHEDULE.pairs(steps)


def test_nearest_is_nearest():
    sigmas = np.array([SCHEDULE.sigma(t) for t in range(1000)])
    for sigma in (0.0, 0.05, 0.5, 2.0, 1e3):
        t = SCHEDULE.nearest(sigma)
        assert abs(sigmas[t] - sigma) == np.abs(sigmas - sigma).min()


@pytest.mark.parametrize("clip", [False, True])
def test_adapters_agree_on_the_same_truth(clip):
    """A network that knows the truth, asked for eps and for v, gives the same prediction."""
    t, x, eps = 400, 1.5 * images("x"), images("eps")
    abar = SCHEDULE.abar(t)
    x_t = SCHEDULE.add_noise(x, t, eps)
    v = math.sqrt(abar) * eps - math.sqrt(1 - abar) * x
    by_eps = EpsDenoiser(lambda x_t, t: eps, SCHEDULE).predict(x_t, t, clip=clip)
    by_v = VDenoiser(lambda x_t, t: v, SCHEDULE).predict(x_t, t, clip=clip)
    expected = x.clamp(-1, 1) if clip else x
    for prediction in (by_eps, by_v):
        torch.testing.assert_close(prediction.x0_hat, expected)
        # the pair is consistent, also when clipped: noising x0_hat with eps_hat gives x_t back
        torch.testing.assert_close(SCHEDULE.add_noise(prediction.x0_hat, t, prediction.eps_hat), x_t)
        assert prediction.var_fraction is None


def test_learned_variance_is_split_off_and_mapped():
    network = lambda x_t, t: torch.cat([0 * x_t, torch.full_like(x_t, 0.5)], 1)  # noqa: E731
    prediction = EpsDenoiser(network, SCHEDULE).predict(images("x_t"), 10)
    torch.testing.assert_close(prediction.var_fraction, torch.full_like(images("x_t"), 0.75))


def test_wrong_channel_count_is_refused():
    with pytest.raises(ValueError, match="returned 4 channels for images of 3"):
        EpsDenoiser(lambda x_t, t: torch.zeros(2, 4, 4, 6), SCHEDULE).predict(images("x_t"), 10)
