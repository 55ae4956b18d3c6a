"""Scores under the Gaussian prior: what is exact scores as such, what is not is found out.

Statistical tests draw from the closed-form posterior with a fixed seed. Their limits are such that an exact sampler
fails any of one test's statistics with probability FALSE_ALARM.
"""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from exact_cases import DIAGONAL, FALSE_ALARM, OPERATORS, PRIOR, SHAPE, SIGMA_Y, N, batches, gaussian_trial, truth
from scipy.linalg import sqrtm
from scipy.stats import norm
from scipy.stats import t as student

from safari_bench.exact.gaussian_scores import GaussianTruth, _pairs, _power
from safari_bench.exact.marginals import in_waves, marginals, multiplicity, radius
from safari_bench.exact.mirrored import Mirrored
from safari_bench.rng import Streams
from safari_bench.samplers import Wiener


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("task", OPERATORS)
def test_exact_draws_score_as_exact(task, mirrored):
    repeats, samples = 40, 8
    scores = pd.DataFrame([truth(task).score(x) for x in batches(task, samples, repeats, mirrored=mirrored)])
    expected = {"sd_ratio": 1.0, "coverage": 0.9, "sd_low": 1.0, "sd_high": 1.0}
    limit = student.ppf(1 - FALSE_ALARM / len(expected) / 2, repeats - 1)
    for name, value in expected.items():
        found = scores[name] ** 2 if name != "coverage" else scores[name]  # squares are unbiased
        assert abs(found.mean() - value) < limit * found.std() / math.sqrt(repeats), name
    if mirrored:
        assert scores.mean_error_sd.max() < 1e-8
        assert scores.mean_noise_sd.max() < 1e-8
    else:
        # an estimate of 0 from 8 draws of variance 1: after 40 batches next to nothing is left
        assert abs(scores.mean_noise_sd.mean() - 1 / math.sqrt(samples)) < 0.02
        assert (scores.mean_error_sd < scores.mean_noise_sd).all()
    assert scores.w2.median() < 0.1
    # the standard error that every row states is the one that its batches show
    assert scores.sd_ratio_se.mean() == pytest.approx(scores.sd_ratio.std(), rel=0.5)


@pytest.mark.parametrize("task", OPERATORS)
def test_a_shrunk_and_a_shifted_sampler_are_found_out(task):
    known = truth(task)
    (x,) = batches(task, 64, 1, mirrored=True)
    sd = known._sd.reshape(SHAPE)
    shrunk = known.score(known.mean + 0.8 * (x - known.mean))
    assert shrunk["sd_ratio"] == pytest.approx(0.8, abs=0.03)
    assert shrunk["coverage"] == pytest.approx(2 * norm.cdf(0.8 * norm.ppf(0.95)) - 1, abs=0.02)
    assert shrunk["w2"] == pytest.approx(0.2, abs=0.03)
    assert shrunk["mean_error_sd"] < 1e-8

    shifted = known.score(x + 0.7 * sd)
    assert shifted["mean_error_sd"] == pytest.approx(0.7, abs=1e-8)
    assert shifted["mean_error"] == pytest.approx(0.7 * float(sd.square().mean().sqrt()), abs=1e-8)
    assert shifted["w2"] == pytest.approx(0.7, abs=0.02)
    z = norm.ppf(0.95)
    assert shifted["coverage"] == pytest.approx(norm.cdf(z - 0.7) - norm.cdf(-z - 0.7), abs=0.02)

    point = known.score(known.mean.expand(8, *SHAPE))
    assert point["sd_ratio"] == point["coverage"] == 0
    assert point["w2"] == pytest.approx(1)


def test_a_sampler_without_fine_detail_is_found_out_by_band():
    known = truth("denoising")
    (x,) = batches("denoising", 64, 1, mirrored=True)
    waves = in_waves(PRIOR, x - known.mean)
    waves[..., radius(*SHAPE[1:]) >= 0.25] *= 0.5
    basis = torch.tensor(PRIOR.spectrum.basis, dtype=torch.float64)
    smooth = torch.einsum("cd,bdhw->bchw", basis, torch.fft.irfft2(waves, s=SHAPE[1:], norm="ortho"))
    found = known.score(known.mean + smooth)
    assert found["sd_low"] == pytest.approx(1, abs=0.05)
    assert found["sd_high"] == pytest.approx(0.5, abs=0.02)


def dense(task: str) -> np.ndarray:
    return truth(task).posterior.covariance()[0].numpy()


@pytest.mark.parametrize("task", OPERATORS)
def test_marginals_are_those_of_the_dense_covariance(task):
    trial = gaussian_trial(task)
    found = marginals(PRIOR, trial.operators(1, torch.float64), trial.y, SIGMA_Y)
    covariance = dense(task)
    np.testing.assert_allclose(found.pixels.flatten(), np.diag(covariance), rtol=1e-5)
    _, h, w = SHAPE
    dft = np.kron(np.fft.fft(np.eye(h), norm="ortho"), np.fft.fft(np.eye(w), norm="ortho"))
    F = np.kron(np.array(PRIOR.spectrum.basis).T, dft)
    expected = np.einsum("in,nm,im->i", F, covariance, F.conj()).real.reshape(SHAPE)[..., : w // 2 + 1]
    np.testing.assert_allclose(found.waves, expected, rtol=1e-5)  # the prior's axes have nine digits
    total = float((multiplicity(w) * found.waves).sum())
    assert total == pytest.approx(np.trace(covariance)) == pytest.approx(float(found.pixels.sum()))


@pytest.mark.parametrize("task", OPERATORS)
def test_wasserstein_2_against_dense_matrices(task):
    """A sampler whose draws are filtered: exact where the posterior is diagonal in waves, a lower bound elsewhere."""
    known = truth(task)
    (x,) = batches(task, 64, 1, mirrored=True)

    def flaw(v: torch.Tensor) -> torch.Tensor:
        return PRIOR.filter(v, lambda power: (power / (power + 0.05)).sqrt())

    filtered = flaw(torch.eye(N, dtype=torch.float64).reshape(N, *SHAPE)).reshape(N, N).numpy()
    exact, ours = dense(task), filtered.T @ dense(task) @ filtered
    root_exact = sqrtm(exact).real
    apart = np.trace(exact) + np.trace(ours) - 2 * np.trace(sqrtm(root_exact @ ours @ root_exact).real)
    shift = 0.3 * known._sd.reshape(SHAPE)
    expected = math.sqrt((apart + float(shift.square().sum())) / np.trace(exact))
    score = known.score(known.mean + flaw(x - known.mean) + shift)
    if task in DIAGONAL:
        assert score["w2_kind"] == "exact"
        assert score["w2"] == pytest.approx(expected, rel=0.05)
    else:
        assert score["w2_kind"] == "bound"
        assert 0.5 * expected < score["w2"] < 1.05 * expected


def test_scores_on_some_pixels_are_like_those_on_all():
    trial = gaussian_trial("avgpool")
    some = GaussianTruth(trial, pixels=30, exact_draws=400)
    (x,) = batches("avgpool", 32, 1, mirrored=True)
    few, all_of_them = some.score(x), truth("avgpool").score(x)
    assert few["mean_error"] == all_of_them["mean_error"]
    assert few["sd_ratio"] == pytest.approx(all_of_them["sd_ratio"], abs=0.15)
    for name in ("sd_low", "sd_high"):
        assert few[name] == pytest.approx(all_of_them[name], rel=0.05)


@pytest.mark.parametrize(
    ("task", "width"),
    [
        pytest.param(task, width, marks=[] if (task, width) == ("avgpool", 1.0) else pytest.mark.slow)
        for task in sorted(set(OPERATORS) - set(DIAGONAL))
        for width in (1.0, 0.6)
    ],
)
def test_distances_by_few_exact_draws_have_no_bias(task, width):
    """W2^2 of a sampler so wide by the variances of 4 exact draws, 100 times over, and by the exact ones."""
    known, few = truth(task), GaussianTruth(gaussian_trial(task), pixels=1, exact_draws=4)
    (x,) = batches(task, 16, 1, mirrored=True)
    u, d = _pairs(known.mean + width * (x - known.mean))
    moments, power = known._moments(u, d), _power(in_waves(PRIOR, u), in_waves(PRIOR, d))
    expected, found = np.array(known._squares(moments, power)), []
    for i in range(100):
        few._marginals = few._of_draws(f"marginals {i}", 4)
        found.append(few._squares(moments, power))
    limit = student.ppf(1 - FALSE_ALARM / 4, 99) * np.std(found, axis=0, ddof=1) / 10
    # the total variance that they are relative to is the draws' too: its error is of second order
    assert (abs(np.mean(found, axis=0) - expected) < limit + 0.02 * expected).all()
    assert (limit < 0.02).all()


def test_too_few_draws_are_refused():
    for count in (2, 7):
        with pytest.raises(ValueError, match=f"got {count} draws"):
            truth("denoising").score(torch.zeros(count, *SHAPE))


def test_mirrored_noise_is_fair_noise_and_its_negative():
    ids = ["a", "b", "c", "d"]
    ours, plain = Mirrored(0, "test", ids), Streams(0, "test", ids)
    for purpose in ("x_T", "step", "step"):
        draw = ours.normal(purpose, (3, 2))
        assert torch.equal(draw[:2], plain.normal(purpose, (3, 2))[:2])
        assert torch.equal(draw[2:], -draw[:2])
    assert torch.equal(ours.uniform("u", (5,)), plain.uniform("u", (5,)))
    with pytest.raises(ValueError, match="got 3 images"):
        Mirrored(0, "test", ids[:3])


def test_a_trial_is_what_it_says():
    trial = gaussian_trial("random")
    operator = trial.operators(2, torch.float64)
    clean = operator.A(trial.x.expand(2, *SHAPE))
    assert torch.equal(clean[0], clean[1])  # one mask for all copies
    noise = (trial.y - clean[:1])[operator.observed[:1].expand(1, *SHAPE) > 0]
    assert len(noise) == round(0.4 * 128) * 3
    # chi square with 153 degrees of freedom: within five standard deviations but for 1 in 10^6
    assert abs(float(noise.square().mean()) / SIGMA_Y**2 - 1) < 5 * math.sqrt(2 / len(noise))
    assert torch.equal(trial.y, gaussian_trial("random").y)
    assert not torch.equal(trial.y, gaussian_trial("random", "b").y)


def test_wiener_is_the_posterior_mean_and_nothing_else():
    """Another sampler's conjugate gradients, scored: no error, no spread, and the distance of a point estimate, 1."""
    for task in ("circular", "random"):
        known = truth(task)
        x_hat = known.trial.restore(Wiener(gaussian=PRIOR), 4, iter, mirrored=True).x_hat
        score = known.score(x_hat)
        assert score["mean_error_sd"] < 1e-3
        assert score["sd_ratio"] < 1e-6
        assert score["w2"] == pytest.approx(1, abs=1e-3)
