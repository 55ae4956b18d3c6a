"""Exact posteriors against Bayes' rule with dense float64 matrices, and their draws against the same.

The matrix of an operator is what `A` makes of unit images; of the priors only the definitions are used. Draws are
tested through their map from white noise: it is affine, so that unit vectors sent through it give mean and covariance
to the last digits, with no chance in it.
"""

import math

import numpy as np
import pytest
import torch
from many_streams import Many
from scipy.stats import multivariate_normal, norm

from safari_bench import operators as ops
from safari_bench.exact import GaussianPosterior, MixturePosterior, gaussian_posterior, written_out
from safari_bench.priors import mixture_file
from safari_bench.priors.gaussian import GaussianPrior, Spectrum
from safari_bench.priors.gaussian import load as load_gaussian
from safari_bench.priors.mixture import Mixture, MixturePrior
from safari_bench.rng import Streams

FALSE_ALARM = 1e-3
SHAPE = (3, 4, 8)
N = math.prod(SHAPE)
SIGMA_Y = 0.05
OPERATORS = {
    "denoising": lambda shape, s: ops.Denoising(shape, s),
    "inpaint_box": lambda shape, s: ops.BoxInpainting(shape, s, hole=3, margin=0),
    "inpaint_random": lambda shape, s: ops.RandomInpainting(shape, s, fraction=0.6),
    "bicubic": lambda shape, s: ops.BicubicDownsample(shape, s, factor=2),
    "avgpool": lambda shape, s: ops.AveragePool(shape, s, factor=4),
    "gaussian_reflect": lambda shape, s: ops.GaussianBlur(shape, s, taps=5, std=1.0, boundary="reflect"),
    "uniform_circular": lambda shape, s: ops.UniformBlur(shape, s, taps=3, boundary="circular"),
    "motion": lambda shape, s: ops.MotionBlur(shape, s, taps=4, intensity=0.5),
    "colorization": lambda shape, s: ops.Colorization(shape, s),
    "walsh": lambda shape, s: ops.WalshCompressedSensing(shape, s, ratio=0.4),
}
each_operator = pytest.mark.parametrize("name", OPERATORS)


def build(name: str, ids: list[str], shape=SHAPE) -> ops.SVDOperator:
    return OPERATORS[name](shape, Streams(1, "test", ids, dtype=torch.float64))


def matrix(name: str, image_id: str, shape=SHAPE) -> np.ndarray:
    """(m, n): rows of zeros are entries that observe nothing."""
    n = math.prod(shape)
    return build(name, [image_id] * n, shape).A(torch.eye(n).double().reshape(n, *shape)).flatten(1).numpy().T


def measured(name: str, ids: list[str], shape=SHAPE) -> tuple[ops.SVDOperator, torch.Tensor]:
    """An operator and measurements of arbitrary images, with noise where something is observed."""
    operator, draw = build(name, ids, shape), Streams(2, "test", ids, dtype=torch.float64)
    y = operator.A(0.5 * draw.normal("x", shape))
    noise = SIGMA_Y * draw.normal("n", y.shape[1:])
    return operator, y + (noise if operator.observed is None else noise * operator.observed)


class Chosen(Streams):
    """Streams that return given arrays."""

    def __init__(self, **draws: torch.Tensor) -> None:
        super().__init__(0, "chosen", ["one"] * len(next(iter(draws.values()))), dtype=torch.float64)
        self.draws = draws

    def normal(self, purpose, shape):
        draw = self.draws[purpose.replace(" ", "_")]
        return draw.reshape(len(draw), *shape)

    uniform = normal


class Bayes:
    """N(mean, C) and y = A x + n by the textbook, without the rows of A that observe nothing."""

    def __init__(self, mean: np.ndarray, C: np.ndarray, A: np.ndarray, y: np.ndarray) -> None:
        kept = np.abs(A).sum(1) > 0
        A, y = A[kept], y[kept]
        S = A @ C @ A.T + SIGMA_Y**2 * np.eye(len(A))
        gain = np.linalg.solve(S, A @ C).T
        self.mean = mean + gain @ (y - A @ mean)
        self.covariance = C - gain @ A @ C
        self.log_evidence = multivariate_normal(A @ mean, S).logpdf(y)


def unit_draws(sizes: dict[str, int]) -> dict[str, torch.Tensor]:
    """Noise whose first image is all zeros and whose others are one unit vector each over all the purposes."""
    total = sum(sizes.values())
    vectors = torch.cat([torch.zeros(1, total), torch.eye(total)]).double()
    return dict(zip(sizes, vectors.split(list(sizes.values()), 1), strict=True))


def check_affine(draws: torch.Tensor, mean: np.ndarray, covariance: np.ndarray, atol: float) -> None:
    x = draws.flatten(1).numpy()
    np.testing.assert_allclose(x[0], mean, atol=atol)
    B = (x[1:] - x[0]).T
    np.testing.assert_allclose(B @ B.T, covariance, atol=atol)


BASIS = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
SPECTRUM = Spectrum(
    mean=(0.1, -0.2, 0.3),
    basis=tuple(map(tuple, BASIS.tolist())),
    mean_variance=(0.3, 0.2, 0.1),
    frequency=(0.05, 0.2, 0.8),
    power=((9.0, 1.0, 0.02), (3.0, 0.3, 0.01), (1.0, 0.1, 0.005)),
)
GAUSSIAN = GaussianPrior(SPECTRUM)


def dense_gaussian() -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of GAUSSIAN over the flattened image, from the definition of a Spectrum."""
    _, h, w = SHAPE
    f = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None, :])
    f[0, 0] = 0.5
    power = np.stack([np.exp(np.interp(np.log(f), np.log(SPECTRUM.frequency), np.log(p))) for p in SPECTRUM.power])
    power[:, 0, 0] = h * w * np.array(SPECTRUM.mean_variance)
    dft = np.kron(np.fft.fft(np.eye(h), norm="ortho"), np.fft.fft(np.eye(w), norm="ortho"))
    basis = np.kron(BASIS, dft.conj().T)
    return np.repeat(SPECTRUM.mean, h * w), (basis @ np.diag(power.ravel()) @ basis.conj().T).real


@each_operator
def test_gaussian_posterior_is_bayes_rule(name):
    """Two images, so two masks or kernels; marginals and covariance by both of their routes."""
    operator, y = measured(name, ["one", "two"])
    posterior = GaussianPosterior(GAUSSIAN, operator, y, SIGMA_Y)
    pixels = torch.tensor([0, 13, N - 1])
    some, every, covariance = posterior.std(pixels), posterior.std(), posterior.covariance()
    v = Streams(3, "test", ["one", "two"], dtype=torch.float64).normal("v", SHAPE)
    times = posterior.covariance_times(v)
    for i, image_id in enumerate(["one", "two"]):
        truth = Bayes(*dense_gaussian(), matrix(name, image_id), y[i].flatten().numpy())
        np.testing.assert_allclose(posterior.mean[i].flatten(), truth.mean, atol=1e-8)
        np.testing.assert_allclose(covariance[i], truth.covariance, atol=1e-10)
        sd = np.sqrt(np.diag(truth.covariance))
        np.testing.assert_allclose(every[i].flatten(), sd, atol=1e-8)
        np.testing.assert_allclose(some[i], sd[pixels], atol=1e-8)
        np.testing.assert_allclose(times[i].flatten(), truth.covariance @ v[i].flatten().numpy(), atol=1e-8)


@each_operator
def test_gaussian_draws_have_the_posteriors_law(name):
    _, y = measured(name, ["one"])
    noise = unit_draws({"posterior": N, "posterior_noise": y.numel()})
    ids = ["one"] * len(noise["posterior"])
    posterior = GaussianPosterior(GAUSSIAN, build(name, ids), y.expand(len(ids), *y.shape[1:]), SIGMA_Y)
    truth = Bayes(*dense_gaussian(), matrix(name, "one"), y.flatten().numpy())
    check_affine(posterior.sample(Chosen(**noise)), truth.mean, truth.covariance, 1e-8)


def test_marginals_of_shift_invariant_problems_need_no_matrix(monkeypatch):
    """Denoising, colorization and periodic blurs at any size: one pixel stands for all; a mask does not."""
    monkeypatch.setattr(written_out, "_LARGEST", 0)
    for name in ("denoising", "uniform_circular", "motion", "colorization"):
        operator, y = measured(name, ["one"])
        truth = Bayes(*dense_gaussian(), matrix(name, "one"), y.flatten().numpy())
        sd = GaussianPosterior(GAUSSIAN, operator, y, SIGMA_Y).std()
        np.testing.assert_allclose(sd.flatten(), np.sqrt(np.diag(truth.covariance)), atol=1e-8)
    for name in ("inpaint_box", "bicubic", "gaussian_reflect", "walsh"):
        with pytest.raises(
            ValueError, match="give fewer or smaller images, or for standard deviations a list of pixels"
        ):
            GaussianPosterior(GAUSSIAN, *measured(name, ["one"]), SIGMA_Y).std()


def test_the_number_of_iterations_at_64_px(monkeypatch):
    """What the preconditioner is for: without it every one of these takes 190 to 750."""
    prior, counts, H = load_gaussian(), {}, GaussianPosterior._H

    def counted(self, v):
        kind = type(self.operator)
        counts[kind] = counts.get(kind, 0) + 1
        return H(self, v)

    monkeypatch.setattr(GaussianPosterior, "_H", counted)
    shape, streams = (3, 64, 64), Streams(0, "test", ["one"], dtype=torch.float64)
    for operator in (
        ops.BoxInpainting(shape, streams, hole=32, margin=4),
        ops.BicubicDownsample(shape, streams, factor=4),
        ops.MotionBlur(shape, streams, taps=15, intensity=0.5),
        ops.Colorization(shape, streams),
    ):
        y = operator.A(prior.sample(streams.normal("x", shape)))
        assert torch.isfinite(GaussianPosterior(prior, operator, y, SIGMA_Y).mean).all()
    assert counts[ops.BoxInpainting] < 120
    assert counts[ops.BicubicDownsample] < 60
    assert counts[ops.MotionBlur] < 20
    assert counts[ops.Colorization] < 30


def test_a_solution_that_is_not_reached_is_an_error(monkeypatch):
    monkeypatch.setattr(gaussian_posterior, "_ITERATIONS", 2)
    with pytest.raises(RuntimeError, match="take a larger sigma_y"):
        GaussianPosterior(GAUSSIAN, *measured("inpaint_random", ["one"]), SIGMA_Y).mean  # noqa: B018


class Known:
    """Three Gaussians of rank 2 as dense arrays over the flattened image."""

    def __init__(self, shape: tuple[int, int, int], apart: float, sd: tuple[float, ...] = (0.3, 0.5, 0.2)) -> None:
        draw, n = np.random.default_rng(5), math.prod(shape)
        self.weights, self.sd = np.array([0.5, 0.3, 0.2]), np.array(sd)
        self.means = apart * draw.normal(size=(3, n))
        self.factors = draw.normal(size=(3, 2, n)) * np.array([0.9, 0.4])[:, None]
        lows = np.einsum("kri,krj->kij", self.factors, self.factors)
        self.covariances = lows + self.sd[:, None, None] ** 2 * np.eye(n)
        image, images = (3, *shape), (3, 2, *shape)
        arrays = self.weights, self.means.reshape(image), self.factors.reshape(images), self.sd
        self.prior = MixturePrior(Mixture.of(*arrays))

    def bayes(self, A: np.ndarray, y: np.ndarray) -> tuple[list[Bayes], np.ndarray, float]:
        """Posterior of each component, weights, log evidence."""
        parts = [Bayes(m, C, A, y) for m, C in zip(self.means, self.covariances, strict=True)]
        log_joint = np.log(self.weights) + [part.log_evidence for part in parts]
        evidence = np.logaddexp.reduce(log_joint)
        return parts, np.exp(log_joint - evidence), float(evidence)


#: components so much alike that no measurement decides between them
MIXTURE = Known(SHAPE, 0.02, (0.47, 0.5, 0.48))


@each_operator
def test_mixture_posterior_is_bayes_rule(name):
    ids = ["one", "two"]
    operator, y = measured(name, ids)
    posterior = MixturePosterior(MIXTURE.prior, operator, y, SIGMA_Y)
    pixels = torch.tensor([0, 13, N - 1])
    sd = posterior.std(pixels)
    for i, image_id in enumerate(ids):
        parts, weights, evidence = MIXTURE.bayes(matrix(name, image_id), y[i].flatten().numpy())
        np.testing.assert_allclose(posterior.weights[i], weights, rtol=1e-8)
        np.testing.assert_allclose(posterior.log_evidence[i], evidence, rtol=1e-9)
        np.testing.assert_allclose(posterior.means[i].flatten(1), [part.mean for part in parts], atol=1e-10)
        mean = sum(w * part.mean for w, part in zip(weights, parts, strict=True))
        np.testing.assert_allclose(posterior.mean[i].flatten(), mean, atol=1e-10)
        second = sum(w * (np.diag(part.covariance) + part.mean**2) for w, part in zip(weights, parts, strict=True))
        np.testing.assert_allclose(sd[i], np.sqrt(second - mean**2)[pixels], atol=1e-9)


@each_operator
def test_mixture_draws_have_the_law_of_their_component(name):
    """The component is chosen by a uniform draw against the posterior weights; given it the draw is Gaussian."""
    _, y = measured(name, ["one"])
    parts, weights, _ = MIXTURE.bayes(matrix(name, "one"), y.flatten().numpy())
    noise = unit_draws({"posterior_factors": 2, "posterior": N, "posterior_noise": y.numel()})
    count = len(noise["posterior"])
    operator = build(name, ["one"] * count)
    posterior = MixturePosterior(MIXTURE.prior, operator, y.expand(count, *y.shape[1:]), SIGMA_Y)
    for k, part in enumerate(parts):
        u = torch.full((count,), float(weights[:k].sum() + weights[k] / 2))
        check_affine(posterior.sample(Chosen(**noise, posterior_component=u)), part.mean, part.covariance, 1e-9)
        columns = posterior.covariance_times(k, torch.eye(count)[:, :N].double().reshape(count, *SHAPE))
        np.testing.assert_allclose(columns[:N].flatten(1), part.covariance, atol=1e-9)


def test_posterior_weights_are_integrals_over_the_pixel():
    """One pixel: p(k | y) by summing prior times likelihood over a fine grid of x."""
    known = Known((1, 1, 1), 1.0)
    ids = [str(i) for i in range(9)]
    operator = ops.Denoising((1, 1, 1), Streams(0, "test", ids, dtype=torch.float64))
    y = torch.linspace(-2, 2, 9).double().reshape(9, 1, 1, 1)
    posterior = MixturePosterior(known.prior, operator, y, 0.3)
    x = np.linspace(-12, 12, 200_001)
    for i, value in enumerate(y.flatten().tolist()):
        likelihood = norm.pdf(value, x, 0.3)
        joint = [
            w * np.trapezoid(norm.pdf(x, m[0], math.sqrt(C[0, 0])) * likelihood, x)
            for w, m, C in zip(known.weights, known.means, known.covariances, strict=True)
        ]
        np.testing.assert_allclose(posterior.weights[i], joint / np.sum(joint), rtol=1e-6)
        np.testing.assert_allclose(posterior.log_evidence[i], math.log(np.sum(joint)), atol=1e-6)


def test_mixture_draws_have_the_posteriors_moments_and_weights():
    """20000 draws of a posterior with several modes; false-alarm rate 1e-3 over all numbers (Bonferroni)."""
    shape, count = (1, 2, 2), 20_000
    known = Known(shape, 0.5)
    y = torch.tensor([0.3]).double().reshape(1, 1, 1, 1)
    many = Many(count)
    operator = ops.AveragePool(shape, many, factor=2)
    posterior = MixturePosterior(known.prior, operator, y.expand(count, 1, 1, 1), SIGMA_Y)
    x = posterior.sample(many).flatten(1).numpy()
    parts, weights, _ = known.bayes(np.full((1, 4), 0.25), np.array([0.3]))
    assert weights.min() > 0.05  # a test of weights needs some
    mean = sum(w * part.mean for w, part in zip(weights, parts, strict=True))
    covariance = sum(
        w * (part.covariance + np.outer(part.mean - mean, part.mean - mean))
        for w, part in zip(weights, parts, strict=True)
    )
    # E[p(k | x, y)] = p(k | y); given x, y says nothing more about k
    log_joint = np.stack(
        [
            math.log(w) + multivariate_normal(m, C).logpdf(x)
            for w, m, C in zip(known.weights, known.means, known.covariances, strict=True)
        ],
        1,
    )
    responsibilities = np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True))
    upper = np.triu_indices(4)
    centred = x - mean
    products = centred[:, upper[0]] * centred[:, upper[1]] - covariance[upper]
    samples = np.concatenate([centred, products, responsibilities - weights], axis=1)
    z = samples.mean(0) / (samples.std(0) / math.sqrt(count))
    assert np.abs(z).max() < norm.isf(FALSE_ALARM / (2 * len(z)))


@pytest.mark.parametrize("task", ["bicubic", "box"])
def test_photographs_mean_and_evidence_agree(task):
    """A E[x | y] = y + sigma_y^2 grad log p(y) (Tweedie in y), by a finite difference along one direction at 64 px."""
    prior, shape = mixture_file.load(), (3, 64, 64)
    streams = Streams(0, "test", ["one"], dtype=torch.float64)
    operator = {
        "bicubic": lambda: ops.BicubicDownsample(shape, streams, factor=8),
        "box": lambda: ops.RandomInpainting(shape, streams, fraction=0.95),
    }[task]()
    rank = prior.mixture.rank
    x = prior.sample(streams.uniform("u", ()), streams.normal("a", (rank,)), streams.normal("z", shape))
    y = operator.A(x)
    seen = 1 if operator.observed is None else operator.observed
    y, v = y + SIGMA_Y * seen * streams.normal("n", y.shape[1:]), seen * streams.normal("v", y.shape[1:])
    step = 1e-3
    evidence = [MixturePosterior(prior, operator, y + s * step * v, SIGMA_Y).log_evidence for s in (1, -1)]
    slope = float(evidence[0] - evidence[1]) / (2 * step)
    mean = MixturePosterior(prior, operator, y, SIGMA_Y).mean
    expected = float(((operator.A(mean) - y) * v).sum()) / SIGMA_Y**2
    assert slope == pytest.approx(expected, rel=1e-5)


def test_what_has_no_exact_posterior_is_refused():
    operator, y = measured("denoising", ["one"])
    for build_posterior in (
        lambda *problem: GaussianPosterior(GAUSSIAN, *problem),
        lambda *problem: MixturePosterior(MIXTURE.prior, *problem),
    ):
        with pytest.raises(ValueError, match=r"got sigma_y 0\.0, expected > 0"):
            build_posterior(operator, y, 0.0)
        with pytest.raises(ValueError, match=r"expected torch\.float64"):
            build_posterior(operator, y.float(), SIGMA_Y)
        with pytest.raises(ValueError, match="2 measurements for an operator of a batch of 1"):
            build_posterior(operator, y.expand(2, -1, -1, -1), SIGMA_Y)
    with pytest.raises(ValueError, match="mixture prior is a distribution of images of 3x4x8"):
        MixturePosterior(MIXTURE.prior, *measured("denoising", ["one"], (3, 8, 8)), SIGMA_Y)
