"""PiGDM, MMPS and MCG under a Gaussian prior, clipping off, against the account of exact_gradient: whole trajectories
fed the same noise to 1e-6, mean and covariance of the output to 4 digits; and where they tend to as steps grow."""

import functools
import math
import weakref
from pathlib import Path

import exact_gradient as exact
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from test_samplers_exact import PRIOR, truth
from test_solvers import Hidden

from exact import Chosen
from safari_bench import operators as ops
from safari_bench.diffusion import Counted, Schedule
from safari_bench.priors.gaussian import GaussianPrior, Spectrum
from safari_bench.rng import Streams
from safari_bench.samplers import MCG, MMPS, DiffPIR, PiGDM, PnPADMM, Problem

SHAPE = (3, 4, 8)
N = math.prod(SHAPE)
IDS = ("a", "b")
OPERATORS = {
    "denoising": ops.Denoising,
    "inpainting": functools.partial(ops.RandomInpainting, fraction=0.6),
    "sr": functools.partial(ops.BicubicDownsample, factor=4),
    "pool": functools.partial(ops.AveragePool, factor=2),
    "blur": functools.partial(ops.GaussianBlur, taps=5, std=1.0, boundary="reflect"),
    "small_blur": functools.partial(ops.GaussianBlur, taps=3, std=0.6, boundary="reflect"),
    "motion": functools.partial(ops.MotionBlur, taps=3, intensity=0.5),  # a complex basis
}
TASKS = ["denoising", "inpainting", "sr", "blur", "motion"]


@functools.cache
def diffusion() -> exact.Diffusion:
    return exact.Diffusion(truth(SHAPE).mean, truth(SHAPE).covariance)


@functools.cache
def setting(task: str, sigma_y: float, ids: tuple[str, ...] = IDS, shape: tuple[int, int, int] = SHAPE, prior=PRIOR):
    """One operator and the measurements of a batch of different images, masks and kernels."""
    streams = Streams(0, "test", ids, dtype=torch.float64)
    operator = OPERATORS[task](shape, streams)
    y = operator.A(prior.sample(streams.normal("truth", shape)))
    noise = sigma_y * streams.normal("measurement", y.shape[1:])
    return operator, y + (noise if operator.observed is None else noise * operator.observed)


@functools.cache
def dense(task: str, image_id: str, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    operator = OPERATORS[task](shape, Streams(0, "test", [image_id], dtype=torch.float64))
    units = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, 1, *shape)
    return torch.stack([operator.A(e)[0].flatten() for e in units], 1).numpy()


def drawn(steps: int, seed: int = 1) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    size = (len(IDS), *SHAPE)
    return {
        "x_T": [rng.normal(size=size)],
        "step": [rng.normal(size=size) for _ in range(steps)],
        "reference": [rng.normal(size=size) for _ in range(steps)],
    }


def of_image(noise, i):
    return {purpose: [z[i].ravel() for z in draws] for purpose, draws in noise.items()}


def preset(name: str) -> dict:
    """The fields that conf/sampler/<name>.yaml sets, with those it builds on."""
    node = OmegaConf.to_container(OmegaConf.load(Path(__file__).parents[2] / "conf" / "sampler" / f"{name}.yaml"))
    fields = {}
    for base in node.pop("defaults", []):
        fields |= {} if base == "_self_" else preset(base)
    return fields | {key: value for key, value in node.items() if key not in ("_target_", "name", "about")}


def account(sampler, A, y, sigma_y, levels):
    """(start, steps) of an affine sampler, for one image."""
    pairs = exact.GRIDS[sampler.spacing](sampler.steps)
    plain = np.zeros(A.shape[1]), np.eye(A.shape[1])
    if isinstance(sampler, PiGDM):
        rules = sampler.eta, sampler.coefficient
        start = exact.pigdm_start(levels, A, y, sigma_y, pairs[0][0], sampler.coefficient)
        return start, [exact.pigdm_step(levels, A, y, sigma_y, t, s, *rules) for t, s in pairs]
    if isinstance(sampler, MMPS):
        return plain, [exact.mmps_step(levels, A, y, sigma_y, t, s, sampler.eta) for t, s in pairs]
    rules = sampler.zeta, sampler.level, sampler.damping
    return plain, [exact.mcg_step(levels, A, y, t, s, *rules) for t, s in pairs]


def assert_same_trajectory(sampler, task, sigma_y, expected=None, hide=False):
    """`expected(A, y, noise)` for one image; the affine account where none is given."""
    operator, y = setting(task, sigma_y)
    noise = drawn(sampler.steps)
    operator = Hidden(operator) if hide else operator
    ours = (
        sampler.restore(Problem(y=y, operator=operator, sigma_y=sigma_y, streams=Chosen(noise)), PRIOR, iter)
        .detach()
        .reshape(-1, N)
        .numpy()
    )
    for i, image_id in enumerate(IDS):
        A, y_i = dense(task, image_id), y[i].numpy().ravel()
        if expected is None:
            truth_i = exact.run(*account(sampler, A, y_i, sigma_y, diffusion()), of_image(noise, i))
        else:
            truth_i = expected(A, y_i, of_image(noise, i))
        assert np.abs(ours[i] - truth_i).max() < 1e-6


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "fields",
    [
        preset("pigdm"),
        preset("pigdm_author_code"),
        {"coefficient": "author_code", "eta": 1.0},
        {"coefficient": "score"},
        {"coefficient": "score", "eta": 0.3, "spacing": "leading"},
    ],
)
def test_trajectory_of_pigdm(fields, task, sigma_y):
    assert_same_trajectory(PiGDM(**(fields | {"steps": 8})), task, sigma_y)


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("fields", [preset("mmps"), {"iterations": 3, "rtol": 0.0, "eta": 0.4}])
def test_trajectory_of_mmps(fields, task, sigma_y):
    sampler = MMPS(**(fields | {"steps": 8}))

    def expected(A, y, noise):
        pairs = exact.GRIDS[sampler.spacing](sampler.steps)
        rules = sampler.eta, sampler.iterations, sampler.rtol
        return exact.mmps_truncated(diffusion(), A, y, sigma_y, noise, pairs, *rules)

    assert_same_trajectory(sampler, task, sigma_y, expected)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("task", TASKS)
def test_trajectory_of_mmps_with_its_inner_problem_solved(task, eta):
    assert_same_trajectory(MMPS(steps=6, iterations=300, rtol=1e-12, eta=eta), task, 0.05)


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["mcg", "mcg_author_code"])
def test_trajectory_of_mcg(name, task, sigma_y):
    sampler = MCG(**(preset(name) | {"steps": 8, "clip": False}))
    pairs = exact.GRIDS[sampler.spacing](sampler.steps)
    rules = sampler.zeta, sampler.level
    assert sampler.step_rule == "normalised"
    assert_same_trajectory(
        sampler, task, sigma_y, lambda A, y, noise: exact.mcg_normalised(diffusion(), A, y, noise, pairs, *rules)
    )


@pytest.mark.parametrize("level", ["next", "current"])
@pytest.mark.parametrize("damping", [0.0, 0.01])
@pytest.mark.parametrize("task", TASKS)
def test_trajectory_of_mcg_with_a_constant_step(task, damping, level):
    fields = {"step_rule": "constant", "zeta": 0.2, "damping": damping, "level": level, "clip": False}
    assert_same_trajectory(MCG(steps=8, **fields), task, 0.05)


def test_trajectory_of_mcg_with_clipping():
    """As the tables run it: the gradient stops where the clip bites."""
    sampler, pairs = MCG(steps=8, zeta=0.7), exact.GRIDS["uniform"](8)
    operator, y = setting("inpainting", 0.05)
    noise = {purpose: [2 * draw for draw in draws] for purpose, draws in drawn(8).items()}
    ours = (
        sampler.restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=Chosen(noise)), PRIOR, iter)
        .reshape(-1, N)
        .numpy()
    )
    arguments = diffusion(), dense("inpainting", "a"), y[0].numpy().ravel(), of_image(noise, 0), pairs, 0.7, "next"
    assert np.abs(ours[0] - exact.mcg_normalised(*arguments, clip=True)).max() < 1e-6
    assert np.abs(ours[0] - exact.mcg_normalised(*arguments)).max() > 1e-2


@pytest.mark.parametrize("sigma_y", [0.05, 0.01, 0.0])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "sampler",
    [
        PiGDM(steps=5),
        PiGDM(steps=5, coefficient="score"),
        MCG(steps=5, damping=0.01),
        DiffPIR(steps=10),
        PnPADMM(steps=10),
    ],
)
def test_conjugate_gradients_do_where_there_is_no_svd(sampler, task, sigma_y):
    operator, y = setting(task, sigma_y)
    with_svd = sampler.restore(
        Problem(y=y, operator=operator, sigma_y=sigma_y, streams=Chosen(drawn(10))), PRIOR, iter
    ).detach()
    without = sampler.restore(
        Problem(y=y, operator=Hidden(operator), sigma_y=sigma_y, streams=Chosen(drawn(10))), PRIOR, iter
    ).detach()
    torch.testing.assert_close(without, with_svd, rtol=0, atol=1e-4)


def moments(sampler, task, sigma_y, prior=PRIOR, shape=SHAPE):
    """Exact mean and covariance of an affine sampler's output: unit vectors through every noise, as one batch."""
    n = math.prod(shape)
    purposes = ["x_T", *["step"] * sampler.steps, *["reference"] * sampler.steps * isinstance(sampler, MCG)]
    batch = 1 + n * len(purposes)
    operator, y = setting(task, sigma_y, ("a",) * batch, shape, prior)
    noise = {"x_T": [], "step": [], "reference": []}
    for k, purpose in enumerate(purposes):
        unit = np.zeros((batch, n))
        unit[1 + k * n : 1 + (k + 1) * n] = np.eye(n)
        noise[purpose].append(unit.reshape(batch, *shape))
    out = (
        sampler.restore(Problem(y=y, operator=operator, sigma_y=sigma_y, streams=Chosen(noise)), prior, iter)
        .detach()
        .reshape(batch, n)
        .numpy()
    )
    B = (out[1:] - out[0]).T
    return (out[0], B @ B.T), y[0].numpy().ravel()


@pytest.mark.parametrize("task", ["inpainting", "sr", "blur", "motion"])
@pytest.mark.parametrize(
    "sampler",
    [
        PiGDM(steps=4),
        PiGDM(**(preset("pigdm_author_code") | {"steps": 4})),
        PiGDM(steps=4, coefficient="score", eta=0.5),
        MMPS(steps=3, iterations=300, rtol=1e-12),
        MCG(steps=4, step_rule="constant", zeta=0.2, clip=False),
        MCG(steps=4, step_rule="constant", zeta=0.2, clip=False, level="current", damping=0.01),
    ],
)
def test_moments(sampler, task):
    ours, y = moments(sampler, task, 0.05)
    expected = exact.moments(*account(sampler, dense(task, "a"), y, 0.05, diffusion()))
    for got, want in zip(ours, expected, strict=True):
        assert np.abs(got - want).max() < 1e-4 * max(np.abs(want).max(), 1e-6)  # MCG: 0 if A is invertible


# Where they tend to. The diffusion is refined: T steps of the same function of t / T, all of them taken.

SMALL = (1, 2, 4)


def white(T: int) -> GaussianPrior:
    """N(0, I) on SMALL, with T noise levels."""
    flat = Spectrum(mean=(0.0,), basis=((1.0,),), mean_variance=(1 / 8,), frequency=(0.1,), power=((1.0,),))
    return GaussianPrior(flat, Schedule(timesteps=T, beta_start=0.1 / T, beta_end=20 / T))


def coloured(T: int) -> GaussianPrior:
    steep = Spectrum(mean=(0.2,), basis=((1.0,),), mean_variance=(0.3,), frequency=(0.1, 0.7), power=((3.0, 0.02),))
    return GaussianPrior(steep, Schedule(timesteps=T, beta_start=0.1 / T, beta_end=20 / T))


@functools.cache
def known(prior) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance, as the prior says itself; test_priors_gaussian checks them against the definition."""
    z = torch.cat([torch.zeros(1, 8), torch.eye(8)]).double().reshape(-1, *SMALL)
    columns = prior(4).sample(z).reshape(9, 8).numpy()
    B = (columns[1:] - columns[0]).T
    return columns[0], B @ B.T


def refined_errors(make, prior, task, sigma_y, counts, longer=1.0):
    """Errors of mean and covariance against the posterior, (len(counts), 2)."""
    A, y = dense(task, "a", SMALL), setting(task, sigma_y, ("a",), SMALL, prior(4))[1][0].numpy().ravel()
    found = []
    for T in counts:
        levels = exact.Diffusion(*known(prior), T=T, longer=longer)
        pairs = [(t, t - 1) for t in range(T)][::-1]
        start, step = account_refined(make, levels, A, y, sigma_y, pairs)
        found.append(exact.errors(exact.moments(start, map(step, pairs)), exact.posterior(levels, A, y, sigma_y)))
    return np.array(found)


def account_refined(make, levels, A, y, sigma_y, pairs):
    sampler = make(len(pairs))
    if isinstance(sampler, PiGDM):
        rules = sampler.eta, sampler.coefficient
        start = exact.pigdm_start(levels, A, y, sigma_y, pairs[0][0], sampler.coefficient)
        return start, lambda pair: exact.pigdm_step(levels, A, y, sigma_y, *pair, *rules)
    return (np.zeros(8), np.eye(8)), lambda pair: exact.mmps_step(levels, A, y, sigma_y, *pair, sampler.eta)


PIGDM = lambda T: PiGDM(steps=T, coefficient="score")  # noqa: E731
MMPS_SOLVED = lambda T: MMPS(steps=T, iterations=100, rtol=1e-12)  # noqa: E731
CLAIMS = {
    "PiGDM, white prior": (PIGDM, white),
    "MMPS, white prior": (MMPS_SOLVED, white),
    "MMPS, coloured prior": (MMPS_SOLVED, coloured),
}


@pytest.mark.parametrize("task", ["denoising", "inpainting", "pool", "small_blur"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_samples_tend_to_the_posterior_at_first_order(claim, task):
    """The covariance's error falls as 1 / steps. The mean is right at every number of steps, but for what the start
    N(0, I) of MMPS leaves out, sqrt(abar_T) times the mean, which a longer diffusion takes away."""
    make, prior = CLAIMS[claim]
    counts = (125, 250, 500, 1000)
    found = refined_errors(make, prior, task, 0.5, counts)
    orders = np.log2(found[:-1, 1] / found[1:, 1])
    print(f"\n{claim}, {task}: mean {found[:, 0]}, covariance {found[:, 1]}, orders {orders.round(3)}")
    assert (np.diff(orders) > -0.01).all()
    assert 0.85 < orders[-1] < 1.1
    assert found[-1, 1] < 0.03
    assert found[:, 0].max() < (1e-12 if claim.startswith("PiGDM") else 1e-4)
    assert refined_errors(make, prior, task, 0.5, [250], longer=2.0)[0, 0] < 1e-8


@pytest.mark.parametrize("sigma_y", [0.05, 0.5])
@pytest.mark.parametrize("claim", CLAIMS)
def test_the_sampler_itself_does_what_the_account_says_of_convergence(claim, sigma_y):
    make, prior = CLAIMS[claim]
    for T in (32, 64):
        ours, y = moments(make(T), "pool", sigma_y, prior(T), SMALL)
        levels = exact.Diffusion(*known(prior), T=T)
        pairs = [(t, t - 1) for t in range(T)][::-1]
        start, step = account_refined(make, levels, dense("pool", "a", SMALL), y, sigma_y, pairs)
        for got, want in zip(ours, exact.moments(start, map(step, pairs)), strict=True):
            assert np.abs(got - want).max() < 1e-6


def test_only_the_score_coefficient_and_only_the_white_prior_make_pigdm_exact():
    """What the claim does not cover stays wrong however many steps are taken, so the orders above mean something."""
    for coefficient, prior in (("paper", white), ("author_code", white), ("score", coloured)):
        make = functools.partial(PiGDM, coefficient=coefficient)
        found = refined_errors(lambda T, make=make: make(steps=T), prior, "denoising", 0.5, (250, 1000)).max(1)
        assert found[1] > 0.05
        assert found[1] > 0.5 * found[0]


def test_backward_passes_of_mmps_are_its_iterations_and_one():
    operator, y = setting("blur", 0.05)
    streams = lambda: Streams(0, "t", IDS, dtype=torch.float64)  # noqa: E731
    for iterations in (1, 4):
        counted = Counted(PRIOR)
        MMPS(steps=3, iterations=iterations, rtol=0.0).restore(
            Problem(y=y, operator=operator, sigma_y=0.05, streams=streams()), counted, iter
        )
        assert (counted.nfe, counted.n_backward) == (3, 3 * (iterations + 1))
    counted = Counted(PRIOR)
    PiGDM(steps=3).restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=streams()), counted, iter)
    assert (counted.nfe, counted.n_backward) == (3, 3)


def test_mcg_with_an_exactly_zero_residual_is_no_nan():
    operator, _ = setting("denoising", 0.0)
    x_T = Streams(0, "t", IDS, dtype=torch.float64).normal("x_T", SHAPE)
    y = PRIOR.predict(x_T, 999, clip=True).x0_hat
    streams = Streams(0, "t", IDS, dtype=torch.float64)
    assert torch.isfinite(
        MCG(steps=5).restore(Problem(y=y, operator=operator, sigma_y=0.0, streams=streams), PRIOR, iter)
    ).all()


def test_mcg_explains_the_measurement_exactly():
    for task in ("inpainting", "sr", "motion"):
        operator, y = setting(task, 0.0)
        streams = Streams(0, "t", IDS, dtype=torch.float64)
        x = MCG(steps=5).restore(Problem(y=y, operator=operator, sigma_y=0.0, streams=streams), PRIOR, iter)
        torch.testing.assert_close(operator.A(x), y, rtol=0, atol=1e-9)


def test_no_step_of_mmps_holds_the_activations_of_the_one_before(monkeypatch):
    """It would take twice their memory: an x0_hat keeps what its backward passes need."""
    operator, y = setting("blur", 0.05)
    counted, before = Counted(PRIOR), []
    original = counted.predict

    def predict(x_t, t, *, clip=False):
        assert all(x0_hat() is None for x0_hat in before)
        prediction = original(x_t, t, clip=clip)
        before.append(weakref.ref(prediction.x0_hat))
        return prediction

    monkeypatch.setattr(counted, "predict", predict)
    MMPS(steps=3).restore(
        Problem(y=y, operator=operator, sigma_y=0.05, streams=Streams(0, "t", IDS, dtype=torch.float64)), counted, iter
    )
    assert len(before) == 3
