"""Two kinds of truth under a Gaussian prior, clipping off.

(a) The whole trajectory against an independent float64 account fed the same noise: 1e-6.
(b) Where the update is affine, mean and covariance of the output, taken from the sampler by sending unit vectors
    through it, against the exact recursion: 4 digits.
"""

import functools
import math

import numpy as np
import pytest
import torch

from exact import Chosen, GaussianTruth, ddim, ddim_step, dps, dps_step, propagate, psi_matrix
from safari_bench.fidelity import Perceptual
from safari_bench.operators import BicubicDownsample, Denoising, GaussianBlur, MotionBlur, RandomInpainting
from safari_bench.priors.gaussian import GaussianPrior, Spectrum
from safari_bench.rng import Streams
from safari_bench.samplers import DPS, Problem, SaFaRI, Unconditional

SHAPE = (3, 8, 12)
N = math.prod(SHAPE)
PRIOR = GaussianPrior(
    Spectrum(
        mean=(0.1, -0.2, 0.0),
        basis=((0.6, -0.8, 0.0), (0.8, 0.6, 0.0), (0.0, 0.0, 1.0)),
        mean_variance=(0.05, 0.03, 0.01),
        frequency=(0.05, 0.7),
        power=((4.0, 0.05), (1.0, 0.03), (0.5, 0.02)),
    )
)
OPERATORS = {
    "denoising": Denoising,
    "inpainting": functools.partial(RandomInpainting, fraction=0.6),
    "sr": functools.partial(BicubicDownsample, factor=4),
    "blur": functools.partial(GaussianBlur, taps=5, std=1.0, boundary="reflect"),
    "motion": functools.partial(MotionBlur, taps=5, intensity=0.5),
}
WEIGHTS = {
    "dps": dict(pixel=1.0),
    "spatial": dict(spatial=1.0, factor=2),
    "frequency": dict(low=1.0, high=0.3, cutoff=0.5),
    "full": dict(pixel=0.2, spatial=0.7, low=1.3, high=0.4, cutoff=0.4, factor=3),
}


@functools.cache
def truth(shape: tuple[int, int, int] = SHAPE) -> GaussianTruth:
    """Mean and covariance of the prior, as it says itself; test_priors_gaussian checks them against the definition."""
    n = math.prod(shape)
    columns = (
        PRIOR.sample(torch.cat([torch.zeros(1, n), torch.eye(n)]).double().reshape(-1, *shape))
        .reshape(n + 1, n)
        .numpy()
    )
    B = (columns[1:] - columns[0]).T
    return GaussianTruth(columns[0], B @ B.T)


def setting(name: str, sigma_y: float, batch: int):
    """One operator for a batch of copies of one image, its dense matrix, and a measurement."""
    one = Streams(0, "test", ["a"], dtype=torch.float64)
    copies = Streams(0, "test", ["a"] * batch, dtype=torch.float64)
    operator = OPERATORS[name](SHAPE, copies)
    single = OPERATORS[name](SHAPE, Streams(0, "test", ["a"], dtype=torch.float64))
    columns = [single.A(e.reshape(1, *SHAPE)).flatten() for e in torch.eye(N, dtype=torch.float64)]
    A = torch.stack(columns, 1).numpy()
    y = single.A(PRIOR.sample(one.normal("truth", SHAPE)))
    y = y + sigma_y * one.normal("measurement", y.shape[1:]) * (1 if single.observed is None else single.observed)
    return operator, A, y


def drawn(steps: int, batch: int, seed: int = 1) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {
        "x_T": [rng.normal(size=(batch, *SHAPE))],
        "step": [rng.normal(size=(batch, *SHAPE)) for _ in range(steps)],
    }


def of_image(noise, i):
    return {"x_T": noise["x_T"][0][i].ravel(), "step": [z[i].ravel() for z in noise["step"]]}


@pytest.mark.parametrize(("sigma_y", "rule"), [(0.0, "constant"), (0.05, "normalised")])
@pytest.mark.parametrize("guidance", WEIGHTS)
@pytest.mark.parametrize("task", OPERATORS)
def test_trajectory_of_dps_and_safari(task, guidance, sigma_y, rule):
    steps, batch = 12, 2
    zeta = 0.7 if rule == "normalised" else 0.05
    operator, A, y = setting(task, sigma_y, batch)
    noise = drawn(steps, batch)
    method = DPS if guidance == "dps" else SaFaRI
    sampler = method(steps=steps, zeta=zeta, step_rule=rule, clip=False, fidelity=Perceptual(**WEIGHTS[guidance]))
    ours = sampler.restore(
        Problem(y=y.expand(batch, *y.shape[1:]), operator=operator, sigma_y=sigma_y, streams=Chosen(noise)), PRIOR, iter
    )
    M = psi_matrix(tuple(y.shape[1:]), **WEIGHTS[guidance])
    for i in range(batch):
        expected = dps(truth(), A, y.numpy().ravel(), M, zeta, rule, of_image(noise, i), steps)
        assert np.abs(ours[i].numpy().ravel() - expected).max() < 1e-6


@pytest.mark.parametrize("guidance", ["dps", "full"])
@pytest.mark.parametrize("task", ["inpainting", "sr"])
def test_trajectory_with_clipping(task, guidance):
    """As the tables run it: x0_hat is clipped before the gradient, which then stops where the clip bites."""
    steps, zeta = 12, 0.7
    operator, A, y = setting(task, 0.05, 1)
    noise = {purpose: [2 * draw for draw in draws] for purpose, draws in drawn(steps, 1).items()}  # clips often
    sampler = SaFaRI(steps=steps, zeta=zeta, fidelity=Perceptual(**WEIGHTS[guidance]))
    ours = (
        sampler.restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=Chosen(noise)), PRIOR, iter)
        .numpy()
        .ravel()
    )
    M = psi_matrix(tuple(y.shape[1:]), **WEIGHTS[guidance])
    arguments = (truth(), A, y.numpy().ravel(), M, zeta, "normalised", of_image(noise, 0), steps)
    assert np.abs(ours - dps(*arguments, clip=True)).max() < 1e-6
    assert np.abs(ours - dps(*arguments, clip=False)).max() > 1e-2  # the clip mattered


@pytest.mark.parametrize("variance", ["auto", "learned_range", "fixed_small"])
def test_a_learned_variance_is_used_where_the_prior_has_one(variance):
    class Learned:
        schedule = PRIOR.schedule
        sha256 = ""

        def predict(self, x_t, t, *, clip=False):
            return PRIOR.predict(x_t, t, clip=clip)._replace(var_fraction=torch.full_like(x_t, 0.3))

    operator, A, y = setting("denoising", 0.05, 1)
    noise = drawn(8, 1)
    ours = DPS(steps=8, clip=False, variance=variance).restore(
        Problem(y=y, operator=operator, sigma_y=0.05, streams=Chosen(noise)), Learned(), iter
    )
    fraction = None if variance == "fixed_small" else 0.3
    expected = dps(truth(), A, y.numpy().ravel(), np.eye(N), 1.0, "normalised", of_image(noise, 0), 8, False, fraction)
    assert np.abs(ours.numpy().ravel() - expected).max() < 1e-6


def test_a_learned_variance_cannot_be_asked_of_a_prior_that_has_none():
    operator, _, y = setting("denoising", 0.05, 1)
    with pytest.raises(ValueError, match="predicts no variance"):
        DPS(steps=3, variance="learned_range").restore(
            Problem(y=y, operator=operator, sigma_y=0.05, streams=Chosen(drawn(3, 1))), PRIOR, iter
        )


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_trajectory_of_unconditional(eta, clip):
    operator, _, y = setting("denoising", 0.05, 2)
    noise = drawn(15, 2)
    sampler = Unconditional(steps=15, eta=eta, clip=clip)
    ours = sampler.restore(
        Problem(y=y.expand(2, *SHAPE), operator=operator, sigma_y=0.05, streams=Chosen(noise)), PRIOR, iter
    )
    for i in range(2):
        assert np.abs(ours[i].numpy().ravel() - ddim(truth(), eta, of_image(noise, i), 15, clip)).max() < 1e-6


def output_moments(sampler, operator_name, steps, sigma_y=0.05):
    """Exact mean and covariance of an affine sampler: unit vectors through every noise it draws, as one batch."""
    batch = 1 + N * (1 + steps)
    operator, A, y = setting(operator_name, sigma_y, batch)
    unit = np.zeros((1 + steps, batch, N))
    for k in range(1 + steps):
        unit[k, 1 + k * N : 1 + (k + 1) * N] = np.eye(N)
    unit = unit.reshape(1 + steps, batch, *SHAPE)
    noise = {"x_T": [unit[0]], "step": list(unit[1:])}
    out = sampler.restore(
        Problem(
            y=y.expand(batch, *y.shape[1:]).contiguous(), operator=operator, sigma_y=sigma_y, streams=Chosen(noise)
        ),
        PRIOR,
        iter,
    )
    out = out.reshape(batch, N).numpy()
    B = (out[1:] - out[0]).T
    return out[0], B @ B.T, A, y.numpy().ravel()


def assert_four_digits(ours, expected):
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("guidance", WEIGHTS)
@pytest.mark.parametrize("task", ["inpainting", "sr", "blur"])
def test_moments_of_constant_step_dps_and_safari(task, guidance):
    steps, zeta = 5, 0.05
    method = DPS if guidance == "dps" else SaFaRI
    sampler = method(steps=steps, zeta=zeta, step_rule="constant", clip=False, fidelity=Perceptual(**WEIGHTS[guidance]))
    mean, covariance, A, y = output_moments(sampler, task, steps)
    shape = (3, 2, 3) if task == "sr" else SHAPE
    M = psi_matrix(shape, **WEIGHTS[guidance])
    expected_mean, expected_covariance = propagate(truth(), dps_step(A, y, M, zeta), N, steps)
    assert_four_digits(mean, expected_mean)
    assert_four_digits(covariance, expected_covariance)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_moments_of_unconditional(eta):
    mean, covariance, _, _ = output_moments(Unconditional(steps=6, eta=eta, clip=False), "denoising", 6)
    expected_mean, expected_covariance = propagate(truth(), ddim_step(eta), N, 6)
    assert_four_digits(mean, expected_mean)
    assert_four_digits(covariance, expected_covariance)


def test_unconditional_tends_to_the_prior_as_steps_grow():
    """The exact recursion, not draws: the covariance's error falls at first order; at 1000 steps it is below 2 %."""
    errors = []
    prior = truth((3, 4, 4))
    for steps in (100, 1000):
        _, covariance = propagate(prior, ddim_step(1.0), 48, steps)
        errors.append(np.linalg.norm(covariance - prior.covariance) / np.linalg.norm(prior.covariance))
    assert errors[1] < 0.02
    assert errors[1] < errors[0] / 5


def test_pixel_guidance_is_dps_to_the_last_bit():
    operator, _, y = setting("sr", 0.05, 2)
    y = y.expand(2, *y.shape[1:])

    def restore(sampler):
        return sampler.restore(
            Problem(y=y, operator=operator, sigma_y=0.05, streams=Streams(0, "t", ["a", "b"], dtype=torch.float64)),
            PRIOR,
            iter,
        )

    dps_image = restore(DPS(steps=20))
    assert torch.equal(restore(SaFaRI(steps=20, fidelity=Perceptual(pixel=1.0))), dps_image)
    both_bands = restore(SaFaRI(steps=20, fidelity=Perceptual(low=1.0, high=1.0)))
    torch.testing.assert_close(both_bands, dps_image, rtol=0, atol=1e-9)


def test_no_weights_are_unconditional_sampling():
    operator, _, y = setting("denoising", 0.05, 1)
    streams = lambda: Streams(0, "t", ["a"], dtype=torch.float64)  # noqa: E731
    free = Unconditional(steps=20).restore(
        Problem(y=y, operator=operator, sigma_y=0.05, streams=streams()), PRIOR, iter
    )
    guided = SaFaRI(steps=20, fidelity=Perceptual()).restore(
        Problem(y=y, operator=operator, sigma_y=0.05, streams=streams()), PRIOR, iter
    )
    torch.testing.assert_close(guided, free, rtol=0, atol=1e-9)


def test_exactly_zero_residual_is_no_nan():
    """y = A x0_hat to the last bit at the first step: the norm has no gradient there."""
    operator, _, _ = setting("denoising", 0.0, 1)
    streams = Streams(0, "t", ["a"], dtype=torch.float64)
    x_T = Streams(0, "t", ["a"], dtype=torch.float64).normal("x_T", SHAPE)
    y = PRIOR.predict(x_T, 999, clip=True).x0_hat
    assert torch.isfinite(
        DPS(steps=5).restore(Problem(y=y, operator=operator, sigma_y=0.0, streams=streams), PRIOR, iter)
    ).all()
