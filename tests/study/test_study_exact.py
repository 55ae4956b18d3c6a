"""The exact study: samplers that are exact by construction score as such, others are found out, stopped runs go on.

Statistical tests draw from the closed-form posterior with a fixed seed. Their limits are such that an exact sampler
fails any of one test's statistics with probability FALSE_ALARM.
"""

import functools
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import norm
from scipy.stats import t as student

from safari_bench import operators as ops
from safari_bench.cli import main
from safari_bench.cli.exact import sections
from safari_bench.cli.exact_schema import load
from safari_bench.cli.schema import root
from safari_bench.diffusion import NotFinite, Schedule
from safari_bench.fidelity import Perceptual
from safari_bench.operators import Unsupported
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.priors.gaussian import load as load_gaussian
from safari_bench.priors.mixture import MixturePrior
from safari_bench.rng import Streams
from safari_bench.samplers import MMPS, Wiener
from safari_bench.study import GaussianPosterior
from safari_bench.study.bound import expected_norm, psi_bound
from safari_bench.study.convergence import CLAIMS, orders, output_moments
from safari_bench.study.exact import EXACT, points, run, tunings
from safari_bench.study.findings import verdict
from safari_bench.study.gaussian_scores import GaussianTruth
from safari_bench.study.marginals import in_waves, marginals, multiplicity, radius
from safari_bench.study.mirrored import Mirrored
from safari_bench.study.mixture_scores import MixtureTruth
from safari_bench.study.plan import Method, Section, Task, Tuning
from safari_bench.study.psi_target import psi_target
from safari_bench.study.report import Extras, write
from safari_bench.study.small_mixture import SHAPE as SMALL
from safari_bench.study.small_mixture import small_mixture
from safari_bench.study.trial import Trial, from_gaussian, from_mixture

FALSE_ALARM = 1e-3
SIGMA_Y = 0.05
SHAPE = (3, 8, 16)
N = math.prod(SHAPE)
PRIOR = load_gaussian()
OPERATORS = {
    "denoising": ops.Denoising,
    "circular": functools.partial(ops.GaussianBlur, taps=5, std=1.0, boundary="circular"),
    "avgpool": functools.partial(ops.AveragePool, factor=4),
    "random": functools.partial(ops.RandomInpainting, fraction=0.6),
}
DIAGONAL = ("denoising", "circular")


def gaussian_trial(task: str, image: str = "a", shape=SHAPE, sigma_y: float = SIGMA_Y) -> Trial:
    return Trial(
        prior=PRIOR,
        draw=from_gaussian(PRIOR),
        operator=OPERATORS[task],
        shape=shape,
        sigma_y=sigma_y,
        seed=0,
        image=image,
    )


@functools.cache
def truth(task: str) -> GaussianTruth:
    return GaussianTruth(gaussian_trial(task))


def batches(task: str, samples: int, repeats: int, *, mirrored: bool) -> list[torch.Tensor]:
    """Batches of exact draws, each with noise of its own."""
    trial, kind, n = truth(task).trial, Mirrored if mirrored else Streams, samples * repeats
    y, operator = trial.y.expand(n, *trial.y.shape[1:]).contiguous(), trial.operators(n, torch.float64)
    streams = kind(1, "draws", [str(i) for i in range(n)], dtype=torch.float64)
    first, second = GaussianPosterior(PRIOR, operator, y, SIGMA_Y).sample(streams).chunk(2)
    return [torch.cat(pair) for pair in zip(first.chunk(repeats), second.chunk(repeats), strict=True)]


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
    some = GaussianTruth(trial, pixels=30)
    (x,) = batches("avgpool", 32, 1, mirrored=True)
    few, all_of_them = some.score(x), truth("avgpool").score(x)
    assert few["mean_error"] == all_of_them["mean_error"]
    assert few["sd_ratio"] == pytest.approx(all_of_them["sd_ratio"], abs=0.15)
    assert math.isnan(few["sd_low"])


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


# The mixture


MIXTURE = MixturePrior(small_mixture())
SMALL_OPERATORS = {
    "denoising": ops.Denoising,
    "avgpool": functools.partial(ops.AveragePool, factor=4),
    "box": functools.partial(ops.BoxInpainting, hole=4, margin=2),
}


@functools.cache
def mixture_truth(task: str) -> MixtureTruth:
    return MixtureTruth(
        Trial(
            prior=MIXTURE,
            draw=from_mixture(MIXTURE),
            operator=SMALL_OPERATORS[task],
            shape=SMALL,
            sigma_y=SIGMA_Y,
            seed=0,
            image="a",
        )
    )


def test_the_small_mixture_hides_its_modes_as_it_says():
    denoised, guessed, hidden = (mixture_truth(task).posterior.weights[0] for task in SMALL_OPERATORS)
    assert denoised.max() > 1 - 1e-6
    torch.testing.assert_close(hidden, MIXTURE.mixture.weights, atol=1e-6, rtol=0)
    assert (guessed - MIXTURE.mixture.weights).abs().max() > 0.02
    assert guessed.max() < 0.98


@pytest.mark.parametrize("task", SMALL_OPERATORS)
def test_exact_draws_of_a_mixture_score_as_exact(task):
    samples, repeats, known = 64, 10, mixture_truth(task)
    found = [known.score(known._exact(f"test {i}", samples)) for i in range(repeats)]
    weights = np.array([[float(w) for w in row["weights"].split()] for row in found])
    exact = known.posterior.weights[0].numpy()
    limit = norm.ppf(1 - FALSE_ALARM / len(exact) / 2)
    sd = np.sqrt(exact * (1 - exact) / samples / repeats)
    assert (np.abs(weights.mean(0) - exact) < limit * sd + 0.005).all()  # weights are rounded to two digits
    assert np.mean([row["sliced_w"] / row["sliced_w_floor"] for row in found]) == pytest.approx(1, abs=0.4)
    assert np.mean([row["sd_ratio"] for row in found]) == pytest.approx(1, abs=0.1)


def test_a_sampler_of_one_mode_and_one_off_the_mark_are_found_out():
    known = mixture_truth("box")
    x = known.draws(400)
    exact = known.posterior.weights[0]
    mode = MIXTURE.log_joint(x, -1).argmax(1)
    one = known.score(x[mode == 0][:128])
    assert one["weights"] == "1.00 0.00 0.00"
    assert one["weight_error"] == pytest.approx(1 - float(exact[0]), abs=1e-6)
    assert one["sliced_w"] > 2 * one["sliced_w_floor"]
    scale = float(known._compared_with(128)[0].var(0).mean().sqrt())
    off = known.score(x[:128] + 2 * scale)
    assert off["mean_error_sd"] == pytest.approx(2, abs=0.3)
    assert off["sliced_w"] > 5 * off["sliced_w_floor"]


# SaFaRI's bound

TINY = (3, 4, 4)
PSI = {"pixel": Perceptual(pixel=1.0), "full": Perceptual(spatial=1.0, low=1.0, high=0.5)}


def test_the_mean_norm_of_a_gaussian():
    assert expected_norm(np.array([4.0])) == pytest.approx(2 * math.sqrt(2 / math.pi), rel=1e-9)
    n = 7
    chi = math.sqrt(2) * math.gamma((n + 1) / 2) / math.gamma(n / 2)
    assert expected_norm(np.full(n, 0.09)) == pytest.approx(0.3 * chi, rel=1e-9)
    v = np.array([1e-6, 0.1, 3.0, 50.0])
    drawn = np.sqrt((np.random.default_rng(0).normal(size=(200_000, 4)) ** 2 * v).sum(1))
    assert abs(expected_norm(v) - drawn.mean()) < 5 * drawn.std() / math.sqrt(len(drawn))  # 1 in 10^6


@pytest.mark.parametrize("psi", PSI)
def test_the_bound_against_monte_carlo(psi):
    """Left side, m_1 and Z_psi from draws and quadrature that share nothing with the closed forms."""
    gamma, t = 0.4, 300
    trial = gaussian_trial("avgpool", shape=TINY)
    (found,) = psi_bound(trial, PSI[psi], [t], 1, gamma)
    operator, abar = trial.operators(1, torch.float64), PRIOR.schedule.abar(t)

    x_t = PRIOR.schedule.add_noise(trial.x, t, trial.streams("bound").normal("x_t", TINY))
    x0_hat = PRIOR.predict(x_t, t).x0_hat
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(100_000, *TINY)))
    x_0 = x0_hat + PRIOR.filter(z, lambda power: ((1 - abar) * power / (abar * power + 1 - abar)).sqrt())
    assert float((x_0 - x0_hat).flatten(1).norm(dim=1).mean()) == pytest.approx(found.m_1, rel=0.01)

    def likelihood(x: torch.Tensor) -> torch.Tensor:
        return (-PSI[psi](trial.y - operator.A(x)) / (2 * gamma**2)).exp()

    means = likelihood(x_0)
    left = float(means.mean() - likelihood(x0_hat))
    error = 5 * float(means.std()) / math.sqrt(len(means))  # 1 in 10^6
    assert abs(abs(left) - 10 ** (found.log10_left + found.log10_z)) < error
    assert abs(left) > 2 * error  # there was something to see

    side = torch.linspace(-6, 6, 61, dtype=torch.float64) * gamma
    r = torch.cartesian_prod(side, side, side).reshape(-1, *trial.y.shape[1:])
    Z = float((-PSI[psi](r) / (2 * gamma**2)).exp().sum()) * float(side[1] - side[0]) ** 3
    assert 10**found.log10_z == pytest.approx(Z, rel=1e-3)
    assert found.log10_ratio == pytest.approx(found.log10_left - found.log10_right)


def test_the_bound_holds_and_needs_an_injective_psi():
    for psi, task in itertools.product(PSI.values(), ("avgpool", "denoising")):
        found = psi_bound(gaussian_trial(task, shape=(3, 8, 8)), psi, [0, 50, 400, 999], 4)
        assert all(b.log10_ratio <= 0 for b in found)
        assert [b.m_1 for b in found] == sorted(b.m_1 for b in found)
    with pytest.raises(ValueError, match="not injective"):
        psi_bound(gaussian_trial("avgpool"), Perceptual(low=1.0), [10], 1)


@pytest.mark.parametrize("task", ["avgpool", "random"])
@pytest.mark.parametrize("psi", PSI)
def test_what_psi_targets_against_matrices(task, psi):
    """Precision matrices and the means of every unit y, where the study has gains and covariances."""
    trial = gaussian_trial(task, shape=TINY)
    operator, n, m = trial.operators(1, torch.float64), math.prod(TINY), trial.y.numel()
    A = torch.cat([operator.A(e[None]).flatten()[None] for e in torch.eye(n).double().reshape(n, *TINY)]).T.numpy()
    units = torch.eye(m).double().reshape(m, *trial.y.shape[1:])
    single = np.array([float(PSI[psi](e[None])) for e in units])
    pairs = np.array([[float(PSI[psi]((a + b)[None])) for b in units] for a in units])
    M = (pairs - single[:, None] - single) / 2
    C = PRIOR.covariance(torch.eye(n).double().reshape(n, *TINY)).flatten(1).numpy()
    seen = A.any(1)
    truth = np.linalg.inv(np.linalg.inv(C) + A.T @ A / SIGMA_Y**2)
    for found in psi_target(trial, PSI[psi]):
        W = np.where(seen[:, None] & seen, M, 0) / found.gamma**2
        if found.scale == "same strength":
            assert np.trace(W) == pytest.approx(seen.sum() / SIGMA_Y**2)
        target = np.linalg.inv(np.linalg.inv(C) + A.T @ W @ A)
        apart = target @ A.T @ W - truth @ A.T / SIGMA_Y**2
        D = apart @ (A @ C @ A.T + SIGMA_Y**2 * np.diag(seen)) @ apart.T
        inside = norm.cdf(norm.ppf(0.95) * np.sqrt(np.diag(target) / np.diag(truth + D)))
        squared = np.trace(D + target + truth - 2 * sqrtm(sqrtm(truth) @ target @ sqrtm(truth)).real)
        expected = {
            "mean_error_sd": np.sqrt((np.diag(D) / np.diag(truth)).mean()),
            "sd_ratio": np.sqrt((np.diag(target) / np.diag(truth)).mean()),
            "coverage": (2 * inside - 1).mean(),
            "w2": np.sqrt(max(squared, 0) / np.trace(truth)),
        }
        for name, value in expected.items():
            assert getattr(found, name) == pytest.approx(value, rel=1e-4, abs=1e-5)
        if psi == "pixel":
            assert (found.sd_low, found.sd_high) == pytest.approx((1, 1))


def test_psi_that_ignores_a_band_has_no_target():
    with pytest.raises(ValueError, match="not injective"):
        psi_target(gaussian_trial("avgpool", shape=TINY), Perceptual(low=1.0))


# Convergence


def test_orders_are_those_of_exact_moments():
    """A first order where a sampler is said to converge; what is not said to converge does not."""
    found = orders([25, 50], 0.5, 0)
    last = {(o.claim, o.task): o for o in found if o.steps == 50}
    for (claim, _), order in last.items():
        if CLAIMS[claim].exact:
            assert 0.6 < order.order < 1.1
            assert order.mean_error < 1e-4
        else:
            assert order.mean_error > 0.05


def test_output_moments_are_those_of_draws():
    """4000 draws, fixed seed; a wrong matrix would be far outside five standard errors (false alarm 1 in 10^4)."""
    spectrum, count = CLAIMS["MMPS (solved), coloured prior"].spectrum, 4000
    prior = GaussianPrior(spectrum, Schedule(timesteps=25, beta_start=0.004, beta_end=0.8))
    trial = Trial(
        prior=prior,
        draw=from_gaussian(prior),
        operator=ops.Denoising,
        shape=(1, 2, 4),
        sigma_y=0.5,
        seed=0,
        image="a",
    )
    sampler = MMPS(steps=25, iterations=100, rtol=1e-12)
    mean, covariance = output_moments(trial, sampler)
    y, streams = (
        trial.y.expand(count, 1, 2, 4),
        Streams(0, "draws", [str(i) for i in range(count)], dtype=torch.float64),
    )
    x = sampler.restore(y, trial.operators(count, torch.float64), 0.5, prior, streams, iter).detach().flatten(1)
    assert ((x.mean(0) - mean).abs() < 5 * (covariance.diagonal() / count).sqrt()).all()
    error = ((covariance.square() + covariance.diagonal().outer(covariance.diagonal())) / count).sqrt()
    assert ((torch.cov(x.T) - covariance).abs() < 5 * error).all()


def test_wiener_is_the_posterior_mean_and_nothing_else():
    """Another sampler's conjugate gradients, scored: no error, no spread, and the distance of a point estimate, 1."""
    for task in ("circular", "random"):
        known = truth(task)
        x_hat = known.trial.restore(Wiener(gaussian=PRIOR), 4, iter, mirrored=True).x_hat
        score = known.score(x_hat)
        assert score["mean_error_sd"] < 1e-3
        assert score["sd_ratio"] < 1e-6
        assert score["w2"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("error", "ratio", "coverage", "word"),
    [
        (0.1, 1.0, 0.9, "calibrated"),
        (0.1, 1.0, 0.7, "near"),
        (0.1, 0.3, 0.4, "collapsed"),
        (0.1, 2.0, 0.99, "too wide"),
        (1.5, 0.1, 0.0, "off"),
    ],
)
def test_verdicts(error, ratio, coverage, word):
    assert verdict({"mean_error_sd": error, "sd_ratio": ratio, "coverage": coverage}) == word


# The run


class Fake:
    """Draws around y's picture; counts its runs, and fails as it is told."""

    requires = ops.LinearOperator
    uses_prior = True
    runs = 0

    def __init__(self, steps: int = 1, spread: float = 0.1, fails: Exception | None = None) -> None:
        self.steps, self.spread, self.fails = steps, spread, fails

    def check(self, operator) -> None:
        if isinstance(self.fails, Unsupported):
            raise self.fails

    def facts(self) -> dict[str, bool]:
        return {}

    def restore(self, y, operator, sigma_y, denoiser, streams, progress):
        Fake.runs += 1
        if self.fails is not None:
            raise self.fails
        for t, _ in progress(denoiser.schedule.pairs(self.steps)):
            denoiser.predict(y, t)
        return y + self.spread * streams.normal("step", operator.image_shape)


def method(name: str, steps: tuple[int, ...], tuning: Tuning | None = None, **settings) -> Method:
    def build(differing):
        return Fake(**{**settings, **differing})

    plain = {key: repr(value) for key, value in settings.items()}
    return Method(name=name, settings=plain, build=build, steps=steps, tuning=tuning)


def study(methods: list[Method], **settings) -> list[Section]:
    task = Task(
        name="denoising",
        settings={},
        trial=lambda image: gaussian_trial("denoising", image, (3, 4, 8)),
        methods=methods,
    )
    return [
        Section(
            name="gaussian-8",
            title="Small",
            settings=settings,
            truth=GaussianTruth,
            criterion="w2",
            samples=4,
            tuning_samples=4,
            tuning_images=2,
            tasks=[task],
            order=[m.name for m in methods],
        )
    ]


def count(sections_, folder) -> int:
    before = Fake.runs
    run(sections_, folder)
    return Fake.runs - before


def test_a_finished_point_is_not_computed_again(tmp_path):
    two = [method("one", (2, 5)), method("other", (3,), spread=0.2)]
    assert count(study(two), tmp_path) == 3
    before = points(study(two)[0], tmp_path)
    assert [(row["method"], row["steps"], row["nfe"]) for row in before[1:]] == [
        ("one", 2, 2),
        ("one", 5, 5),
        ("other", 3, 3),
    ]
    assert before[0]["method"] == EXACT
    assert count(study(two), tmp_path) == 0
    assert repr(points(study(two)[0], tmp_path)) == repr(before)  # nan is not equal to itself
    # only what changed is computed, in place of what was there
    assert count(study([two[0], method("other", (3,), spread=0.3)]), tmp_path) == 1
    after = points(study(two)[0], tmp_path)
    assert repr(after[:3]) == repr(before[:3])
    assert len(after) == len(before)
    assert after[3]["sd_ratio"] > before[3]["sd_ratio"]
    assert [row["method"] for row in points(study(two[:1])[0], tmp_path)] == [EXACT, "one", "one"]  # no longer planned
    assert count(study(two, seed=1), tmp_path) == 3


def test_an_interrupted_study_keeps_its_points(tmp_path):
    planned = study([method("one", (2, 5)), method("stops", (3,), fails=KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        run(planned, tmp_path)
    assert count(study([method("one", (2, 5)), method("stops", (3,))]), tmp_path) == 1


def test_what_cannot_work_and_what_diverges_are_rows(tmp_path):
    planned = study(
        [
            method("picky", (2,), fails=Unsupported("no such luck")),
            method("lost", (2,), fails=NotFinite([0], "step 1")),
            method("huge", (2,), spread=1e6),
        ]
    )
    run(planned, tmp_path)
    rows = {row["method"]: row for row in points(planned[0], tmp_path)}
    assert (rows["picky"]["status"], rows["picky"]["reason"]) == ("unsupported", "no such luck")
    assert rows["lost"]["status"] == rows["huge"]["status"] == "diverged"
    said = write(planned, Extras([], [], []), tmp_path)
    assert "- diverged: lost (1 of 1), huge (1 of 1)" in said
    assert "| picky" in said
    assert "still to be computed" not in said
    assert "**1 of 5 points are still" in write(
        study([*planned[0].tasks[0].methods, method("new", (2,))]), Extras([], [], []), tmp_path
    )


def test_values_are_tuned_on_other_images_and_scaled(tmp_path):
    tuning = Tuning(parameter="spread", values=(0.001, 0.04, 10.0), up_to=4, exponent=0.5)
    planned = study([method("tuned", (2, 4, 16), tuning)])
    assert count(planned, tmp_path) == 3 + 2 * 2 * 3  # three points; two numbers of steps, two images, three values
    rows = {row["steps"]: row for row in points(planned[0], tmp_path)[1:]}
    assert {n: rows[n]["value"] for n in rows} == {2: "spread=0.04", 4: "spread=0.04", 16: "spread=0.02"}
    assert {row["image"] for row in rows.values()} == {"reported"}
    tried = tunings(planned[0], tmp_path)
    assert {row["image"] for row in tried} == {"tuning 0", "tuning 1"}
    best = min((r for r in tried if r["steps"] == 4 and r["image"] == "tuning 0"), key=lambda r: r["w2"])
    assert best["value"] == "spread=0.04"
    assert count(planned, tmp_path) == 0


# The verb

TINY_STUDY = [
    "max_steps=10",
    "processes=1",
    "gaussian.size=16",
    "gaussian.tasks=[denoising,sr_avgpool_x4]",
    "gaussian.methods=[dps,ddrm,pnp_admm,pigdm_score]",
    "gaussian.samples=4",
    "large.tasks=[]",
    "small_mixture.tasks=[inpaint_box]",
    "small_mixture.methods=[mmps]",
    "small_mixture.samples=16",
    "mixture.tasks=[]",
    "bound.size=8",
    "bound.tasks=[sr_avgpool_x4]",
    "bound.guidance=[pixel]",
    "bound.times=[0,500]",
    "orders.steps=[25,50]",
]


def test_the_verb_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["exact", *TINY_STUDY]) == 0
    said = capsys.readouterr().out
    assert "| ddrm" in said
    folder = tmp_path / "results" / "exact"
    table = pd.read_csv(folder / "exact.csv")
    assert set(table.task) == {"denoising", "sr_avgpool_x4"}
    assert set(table.method) == {EXACT, "dps", "ddrm", "pnp_admm", "pigdm_score"}
    ddrm = table[(table.method == "ddrm") & (table.task == "sr_avgpool_x4")].iloc[0]
    assert (ddrm.nfe, ddrm.n_backward, ddrm.status) == (10, 0, "ok")
    assert 0 < ddrm.mean_error_sd < 1
    exact = table[table.method == EXACT]
    assert exact.mean_error_sd.max() < 1e-6
    assert len(pd.read_csv(folder / "tuning.csv")) == 2 * 6  # two tasks, one image
    assert pd.read_csv(folder / "mixture.csv").weights.str.len().min() > 0
    assert (pd.read_csv(folder / "bound.csv").log10_ratio < 0).all()
    for name in ("gaussian-16-denoising.png", "mixture-8-inpaint_box.png", "bound.png", "bound.md"):
        assert (folder / name).stat().st_size > 0
    text = (folder / "exact.md").read_text()
    assert "coverage of 90 %" in text
    said = (folder / "findings.md").read_text()
    for words in ("## Orders of convergence", "which should converge: last order", "- nearest to the posterior on"):
        assert words in said
    assert (pd.read_csv(folder / "psi_target.csv").w2 < 1e-6).all()  # psi is the pixel's: the posterior itself
    # again: everything is there
    rows = {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()}
    (folder / "exact.md").unlink()
    assert main(["exact", *TINY_STUDY]) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()} == rows
    assert (folder / "exact.md").read_text() == text


@pytest.mark.slow
def test_two_processes_find_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for processes in (1, 2):
        assert main(["exact", *TINY_STUDY, f"processes={processes}", f"name=with{processes}"]) == 0
    one, two = (pd.read_csv(tmp_path / "results" / f"with{n}" / "exact.csv").drop(columns="seconds") for n in (1, 2))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gaussian.methods=[dqs]"], ["dqs", "did you mean methods.dps?"]),
        (["sampels=3"], ["sampels"]),
        (["gaussian.samples=many"], ["many"]),
        (["gaussian"], ["key=value, got gaussian"]),
        (["gaussian.tasks=[denoisin]", "gaussian.methods=[ddrm]", *TINY_STUDY[7:]], ["denoisin", "denoising"]),
        (["methods.ddrm.set={etta: 1}", "gaussian.methods=[ddrm]", "large.tasks=[]", *TINY_STUDY[7:]], ["etta"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_mistakes_are_explained(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(["exact", *words]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for word in said:
        assert word in message


def test_the_shipped_study_binds():
    """Every method builds with every number of steps and every value that is tried."""
    text = (root() / "experiments" / "exact.yaml").read_text()
    assert "Question:" in text
    assert "Cost:" in text
    config = load(
        ["large.tasks=[]", "mixture.tasks=[]", "small_mixture.tasks=[]", "gaussian.tasks=[sr_x4,deblur_motion]"]
    )
    (section,) = sections(config)
    built = {m.name: m for task in section.tasks for m in task.methods}
    assert set(built) == set(config.methods)
    for m in built.values():
        values = [{m.tuning.parameter: v} for v in m.tuning.values] if m.tuning else [{}]
        for steps, value in itertools.product(m.steps, values):
            assert m.build({"steps": steps, **value}).steps == steps
            assert getattr(m.build({"steps": steps}), "clip", False) is False
            spacing = getattr(m.build({"steps": steps}), "spacing", "uniform")
            assert len(PRIOR.schedule.pairs(steps, spacing)) == steps
