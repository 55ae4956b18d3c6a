"""The methods without a diffusion prior, against dense algebra, convexity and what they leave unchanged."""

import functools

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_tv_chambolle

from safari_bench import operators as ops
from safari_bench.diffusion import Counted
from safari_bench.priors.gaussian import load
from safari_bench.rng import Streams
from safari_bench.samplers import Biharmonic, Problem, Sampler, TotalVariation, Wiener

SHAPE = (3, 8, 12)
PRIOR = load()
OPERATORS = {
    "denoising": ops.Denoising,
    "inpaint_random": functools.partial(ops.RandomInpainting, fraction=0.6),
    "inpaint_box": functools.partial(ops.BoxInpainting, hole=3, margin=1),
    "sr_x4": functools.partial(ops.BicubicDownsample, factor=4),
    "deblur_motion": functools.partial(ops.MotionBlur, taps=3, intensity=0.5),
}
METHODS = {
    "wiener": Wiener(gaussian=PRIOR),
    "tv": TotalVariation(weight=0.05, iterations=20),
    "biharmonic": Biharmonic(),
}


def measured(operator: str, ids: list[str], sigma_y: float):
    streams = Streams(0, "classical", ids, dtype=torch.float64)
    forward = OPERATORS[operator](SHAPE, streams)
    x = PRIOR.sample(streams.normal("truth", SHAPE)).clamp(-1, 1)
    y = forward.A(x)
    noise = sigma_y * streams.normal("measurement", y.shape[1:])
    return forward, y + (noise if forward.observed is None else noise * forward.observed), streams


def restored(method: Sampler, operator: str, ids: list[str], sigma_y: float = 0.05) -> torch.Tensor:
    forward, y, streams = measured(operator, ids, sigma_y)
    method.check(forward)
    counted = Counted(PRIOR)
    x_hat = method.restore(Problem(y=y, operator=forward, sigma_y=sigma_y, streams=streams), counted, iter)
    assert counted.nfe == 0 and not method.uses_prior
    return x_hat


def dense(apply, shape: tuple[int, ...]) -> np.ndarray:
    units = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    return np.stack([apply(unit[None])[0].numpy().ravel() for unit in units], 1)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("sigma_y", [0.05, 0.5])
def test_wiener_is_the_posterior_mean(operator, sigma_y):
    forward, y, _ = measured(operator, ["a"], sigma_y)
    A, C = dense(forward.A, SHAPE), dense(PRIOR.covariance, SHAPE)
    mu = PRIOR.mean(torch.zeros(1, *SHAPE, dtype=torch.float64)).numpy().ravel()
    gain = C @ A.T @ np.linalg.inv(A @ C @ A.T + sigma_y**2 * np.eye(len(A)))
    expected = mu + gain @ (y.numpy().ravel() - A @ mu)
    found = restored(METHODS["wiener"], operator, ["a"], sigma_y)
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=2e-4)


def test_the_covariance_is_that_of_the_prior_that_predict_speaks_for():
    """E[x | x_t] = mu + sqrt(abar) C (abar C + (1 - abar) I)^-1 (x_t - sqrt(abar) mu), with the dense C."""
    C, t = dense(PRIOR.covariance, SHAPE), 300
    abar = PRIOR.schedule.abar(t)
    x_t = Streams(0, "x", ["a"], dtype=torch.float64).normal("x", SHAPE)
    mu = PRIOR.mean(x_t).numpy().ravel()
    G = np.sqrt(abar) * C @ np.linalg.inv(abar * C + (1 - abar) * np.eye(len(C)))
    expected = mu + G @ (x_t.numpy().ravel() - np.sqrt(abar) * mu)
    np.testing.assert_allclose(PRIOR.predict(x_t, t).x0_hat.numpy().ravel(), expected, atol=1e-9)


def objective(forward, y: torch.Tensor, x: torch.Tensor, weight: float) -> float:
    """Half the squared residual plus the isotropic total variation of each channel, forward differences."""
    down = torch.diff(x, dim=-2, append=x[..., -1:, :])
    right = torch.diff(x, dim=-1, append=x[..., -1:])
    return float((forward.A(x) - y).square().sum() / 2 + weight * (down.square() + right.square()).sqrt().sum())


@pytest.mark.parametrize("operator", OPERATORS)
def test_total_variation_is_at_its_minimum(operator):
    """The objective is convex: a point that no step from it improves is a minimum.

    Up to 5 %: scikit-image stops its inner iterations when they change little, and SR x4 asks it for a weight of 0.8.
    """
    forward, y, streams = measured(operator, ["a"], 0.05)
    x_hat = restored(TotalVariation(weight=0.05, iterations=300), operator, ["a"])
    least = objective(forward, y, x_hat, 0.05)
    others = [forward.baseline(y), torch.zeros_like(x_hat), x_hat.mean().expand_as(x_hat), PRIOR.mean(x_hat)]
    others += [restored(TotalVariation(weight=w, iterations=300), operator, ["a"]) for w in (0.01, 0.25)]
    for other in others:
        for length in (1.0, 0.3, 0.1):
            assert objective(forward, y, x_hat + length * (other - x_hat), 0.05) > 0.95 * least
    for _ in range(20):
        step = 0.02 * streams.normal("try", SHAPE)
        assert objective(forward, y, x_hat + step, 0.05) > least


def test_total_variation_of_plain_denoising_is_scikit_images():
    _, y, _ = measured("denoising", ["a"], 0.05)
    expected = denoise_tv_chambolle(y[0].numpy(), weight=0.05, channel_axis=0)
    found = restored(METHODS["tv"], "denoising", ["a"])[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("operator", ["inpaint_random", "inpaint_box"])
def test_biharmonic_keeps_what_is_known_and_continues_a_ramp(operator):
    streams = Streams(0, "classical", ["a"], dtype=torch.float64)
    forward = OPERATORS[operator](SHAPE, streams)
    ramp = torch.linspace(-0.5, 0.7, 12, dtype=torch.float64).expand(1, *SHAPE)
    y = forward.A(ramp)
    x_hat = Biharmonic().restore(Problem(y=y, operator=forward, sigma_y=0.0, streams=streams), PRIOR, iter)
    torch.testing.assert_close(forward.A(x_hat), y, rtol=0, atol=1e-12)
    hole = (1 - forward.observed).expand(1, *SHAPE).bool()
    assert hole.any() and (x_hat - ramp)[hole].abs().max() < 0.1  # zero, the measurement's value there, is 0.7 off


def test_biharmonic_refuses_what_has_no_hole():
    with pytest.raises(ops.Unsupported, match="has none"):
        restored(METHODS["biharmonic"], "sr_x4", ["a"])
