"""RED-diff, DAPS, DiffPIR and PnP-ADMM against the account of exact_variational: whole trajectories fed the same noise
to 1e-6, mean and covariance to 4 digits where the update is affine."""

import dataclasses
import math
from pathlib import Path

import exact_variational as account
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from test_samplers_exact import PRIOR, SHAPE, N, assert_four_digits, of_image, setting, truth

from exact import Chosen, grid
from safari_bench.diffusion import Prediction
from safari_bench.operators import HighDynamicRange, PhaseRetrieval
from safari_bench.rng import Streams
from safari_bench.samplers import DAPS, DiffPIR, PnPADMM, Problem, REDDiff

TASKS = ["denoising", "inpainting", "sr", "blur", "motion"]
CONF = Path(__file__).parents[2] / "conf" / "sampler"
INFORMATIVE = {"inpainting": 3 * (96 - round(0.6 * 96))}  # entries of y; elsewhere all


def preset(name: str) -> dict:
    """The fields of conf/sampler/<name>.yaml, over those of the file it starts from."""
    values = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    for default in values.pop("defaults", []):
        values = values if default == "_self_" else {**preset(default), **values}
    return {key: value for key, value in values.items() if key not in ("_target_", "name", "about")}


def drawn(steps: int, batch: int = 1, **more: int) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(1)
    counts = {"x_T": 1, "step": steps, **more}
    return {purpose: [rng.normal(size=(batch, *SHAPE)) for _ in range(k)] for purpose, k in counts.items()}


def flat(noise):
    return {**of_image(noise, 0), "langevin": [z[0].ravel() for z in noise.get("langevin", [])]}


NONLINEAR = {"hdr": HighDynamicRange, "phase_retrieval": PhaseRetrieval}


def nonlinear(task: str):
    """An account of a nonlinear operator, the operator, and a measurement with noise of sd 0.05."""
    model = account.Clipped() if task == "hdr" else account.Magnitude(SHAPE)
    streams = Streams(0, "test", ["a"], dtype=torch.float64)
    operator = NONLINEAR[task](SHAPE, streams)
    y = operator.A(PRIOR.sample(streams.normal("truth", SHAPE)))
    return model, operator, y + 0.05 * streams.normal("measurement", y.shape[1:])


def restore(sampler, task, sigma_y, noise):
    """The output, with the dense matrix and the measurement, both flat; every draw must have been asked for."""
    operator, A, y = setting(task, sigma_y, 1)
    streams = Chosen(noise)
    ours = (
        sampler.restore(Problem(y=y, operator=operator, sigma_y=sigma_y, streams=streams), PRIOR, iter).numpy().ravel()
    )
    assert not any(list(streams.noise[purpose]) for purpose in ("step", "langevin") if purpose in streams.noise)
    return ours, A, y.numpy().ravel()


def picture(task, y):
    """What the operator shows of y: y itself, or bicubic upsampling."""
    if task != "sr":
        return y
    low = torch.from_numpy(y).reshape(1, 3, 2, 3)
    up = torch.nn.functional.interpolate(low, size=SHAPE[1:], mode="bicubic", antialias=True)
    return up.numpy().ravel()


def assert_same(ours, expected):
    assert np.abs(ours - expected).max() < 1e-6


class Recorder:
    """A prior that remembers when it was asked, and its first question."""

    schedule = PRIOR.schedule
    sha256 = ""

    def __init__(self):
        self.times = []
        self.first = None

    def predict(self, x_t, t, *, clip=False):
        self.times.append(t)
        self.first = x_t if self.first is None else self.first
        return Prediction(x_t, x_t)


METHODS = {"reddiff": REDDiff, "daps": DAPS, "diffpir": DiffPIR, "pnp_admm": PnPADMM}


@pytest.mark.parametrize("name", METHODS)
def test_a_conf_file_without_a_suffix_holds_the_defaults(name):
    assert {field.name: field.default for field in dataclasses.fields(METHODS[name])} == preset(name)


@pytest.mark.parametrize("name", ["daps", "diffpir", "pnp_admm"])
def test_no_steps_are_refused(name):
    with pytest.raises(ValueError, match="got 0, expected a number in"):
        METHODS[name](steps=0)


# RED-diff


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", TASKS)
def test_trajectory_of_reddiff(task, sigma_y):
    noise = drawn(10)
    ours, A, y = restore(REDDiff(steps=10), task, sigma_y, noise)
    start = account.truncated_pinv(A, y, 3e-2)
    m = INFORMATIVE.get(task, len(y))
    model = account.Linear(A)
    assert_same(ours, account.reddiff(truth(), model, y, start, m, flat(noise), grid(10), 0.25, 0.1))


@pytest.mark.parametrize("task", ["inpainting", "motion"])
def test_trajectory_of_reddiff_as_its_authors_run_it(task):
    """The grid without 999; nine Adam steps for ten, because the tenth is not returned."""
    fields = preset("reddiff_author_code")
    assert (fields["steps"], fields["lr"]) == (100, 0.5)
    noise = drawn(9)
    ours, A, y = restore(REDDiff(**{**fields, "steps": 10}), task, 0.05, noise)
    start = account.truncated_pinv(A, y, 3e-2)
    m = INFORMATIVE.get(task, len(y))
    pairs = account.leading(10)[:-1]
    assert_same(ours, account.reddiff(truth(), account.Linear(A), y, start, m, flat(noise), pairs, 0.25, 0.5))


def test_the_start_of_reddiff_leaves_small_singular_values_out():
    """The blur's smallest gains are under the tolerance: inverting them would start at noise of sd 10 and more."""
    _, A, y = setting("blur", 0.05, 1)
    y = y.numpy().ravel()
    assert np.abs(account.truncated_pinv(A, y, 3e-2)).max() < 5 < np.abs(np.linalg.pinv(A) @ y).max()


@pytest.mark.parametrize("task", NONLINEAR)
def test_trajectory_of_reddiff_on_nonlinear_measurements(task):
    """hdr starts at y / scale, phase retrieval, which has no picture, at noise."""
    model, operator, y = nonlinear(task)
    noise = drawn(10)
    ours = (
        REDDiff(steps=10)
        .restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=Chosen(noise)), PRIOR, iter)
        .numpy()
        .ravel()
    )
    y = y.numpy().ravel()
    start = y / 2 if task == "hdr" else flat(noise)["x_T"]
    assert_same(ours, account.reddiff(truth(), model, y, start, len(y), flat(noise), grid(10), 0.25, 0.1))


# DAPS

SMALL = dict(steps=3, ode_steps=2, langevin_steps=4)


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", TASKS)
def test_trajectory_of_daps(task, sigma_y):
    noise = drawn(3, langevin=12)
    ours, A, y = restore(DAPS(**SMALL), task, sigma_y, noise)
    assert_same(ours, account.daps(truth(), account.Linear(A), y, flat(noise), **SMALL, lr=1e-4, tau=0.01))


@pytest.mark.parametrize("task", NONLINEAR)
def test_trajectory_of_daps_on_nonlinear_measurements(task):
    model, operator, y = nonlinear(task)
    noise = drawn(3, langevin=12)
    sampler = DAPS(**SMALL, lr=2e-5)
    ours = (
        sampler.restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=Chosen(noise)), PRIOR, iter)
        .numpy()
        .ravel()
    )
    assert_same(ours, account.daps(truth(), model, y.numpy().ravel(), flat(noise), **SMALL, lr=2e-5, tau=0.01))


def test_trajectory_of_daps_as_its_authors_run_it():
    """Their data term has no 1/2; the rest of their configuration is that of the paper."""
    fields = preset("daps_author_code")
    assert {**fields, "tau": 0.01} == preset("daps")
    noise = drawn(3, langevin=12)
    ours, A, y = restore(DAPS(**{**fields, **SMALL}), "sr", 0.05, noise)
    code = dict(lr=1e-4, tau=0.01, doubled=True)
    assert_same(ours, account.daps(truth(), account.Linear(A), y, flat(noise), **SMALL, **code))


def test_levels_of_daps_are_those_of_the_paper():
    """200 levels from 100, 5 Euler steps each: 1000 calls, the first at the level nearest 100, the last near 0.01."""

    operator, _, y = setting("denoising", 0.05, 1)
    recorder = Recorder()
    DAPS(**{**preset("daps"), "langevin_steps": 1}).restore(
        Problem(y=y, operator=operator, sigma_y=0.05, streams=Streams(0, "t", ["a"], dtype=torch.float64)),
        recorder,
        iter,
    )
    x_T = Streams(0, "t", ["a"], dtype=torch.float64).normal("x_T", SHAPE)
    start = math.sqrt(1 - account.ABAR[recorder.times[0]]) * x_T  # sqrt(abar_t) sigma_t = sqrt(1 - abar_t)
    torch.testing.assert_close(recorder.first, start, rtol=0, atol=1e-9)
    assert len(recorder.times) == 1000
    levels = account.SIGMA[recorder.times].reshape(200, 5)
    assert levels[0, 0] == pytest.approx(100, rel=0.01)
    assert levels[-1, 0] == pytest.approx((0.1 ** (1 / 7) + (100 ** (1 / 7) - 0.1 ** (1 / 7)) / 200) ** 7, rel=0.02)
    assert (np.diff(levels[:, 0]) <= 0).all()
    assert (np.diff(levels, axis=1) < 0).all()


def response(sampler, task, purposes, sigma_y=0.05):
    """Exact mean and covariance of an affine sampler: unit vectors through every noise it draws, as one batch.

    Args:
        purposes: draws by purpose.
    """
    draws = sum(purposes.values())
    batch = 1 + N * draws
    operator, A, y = setting(task, sigma_y, batch)
    unit = np.zeros((draws, batch, N))
    for k in range(draws):
        unit[k, 1 + k * N : 1 + (k + 1) * N] = np.eye(N)
    left = iter(unit.reshape(draws, batch, *SHAPE))
    noise = {purpose: [next(left) for _ in range(count)] for purpose, count in purposes.items()}
    y_all = y.expand(batch, *y.shape[1:]).contiguous()
    out = (
        sampler.restore(Problem(y=y_all, operator=operator, sigma_y=sigma_y, streams=Chosen(noise)), PRIOR, iter)
        .reshape(batch, N)
        .numpy()
    )
    B = (out[1:] - out[0]).T
    return out[0], B @ B.T, A, y.numpy().ravel()


@pytest.mark.parametrize("task", ["inpainting", "sr", "blur"])
def test_moments_of_daps(task):
    size = dict(steps=2, ode_steps=2, langevin_steps=2)
    mean, covariance, A, y = response(DAPS(**size), task, {"x_T": 1, "langevin": 4, "step": 2})
    expected_mean, expected_covariance = account.daps_moments(truth(), A, y, **size, lr=1e-4, tau=0.01)
    assert_four_digits(mean, expected_mean)
    assert_four_digits(covariance, expected_covariance)


# DiffPIR


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", TASKS)
def test_trajectory_of_diffpir(task, sigma_y):
    noise = drawn(10)
    ours, A, y = restore(DiffPIR(steps=10, clip=False), task, sigma_y, noise)
    assert_same(ours, account.diffpir(truth(), A, y, flat(noise), account.quadratic(10), sigma_y or 0.002, 1.75, 0.3))


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", TASKS)
def test_trajectory_of_diffpir_as_its_authors_run_it(task, sigma_y):
    """In the units of their code: sigma_y on [0, 1] in rho, lambda 7; x starts at y; the last pass changes nothing."""
    noise = drawn(9)
    fields = {**preset("diffpir_author_code"), "steps": 10, "clip": False}
    ours, A, y = restore(DiffPIR(**fields), task, sigma_y, noise)
    chosen = flat(noise)
    chosen["x_T"] = diffpir_start(task, A, y, sigma_y, chosen["x_T"])
    pairs = account.quadratic(10)[:-1]
    assert_same(ours, account.diffpir(truth(), A, y, chosen, pairs, max(0.001, sigma_y / 2), 7.0, 0.3))


@pytest.mark.parametrize("task", ["denoising", "inpainting", "sr"])
def test_start_of_diffpir_as_its_authors_run_it(task):
    """By itself: the trajectory forgets most of it."""
    operator, A, y = setting(task, 0.5, 1)
    noise, recorder = drawn(10), Recorder()
    sampler = DiffPIR(**{**preset("diffpir_author_code"), "steps": 10})
    sampler.restore(Problem(y=y, operator=operator, sigma_y=0.5, streams=Chosen(noise)), recorder, iter)
    expected = diffpir_start(task, A, y.numpy().ravel(), 0.5, flat(noise)["x_T"])
    assert np.abs(recorder.first.numpy().ravel() - expected).max() < 1e-12


def diffpir_start(task, A, y, sigma_y, z):
    """y, whose noise is that of step t_y, or the upsampled y, taken to have none; holes are -1."""
    shown, t_y = picture(task, y), -1 if task == "sr" else account.nearest(sigma_y)
    if task == "inpainting":
        shown = np.where(A.diagonal() > 0, y, -1)
    a_T, a_y = account.ABAR[999], account.ABAR[t_y]
    q = math.sqrt(a_T / a_y)
    return q * shown + math.sqrt(1 - a_T - q**2 * (1 - a_y)) * z


def test_diffpir_is_dense_where_the_noise_is_low():
    assert [t for t, _ in account.quadratic(5)] == [999, 499, 292, 133, 0]
    assert [t for t, _ in account.quadratic(100)][-3:] == [10, 5, 0]


def test_diffpir_clips_before_the_data_step():
    noise = {purpose: [3 * z for z in draws] for purpose, draws in drawn(10).items()}  # clips often
    ours, A, y = restore(DiffPIR(steps=10), "sr", 0.05, noise)
    arguments = (truth(), A, y, flat(noise), account.quadratic(10), 0.05, 1.75, 0.3)
    assert_same(ours, account.diffpir(*arguments, clip=True))
    assert np.abs(ours - account.diffpir(*arguments)).max() > 1e-2


@pytest.mark.parametrize(("task", "zeta"), [("inpainting", 0.3), ("sr", 1.0), ("blur", 0.3)])
def test_moments_of_diffpir(task, zeta):
    sampler = DiffPIR(steps=4, clip=False, zeta=zeta)
    mean, covariance, A, y = response(sampler, task, {"x_T": 1, "step": 4})
    pairs = account.quadratic(4)
    expected_mean, expected_covariance = account.diffpir_moments(truth(), A, y, pairs, 0.05, 1.75, zeta)
    assert_four_digits(mean, expected_mean)
    assert_four_digits(covariance, expected_covariance)


# PnP-ADMM


def geometric(start, end, steps):
    return start * (end / start) ** (np.arange(steps) / (steps - 1))


@pytest.mark.parametrize(("sigma_y", "clip"), [(0.0, False), (0.05, False), (0.05, True)])
@pytest.mark.parametrize("task", TASKS)
def test_trajectory_of_pnp_admm(task, sigma_y, clip):
    ours, A, y = restore(PnPADMM(steps=8, lam=0.7, clip=clip), task, sigma_y, drawn(0))
    lam = 0.7 * (sigma_y or 0.002) ** 2
    arguments = (truth(), A, y[:, None], picture(task, y)[:, None], geometric(10, 0.05, 8))
    assert_same(ours, account.pnp_admm(*arguments, lambda sigma: lam / sigma**2, clip)[:, 0])


@pytest.mark.parametrize("task", TASKS)
def test_trajectory_of_pnp_admm_as_the_baseline_of_dps(task):
    ours, A, y = restore(PnPADMM(**{**preset("pnp_admm_dps_paper"), "clip": False}), task, 0.05, drawn(0))
    arguments = (truth(), A, y[:, None], picture(task, y)[:, None], [0.2] * 12)
    assert_same(ours, account.pnp_admm(*arguments, lambda sigma: 0.2)[:, 0])


def test_pnp_admm_is_affine_in_y():
    """Nothing is drawn, so its covariance given y is 0 and its law over y that of an affine map of y."""
    operator, A, _ = setting("blur", 0.05, N + 1)
    y = np.concatenate([np.zeros((N, 1)), np.eye(N)], 1)
    streams = Streams(0, "t", ["a"] * (N + 1), dtype=torch.float64)
    images = torch.from_numpy(y.T.copy()).reshape(N + 1, *SHAPE)
    ours = (
        PnPADMM(steps=8, clip=False)
        .restore(Problem(y=images, operator=operator, sigma_y=0.05, streams=streams), PRIOR, iter)
        .reshape(N + 1, N)
        .numpy()
        .T
    )
    expected = account.pnp_admm(truth(), A, y, y, geometric(10, 0.05, 8), lambda sigma: 0.05**2 / sigma**2)

    def moments(outputs):
        P = outputs[:, 1:] - outputs[:, :1]
        covariance_of_y = A @ truth().covariance @ A.T + 0.05**2 * np.eye(N)
        return outputs[:, 0] + P @ A @ truth().mean, P @ covariance_of_y @ P.T

    for one, other in zip(moments(ours), moments(expected), strict=True):
        assert_four_digits(one, other)


def test_pnp_admm_finds_the_map_estimate():
    """With the denoiser and rho of one level for long, the fixed point minimises ||y - A x||^2 / 2 sigma_y^2 + g(x)
    for a Gaussian prior: there D(v; sigma) is g's proximal map, and the answer is known."""
    ours, A, y = restore(PnPADMM(steps=400, sigma_max=0.3, sigma_min=0.3, clip=False), "blur", 0.05, drawn(0))
    precision = np.linalg.inv(truth().covariance)
    expected = np.linalg.solve(A.T @ A / 0.05**2 + precision, A.T @ y / 0.05**2 + precision @ truth().mean)
    assert np.abs(ours - expected).max() < 1e-4
