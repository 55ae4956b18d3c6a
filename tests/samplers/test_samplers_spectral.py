"""DDRM, DDNM and ILVR under a Gaussian prior, clipping off, against the account of exact_spectral: whole trajectories
fed the same noise to 1e-6, and mean and covariance of the output to 4 digits; and what their papers promise."""

import functools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from exact_spectral import (
    GRIDS,
    Spectral,
    ddnm_step,
    ddrm_start,
    ddrm_step,
    ilvr_step,
    leading,
    moments,
    resizers,
    run,
    sigma,
)
from omegaconf import OmegaConf
from test_samplers_exact import PRIOR, SHAPE, N, truth

from exact import Chosen, grid
from safari_bench import operators as ops
from safari_bench.rng import Streams
from safari_bench.samplers import DDNM, DDRM, ILVR, Problem

IDS = ["a", "b"]
OPERATORS = {
    "denoising": ops.Denoising,
    "inpainting": functools.partial(ops.RandomInpainting, fraction=0.6),
    "sr": functools.partial(ops.BicubicDownsample, factor=4),
    "pool": functools.partial(ops.AveragePool, factor=2),
    "blur": functools.partial(ops.GaussianBlur, taps=7, std=1.5, boundary="reflect"),
    "motion": functools.partial(ops.MotionBlur, taps=5, intensity=0.5),  # a complex basis
    "box": functools.partial(ops.UniformBlur, taps=4, boundary="circular"),  # rank-deficient
    "walsh": functools.partial(ops.WalshCompressedSensing, ratio=0.5),
}
SPECTRAL_TASKS = ["denoising", "inpainting", "sr", "blur", "motion", "box"]


@functools.cache
def dense(name: str, image_id: str) -> np.ndarray:
    operator = OPERATORS[name](SHAPE, Streams(0, "test", [image_id], dtype=torch.float64))
    return torch.stack([operator.A(e[None])[0].flatten() for e in units()], 1).numpy()


def units() -> torch.Tensor:
    return torch.eye(N, dtype=torch.float64).reshape(N, *SHAPE)


@functools.cache
def setting(name: str, sigma_y: float, ids: tuple[str, ...] = tuple(IDS)):
    """One operator and the measurements of a batch of different images, masks and kernels."""
    streams = Streams(0, "test", ids, dtype=torch.float64)
    operator = OPERATORS[name](SHAPE, streams)
    y = operator.A(PRIOR.sample(streams.normal("truth", SHAPE)))
    noise = sigma_y * streams.normal("measurement", y.shape[1:])
    return operator, y + (noise if operator.observed is None else noise * operator.observed)


@functools.cache
def spectral(name: str, sigma_y: float, i: int) -> Spectral:
    return Spectral(dense(name, IDS[i]), setting(name, sigma_y)[1][i].numpy().ravel())


class Truth:
    """The same affine maps as `truth()`, each inverted once."""

    affine = staticmethod(functools.cache(lambda t: truth().affine(t)))


def preset(name: str) -> dict:
    """The fields that conf/sampler/<name>.yaml sets, with those it builds on."""
    node = OmegaConf.to_container(OmegaConf.load(Path(__file__).parents[2] / "conf" / "sampler" / f"{name}.yaml"))
    fields = {}
    for base in node.pop("defaults", []):
        fields |= {} if base == "_self_" else preset(base)
    return fields | {key: value for key, value in node.items() if key not in ("_target_", "name", "about")}


def drawn(steps: int, seed: int = 1) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {
        "x_T": [rng.normal(size=(len(IDS), *SHAPE))],
        "step": [rng.normal(size=(len(IDS), *SHAPE)) for _ in range(steps)],
        "reference": [rng.normal(size=(len(IDS), *SHAPE)) for _ in range(steps)],
    }


def of_image(noise, i):
    return {purpose: [z[i].ravel() for z in draws] for purpose, draws in noise.items()}


def restore(sampler, name, sigma_y, noise):
    operator, y = setting(name, sigma_y)
    return (
        sampler.restore(Problem(y=y, operator=operator, sigma_y=sigma_y, streams=Chosen(noise)), PRIOR, iter)
        .reshape(len(IDS), N)
        .numpy()
    )


def account(sampler, name, sigma_y, i, var_fraction=None):
    """(pairs, start, steps) of what the sampler should do to image i."""
    pairs = GRIDS[sampler.spacing](sampler.steps)
    plain = np.zeros(N), np.eye(N)
    spectrum = spectral(name, sigma_y, i)
    if isinstance(sampler, DDRM):
        rules = sampler.eta, sampler.eta_b, sampler.at_equality
        start = ddrm_start(spectrum, sigma_y, pairs[0][0], sampler.start)
        return pairs, start, [ddrm_step(spectrum, sigma_y, s, *rules)[0] for _, s in pairs]
    if isinstance(sampler, DDNM):
        return pairs, plain, [ddnm_step(spectrum, sigma_y, s, sampler.eta) for _, s in pairs]
    y = setting(name, sigma_y)[1][i].numpy().ravel()
    if sampler.form == "super_resolution" or (sampler.form == "auto" and name in ("sr", "pool")):
        down, up = resizers(SHAPE, {"sr": 4, "pool": 2}[name])
        projector, reference = up @ down, up @ y
    elif sampler.damping:
        A = dense(name, IDS[i])
        inverse = A.T @ np.linalg.inv(A @ A.T + sampler.damping * np.eye(len(A)))
        projector, reference = inverse @ A, inverse @ y
    else:
        projector, reference = spectrum.matrix(list((spectrum.s > 0) * 1.0)), spectrum.V @ spectrum.ybar
    steps = []
    for i, (t, s) in enumerate(pairs):
        corrected = len(pairs) - 1 - i > sampler.range_t
        steps.append(ilvr_step(projector, reference, t, s, sampler.level, corrected, var_fraction))
    return pairs, plain, steps


def assert_same_trajectory(sampler, name, sigma_y, clip=False, seed=1):
    noise = drawn(sampler.steps, seed)
    ours = restore(sampler, name, sigma_y, noise)
    for i in range(len(IDS)):
        expected = run(Truth, *account(sampler, name, sigma_y, i), of_image(noise, i), clip)
        assert np.abs(ours[i] - expected).max() < 1e-6


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", SPECTRAL_TASKS)
@pytest.mark.parametrize("fields", ["ddrm", "ddrm_author_code", "other"])
def test_trajectory_of_ddrm(fields, task, sigma_y):
    values = {"eta": 0.3, "eta_b": 0.6} if fields == "other" else preset(fields)
    assert_same_trajectory(DDRM(**values | {"steps": 8}), task, sigma_y)


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", SPECTRAL_TASKS)
@pytest.mark.parametrize("fields", ["ddnm", "ddnm_author_code", "other"])
def test_trajectory_of_ddnm(fields, task, sigma_y):
    values = {"eta": 0.3} if fields == "other" else preset(fields)
    assert_same_trajectory(DDNM(**values | {"steps": 8}), task, sigma_y)


@pytest.mark.parametrize("sigma_y", [0.0, 0.05])
@pytest.mark.parametrize("task", [*SPECTRAL_TASKS, "pool"])
@pytest.mark.parametrize("fields", ["ilvr", "ilvr_author_code", "projection", "damped"])
def test_trajectory_of_ilvr(fields, task, sigma_y):
    other = {"projection": {"form": "projection"}, "damped": {"form": "projection", "damping": 0.01, "range_t": 3}}
    values = other[fields] if fields in other else preset(fields)
    if fields == "ilvr_author_code":
        values = values | {"range_t": 1}  # of 8 steps; 20 of 100 in the preset
    assert_same_trajectory(ILVR(**values | {"steps": 8, "clip": False}), task, sigma_y)


@pytest.mark.parametrize("sampler", [DDRM(steps=10, clip=True), DDNM(steps=10, clip=True), ILVR(steps=10)])
def test_trajectory_with_clipping(sampler):
    assert_same_trajectory(sampler, "inpainting", 0.05, clip=True)


def test_paper_presets_are_the_defaults():
    assert DDRM(**preset("ddrm")) == DDRM()
    assert DDNM(**preset("ddnm")) == DDNM()
    assert ILVR(**preset("ilvr")) == ILVR()


def test_ddrm_meets_every_rule():
    """The settings above are worth comparing on: no rule, and neither start, is left out."""
    met, starts = set(), set()
    for task in ("sr", "blur"):
        for sigma_y in (0.0, 0.05):
            spectrum = spectral(task, sigma_y, 0)
            starts |= set(sigma(999) >= sigma_y / spectrum.s[spectrum.s > 0])
            for _, s in leading(10):
                met |= ddrm_step(spectrum, sigma_y, s, 0.85, 1.0, "prior")[1]
    assert met == {"unseen", "equal", "noisier", "cleaner"}
    assert starts == {True, False}


@pytest.mark.parametrize("start", ["sqrt_abar", "inverse_sigma"])
@pytest.mark.parametrize("task", ["sr", "blur", "motion"])
def test_start_of_ddrm(task, start):
    """Two steps from t = 500 with much noise: long trajectories forget where they started."""
    assert_same_trajectory(DDRM(steps=2, spacing="leading", start=start), task, 0.5)


@pytest.mark.parametrize("at_equality", ["measurement", "prior"])
def test_ddrm_at_equal_noise_before_the_last_step(at_equality):
    sigma_y = sigma(400)  # on the grid of 10 leading steps
    assert_same_trajectory(DDRM(steps=10, spacing="leading", at_equality=at_equality), "denoising", sigma_y)


def test_a_learned_variance_is_used_where_the_prior_has_one():
    class Learned:
        schedule = PRIOR.schedule

        def predict(self, x_t, t, *, clip=False):
            return PRIOR.predict(x_t, t, clip=clip)._replace(var_fraction=torch.full_like(x_t, 0.3))

    operator, y = setting("sr", 0.05)
    noise = drawn(8)
    for variance, fraction in (("auto", 0.3), ("fixed_small", None)):
        sampler = ILVR(steps=8, clip=False, variance=variance)
        ours = (
            sampler.restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=Chosen(noise)), Learned(), iter)[0]
            .numpy()
            .ravel()
        )
        expected = run(Truth, *account(sampler, "sr", 0.05, 0, fraction), of_image(noise, 0))
        assert np.abs(ours - expected).max() < 1e-6


def output_moments(sampler, name, sigma_y):
    """Mean and covariance of an affine sampler's output: unit vectors through every noise it draws, as one batch."""
    draws = {"x_T": 1, "step": sampler.steps} | ({"reference": sampler.steps} if isinstance(sampler, ILVR) else {})
    columns = 1 + N * sum(draws.values())
    unit = np.zeros((columns, columns - 1))
    unit[1:] = np.eye(columns - 1)
    blocks = iter(unit.reshape(columns, -1, N).swapaxes(0, 1).reshape(-1, columns, *SHAPE))
    noise = {purpose: [next(blocks) for _ in range(count)] for purpose, count in draws.items()}
    operator, y = setting(name, sigma_y, ("a",))  # a batch of 1, which broadcasts
    y = y.expand(columns, *y.shape[1:])
    out = (
        sampler.restore(Problem(y=y, operator=operator, sigma_y=sigma_y, streams=Chosen(noise)), PRIOR, iter)
        .reshape(columns, N)
        .numpy()
    )
    B = (out[1:] - out[0]).T
    return out[0], B @ B.T


AFFINE = [
    (DDRM(steps=4), ["inpainting", "sr", "blur", "motion"], [0.05]),
    (DDRM(steps=4), ["sr", "box"], [0.0]),
    (DDRM(**preset("ddrm_author_code") | {"steps": 4}), ["inpainting", "motion"], [0.0, 0.05]),
    (DDNM(steps=4), ["inpainting", "sr", "motion"], [0.05]),
    (DDNM(steps=4), ["sr", "box"], [0.0]),
    (ILVR(steps=3, clip=False), ["inpainting", "sr", "motion"], [0.05]),
    (ILVR(**preset("ilvr_author_code") | {"steps": 3, "range_t": 0, "clip": False}), ["sr"], [0.05]),
]


@pytest.mark.parametrize(
    ("sampler", "task", "sigma_y"),
    [(s, task, sigma_y) for s, tasks, levels in AFFINE for task in tasks for sigma_y in levels],
)
def test_moments(sampler, task, sigma_y):
    ours = output_moments(sampler, task, sigma_y)
    for moment, expected in zip(ours, moments(Truth, *account(sampler, task, sigma_y, 0)), strict=True):
        # where y says everything, as a motion blur does to ILVR, the covariance is zero
        assert np.abs(moment - expected).max() < 1e-4 * np.abs(expected).max() + 1e-12


@pytest.mark.parametrize("task", OPERATORS)
@pytest.mark.parametrize("sampler", [DDRM(), DDNM(steps=20), ILVR(steps=20, form="projection")])
def test_without_noise_the_measurement_is_met(sampler, task):
    operator, y = setting(task, 0.0)
    x_hat = sampler.restore(
        Problem(y=y, operator=operator, sigma_y=0.0, streams=Streams(0, "t", IDS, dtype=torch.float64)), PRIOR, iter
    )
    assert (operator.A(x_hat) - y).abs().max() < 1e-5


def test_ddnm_plus_is_ddrm_but_for_the_start():
    """With eta_b = 1 the two papers' rules are one, so that from DDRM's x_T they end in the same image."""
    noise = drawn(10)
    ddrm = restore(DDRM(steps=10), "motion", 0.05, noise)
    x_T = []
    for i in range(len(IDS)):
        c, R = ddrm_start(spectral("motion", 0.05, i), 0.05, 999, "sqrt_abar")
        x_T.append((c + R @ noise["x_T"][0][i].ravel()).reshape(SHAPE))
    ddnm = restore(DDNM(steps=10), "motion", 0.05, noise | {"x_T": [np.stack(x_T)]})
    assert np.abs(ddnm - ddrm).max() < 1e-9


@pytest.mark.parametrize("task", OPERATORS)
def test_ilvr_takes_its_own_form_for_downsampled_pictures_only(task):
    sampler = functools.partial(ILVR, steps=5)
    noise = drawn(5)
    auto, projection = (restore(sampler(form=form), task, 0.05, noise) for form in ("auto", "projection"))
    strict = sampler(form="super_resolution")
    if task in ("sr", "pool"):
        strict.check(setting(task, 0.05)[0])
        assert np.array_equal(auto, restore(strict, task, 0.05, noise))
        assert not np.allclose(auto, projection)
    else:
        assert np.array_equal(auto, projection)
        with pytest.raises(ops.Unsupported, match="smaller by a whole factor"):
            strict.check(setting(task, 0.05)[0])


def test_ilvr_needs_no_more_of_its_reference_than_the_small_picture():
    """The account run with phi of the whole reference picture, as in the paper, ends where ILVR ends given y alone."""
    x_ref = PRIOR.sample(Streams(0, "test", IDS, dtype=torch.float64).normal("truth", SHAPE))
    noise, sampler = drawn(8), ILVR(steps=8, clip=False)
    ours = restore(sampler, "sr", 0.0, noise)
    down, up = resizers(SHAPE, 4)
    for i in range(len(IDS)):
        phi_ref = up @ down @ x_ref[i].numpy().ravel()
        steps = [ilvr_step(up @ down, phi_ref, t, s, "next", True) for t, s in grid(8)]
        expected = run(Truth, grid(8), (np.zeros(N), np.eye(N)), steps, of_image(noise, i))
        assert np.abs(ours[i] - expected).max() < 1e-6


def test_the_last_steps_of_ilvr_may_go_uncorrected():
    """range_t = 20 of 100 leaves the last 21 steps, places 20 to 0, to the prior alone: no reference is drawn there."""
    noise = drawn(100)
    used = Chosen(noise)
    operator, y = setting("sr", 0.05)
    sampler = ILVR(**preset("ilvr_author_code"))
    assert (sampler.steps, sampler.range_t) == (100, 20)
    sampler.restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=used), PRIOR, iter)
    assert len(list(used.noise["reference"])) == 21


def test_colour_is_not_a_size():
    """Colorization's y is smaller than x, but not as a picture is."""
    operator = ops.Colorization((3, 8, 12), Streams(0, "test", IDS))
    with pytest.raises(ops.Unsupported, match="smaller by a whole factor"):
        ILVR(form="super_resolution").check(operator)


def test_float32_without_noise_is_no_noise():
    """At 64 px in float32, without noise, for a blur of which a tenth of the spectrum has no digits left."""
    for make in (
        functools.partial(ops.GaussianBlur, taps=15, std=1.5, boundary="reflect"),
        functools.partial(ops.MotionBlur, taps=15, intensity=0.5),
    ):
        streams = Streams(0, "test", ["a"])
        operator = make((3, 64, 64), streams)
        y = operator.A(PRIOR.sample(streams.normal("truth", (3, 64, 64))))
        for sampler in (DDRM(steps=5), DDNM(steps=5), ILVR(steps=5)):
            x_hat = sampler.restore(Problem(y=y, operator=operator, sigma_y=0.0, streams=streams), PRIOR, iter)
            assert (operator.A(x_hat) - y).abs().max() < 1e-3
            assert math.isfinite(x_hat.abs().max()) and x_hat.abs().max() < 5
