"""The mixture prior against dense float64 numpy, autograd, and its own samples; its file and its fit.

Statistical tests use fixed seeds. Each compares all its numbers with their truths in standard errors and fails where
one is further off than a two-sided test of all of them at a false-alarm rate of 1e-3 allows (Bonferroni).
"""

import hashlib
import math

import numpy as np
import pytest
import torch
from many_streams import Many
from safetensors.numpy import load_file, save_file
from scipy.fft import idct
from scipy.stats import multivariate_normal, norm

from recipes import fit as fitting
from recipes import mixture_fit
from safari_bench.cli import main
from safari_bench.data import pip_photographs
from safari_bench.operators import Denoising
from safari_bench.priors import mixture_file
from safari_bench.priors.mixture import Mixture, MixturePrior
from safari_bench.rng import Streams
from safari_bench.samplers import Problem, Unconditional

FALSE_ALARM = 1e-3
ABAR = np.cumprod(1 - np.linspace(1e-4, 2e-2, 1000))


class Known:
    """Three Gaussians of rank 2 as dense arrays over the flattened image; means `apart` from each other."""

    def __init__(self, shape: tuple[int, int, int], apart: float) -> None:
        draw, n = np.random.default_rng(3), math.prod(shape)
        self.weights, self.sd = np.array([0.5, 0.3, 0.2]), np.array([0.3, 0.5, 0.2])
        self.means = apart * draw.normal(size=(3, n))
        self.factors = draw.normal(size=(3, 2, n)) * np.array([0.9, 0.4])[:, None]
        lows = np.einsum("kri,krj->kij", self.factors, self.factors)
        self.covariances = lows + self.sd[:, None, None] ** 2 * np.eye(n)
        image, images = (3, *shape), (3, 2, *shape)
        arrays = self.weights, self.means.reshape(image), self.factors.reshape(images), self.sd
        self.prior = MixturePrior(Mixture.of(*arrays))

    def log_joint(self, x_t: np.ndarray, abar: float) -> np.ndarray:
        """(b, K) log pi_k + log p(x_t | k)."""
        eye = np.eye(x_t.shape[1])
        return np.stack(
            [
                math.log(w) + multivariate_normal(math.sqrt(abar) * m, abar * C + (1 - abar) * eye).logpdf(x_t)
                for w, m, C in zip(self.weights, self.means, self.covariances, strict=True)
            ],
            1,
        )

    def x0_hat(self, x_t: np.ndarray, abar: float) -> np.ndarray:
        log_joint = self.log_joint(x_t, abar)
        weights = np.exp(log_joint - log_joint.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        result = np.zeros_like(x_t)
        for k, (m, C) in enumerate(zip(self.means, self.covariances, strict=True)):
            gain = math.sqrt(abar) * C @ np.linalg.inv(abar * C + (1 - abar) * np.eye(len(m)))
            result += weights[:, [k]] * (m + (x_t - math.sqrt(abar) * m) @ gain.T)
        return result


SHAPE = (3, 3, 4)
CLOSE, FAR = Known(SHAPE, 0.3), Known(SHAPE, 2.0)


def noised(known: Known, t: int, count: int = 5, scale: float = 1.0) -> torch.Tensor:
    """Draws of p_t, so that no component is out of reach."""
    draw = np.random.default_rng(t)
    k = draw.integers(3, size=count)
    n = known.means.shape[1]
    x = known.means[k] + np.stack([np.linalg.cholesky(known.covariances[j]) @ draw.normal(size=n) for j in k])
    x_t = math.sqrt(ABAR[t]) * x + math.sqrt(1 - ABAR[t]) * draw.normal(size=x.shape)
    return torch.from_numpy(scale * x_t).reshape(count, *SHAPE)


@pytest.mark.parametrize("known", [CLOSE, FAR], ids=["close", "far"])
@pytest.mark.parametrize("t", [0, 100, 500, 999])
def test_prediction_is_the_conditional_mean(known, t):
    x_t = noised(known, t)
    flat = x_t.numpy().reshape(5, -1)
    expected = known.x0_hat(flat, ABAR[t])
    prediction = known.prior.predict(x_t, t)
    np.testing.assert_allclose(prediction.x0_hat.numpy().reshape(5, -1), expected, atol=1e-10)
    eps = (flat - math.sqrt(ABAR[t]) * expected) / math.sqrt(1 - ABAR[t])
    np.testing.assert_allclose(prediction.eps_hat.numpy().reshape(5, -1), eps, atol=1e-8)
    single = known.prior.predict(x_t.float(), t)
    assert single.x0_hat.dtype == single.eps_hat.dtype == torch.float32
    np.testing.assert_allclose(single.x0_hat.numpy().reshape(5, -1), expected, atol=2e-6)
    np.testing.assert_allclose(known.prior.log_joint(x_t, t), known.log_joint(flat, ABAR[t]), atol=1e-9)


@pytest.mark.parametrize("t", [0, 300, 999])
def test_prediction_is_tweedies_formula(t):
    """x0_hat = (x_t + (1 - abar) grad log p_t(x_t)) / sqrt(abar), the gradient by autograd of a dense density."""
    x_t = noised(CLOSE, t).flatten(1).requires_grad_()
    terms = []
    for w, m, C in zip(CLOSE.weights, CLOSE.means, CLOSE.covariances, strict=True):
        covariance = torch.from_numpy(ABAR[t] * C + (1 - ABAR[t]) * np.eye(len(m)))
        law = torch.distributions.MultivariateNormal(torch.from_numpy(math.sqrt(ABAR[t]) * m), covariance)
        terms.append(math.log(w) + law.log_prob(x_t))
    (score,) = torch.autograd.grad(torch.stack(terms, 1).logsumexp(1).sum(), x_t)
    expected = (x_t.detach() + (1 - ABAR[t]) * score) / math.sqrt(ABAR[t])
    images = x_t.detach().reshape(-1, *SHAPE).requires_grad_()
    np.testing.assert_allclose(CLOSE.prior.predict(images, t).x0_hat.detach().flatten(1), expected, atol=1e-8)
    (ours,) = torch.autograd.grad(CLOSE.prior.log_joint(images, t).logsumexp(1).sum(), images)
    np.testing.assert_allclose(ours.flatten(1), score, atol=1e-9)


def test_gradients_of_the_prediction_are_those_of_finite_differences():
    x_t = noised(CLOSE, 400, count=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: CLOSE.prior.predict(x, 400).x0_hat, x_t)


def test_an_image_does_not_see_its_batch():
    x_t = noised(CLOSE, 300)
    together = CLOSE.prior.predict(x_t, 300).x0_hat
    for i in range(len(x_t)):
        torch.testing.assert_close(CLOSE.prior.predict(x_t[i : i + 1], 300).x0_hat[0], together[i], rtol=0, atol=1e-13)


@pytest.mark.parametrize("t", [0, 999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_from_every_component_the_weights_stay_finite(t, dtype):
    """Densities underflow to 0 in either precision; their ratio must not become 0 / 0."""
    x_t = noised(FAR, t, scale=1e4).to(dtype)
    x0_hat = FAR.prior.predict(x_t, t).x0_hat
    expected = FAR.x0_hat(x_t.double().numpy().reshape(5, -1), ABAR[t])
    np.testing.assert_allclose(x0_hat.numpy().reshape(5, -1), expected, rtol=1e-5 if dtype == torch.float32 else 1e-9)


def test_clipping_moves_both_predictions():
    x_t = noised(FAR, 50)
    clipped = FAR.prior.predict(x_t, 50, clip=True)
    torch.testing.assert_close(clipped.x0_hat, FAR.prior.predict(x_t, 50).x0_hat.clamp(-1, 1))
    eps = (x_t - math.sqrt(ABAR[50]) * clipped.x0_hat) / math.sqrt(1 - ABAR[50])
    torch.testing.assert_close(clipped.eps_hat, eps)


def check_moments(draws: np.ndarray, known: Known) -> None:
    """Mean, covariance and weights of draws (N, n) against the mixture's.

    E[p(k | x)] = pi_k over x from the mixture, so that the weights are judged without assigning draws to components.
    """
    n = draws.shape[1]
    mean = known.weights @ known.means
    apart = known.means - mean
    covariance = np.einsum("k,kij->ij", known.weights, known.covariances + np.einsum("ki,kj->kij", apart, apart))
    log_joint = known.log_joint(draws, 1.0)
    responsibilities = np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True))
    centred, upper = draws - mean, np.triu_indices(n)
    products = centred[:, upper[0]] * centred[:, upper[1]]
    samples = np.concatenate([centred, products - covariance[upper], responsibilities - known.weights], axis=1)
    z = samples.mean(0) / (samples.std(0) / math.sqrt(len(draws)))
    limit = norm.isf(FALSE_ALARM / (2 * samples.shape[1]))
    worst = int(np.abs(z).argmax())
    assert abs(z[worst]) < limit, f"number {worst} of {len(z)} is {z[worst]:.1f} standard errors off"


@pytest.mark.parametrize("apart", [0.5, 1.5])
def test_samples_have_the_mixtures_moments_and_weights(apart):
    shape, many = (1, 2, 2), Many(50_000)
    known = Known(shape, apart)
    draws = known.prior.sample(many.uniform("u", ()), many.normal("a", (2,)), many.normal("z", shape))
    check_moments(draws.flatten(1).numpy(), known)


def test_sampling_is_the_component_of_u_applied_to_white_noise():
    n, prior = math.prod(SHAPE), FAR.prior
    for u, k in [(0.0, 0), (0.499, 0), (0.501, 1), (0.799, 1), (0.801, 2), (0.999999, 2)]:
        inputs = torch.cat([torch.zeros(1, n + 2), torch.eye(n + 2)]).double()
        x = prior.sample(torch.full((n + 3,), u), inputs[:, :2], inputs[:, 2:].reshape(-1, *SHAPE)).flatten(1)
        np.testing.assert_allclose(x[0], FAR.means[k], atol=1e-12)
        B = (x[1:] - x[0]).T
        np.testing.assert_allclose(B @ B.T, FAR.covariances[k], atol=1e-12)


@pytest.mark.parametrize("apart", [0.5, 1.5])
def test_unconditional_sampling_reproduces_the_mixture(apart):
    """DDIM with eta 1, 500 steps, 4000 draws: the bias of the steps is below the standard errors of so few draws."""
    shape, many = (1, 2, 2), Many(4000)
    known = Known(shape, apart)
    sampler = Unconditional(steps=500, eta=1.0, clip=False)
    operator = Denoising(shape, many)
    draws = sampler.restore(
        Problem(y=torch.zeros(4000, *shape), operator=operator, sigma_y=0.0, streams=many),
        known.prior,
        lambda pairs: pairs,
    )
    check_moments(draws.flatten(1).numpy(), known)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"images of 3x3x4 .* got 3x8x8; set dataset.size=3"):
        CLOSE.prior.predict(torch.zeros(1, 3, 8, 8), 3)
    with pytest.raises(ValueError, match="prior=gaussian"):
        mixture_file.load().predict(torch.zeros(1, 3, 32, 32), 3)


def test_what_is_no_mixture_is_refused():
    means, factors = np.zeros((2, *SHAPE)), np.ones((2, 1, *SHAPE))
    with pytest.raises(ValueError, match="sum 1"):
        Mixture.of(np.array([0.5, 0.6]), means, factors, np.ones(2))
    with pytest.raises(ValueError, match="must be positive"):
        Mixture.of(np.array([0.5, 0.5]), means, factors, np.array([1.0, 0.0]))


def test_the_digest_follows_the_numbers():
    assert CLOSE.prior.sha256 == Known(SHAPE, 0.3).prior.sha256 != FAR.prior.sha256


SHIPPED = mixture_file.__file__.replace("mixture_file.py", "mixture_photos.safetensors")


def test_the_shipped_file_is_small_and_named_by_its_digest():
    with open(SHIPPED, "rb") as file:
        content = file.read()
    assert len(content) <= 2 * 2**20
    prior = mixture_file.load()
    assert prior.sha256 == hashlib.sha256(content).hexdigest()
    assert prior.mixture.image_shape == (3, 64, 64)
    gram = prior.mixture.basis.flatten(1) @ prior.mixture.basis.flatten(1).T
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-10)


def test_float32_and_float64_agree_on_photographs():
    """At 64 px the log weights are sums of 12288 terms."""
    prior, streams = mixture_file.load(), Streams(0, "test", ["a", "b"], dtype=torch.float64)
    rank = prior.mixture.rank
    x = prior.sample(streams.uniform("u", ()), streams.normal("a", (rank,)), streams.normal("z", (3, 64, 64)))
    for t in (5, 600):
        x_t = prior.schedule.add_noise(x, t, streams.normal("eps", (3, 64, 64))).float()
        double = prior.predict(x_t.double(), t).x0_hat
        torch.testing.assert_close(prior.predict(x_t, t).x0_hat, double.float(), rtol=0, atol=1e-6)


def test_a_file_is_checked_on_load(tmp_path, monkeypatch):
    arrays = load_file(SHIPPED)
    arrays["sd"] = arrays["sd"] * 1.01
    other = tmp_path / "other.safetensors"
    digest = mixture_file.write(other, arrays)
    assert mixture_file.load(str(other), digest).sha256 == mixture_file.load(str(other)).sha256 == digest
    with pytest.raises(ValueError, match=f"has sha256 {digest}, expected {'0' * 64}"):
        mixture_file.load(str(other), "0" * 64)
    monkeypatch.setattr(mixture_file, "_SHA256", "1" * 64)
    with pytest.raises(ValueError, match=f"expected {'1' * 64}"):
        mixture_file.load()
    with pytest.raises(FileNotFoundError, match=r"recipes\.fit mixture"):
        mixture_file.load(str(tmp_path / "none"))
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ValueError, match="not a fitted mixture"):
        mixture_file.load(str(tmp_path / "text"))
    save_file({"shape": np.array([3, 64, 64])}, tmp_path / "part")
    with pytest.raises(ValueError, match="not a fitted mixture"):
        mixture_file.load(str(tmp_path / "part"))


def low_pass(shape, places, count, sd, mean, seed):
    """Draws of N(mean, diagonal on cosine coefficients `places`, plus sd^2 I), grey axis first."""
    draw = np.random.default_rng(seed)
    coefficients = np.zeros((count, *shape))
    for (c, i, j), scale in places.items():
        coefficients[:, c, i, j] = scale * draw.normal(size=count)
    coefficients[:, 0, 0, 0] += mean
    waves = idct(idct(coefficients, axis=2, norm="ortho"), axis=3, norm="ortho")
    return waves + sd * draw.normal(size=waves.shape)


def test_fit_recovers_a_known_mixture():
    """Two components whose axes are cosines, so that mirror images are as likely. 4000 draws: 5 % of a scale is
    three standard errors (1 / sqrt(2 * 4 * 1500), the mirror images counting for one), a weight's is 0.008."""
    shape = (3, 8, 8)
    first = {(0, 0, 0): 3.0, (0, 0, 1): 2.0, (1, 0, 0): 1.5}
    second = {(0, 0, 0): 2.5, (0, 1, 0): 2.0, (2, 0, 0): 1.2}
    images = np.concatenate([low_pass(shape, first, 2400, 0.3, 12.0, 0), low_pass(shape, second, 1600, 0.1, -12.0, 1)])
    arrays = mixture_fit.fit(images.astype(np.float32), components=2, dimensions=20, rank=3)
    mixture = mixture_file.decode(arrays)
    order = mixture.means.abs().argmax(1)
    signs = [float(m[a] * mixture.basis[a].sum()) for m, a in zip(mixture.means, order, strict=True)]
    k = np.argsort(signs)[::-1]  # the bright one first, whatever the sign of the grey axis
    np.testing.assert_allclose(mixture.weights[k.copy()], [0.6, 0.4], atol=0.01)
    np.testing.assert_allclose(mixture.sd[k.copy()], [0.3, 0.1], rtol=0.02)
    scales = torch.linalg.svdvals(mixture.factors)[k.copy()]
    np.testing.assert_allclose(
        (scales**2 + mixture.sd[k.copy(), None] ** 2).sqrt(), [[3, 2, 1.5], [2.5, 2, 1.2]], rtol=0.08
    )
    means = torch.tensordot(mixture.means[k.copy()], mixture.basis, 1).flatten(1).norm(dim=1)
    np.testing.assert_allclose(means, [12, 12], atol=0.3)


def test_a_component_with_too_few_crops_is_refused():
    crops = low_pass((3, 8, 8), {(0, 0, 0): 1.0}, 20, 0.1, 0.0, 0).astype(np.float32)
    with pytest.raises(ValueError, match="expected at least"):
        mixture_fit.fit(crops, components=4, dimensions=150, rank=100)


def test_only_train_photographs_are_read(monkeypatch):
    read, seen = pip_photographs._read, set()

    def watched(name):
        seen.add(name)
        return read(name)

    monkeypatch.setattr(pip_photographs, "_read", watched)
    monkeypatch.setattr(fitting, "_CROPS", {1: 6, 4: 2})
    crops = fitting.train_crops()
    assert seen == set(pip_photographs.SPLITS["train"])
    assert crops.shape[1:] == (3, 64, 64)
    assert -1 <= crops.min() < crops.max() <= 1


def test_the_command_knows_both_priors(monkeypatch, capsys):
    written = []
    monkeypatch.setattr(fitting, "write_spectrum", lambda path: written.append(("gaussian", str(path))))
    monkeypatch.setattr(fitting, "write_mixture", lambda path: written.append(("mixture", str(path))))
    for words in (["gaussian"], ["gaussian", "b"], ["mixture"], ["mixture", "c"]):
        assert fitting.main(words) == 0
    assert written == [
        ("gaussian", "gaussian_photos.json"),
        ("gaussian", "b"),
        ("mixture", "mixture_photos.safetensors"),
        ("mixture", "c"),
    ]
    with pytest.raises(SystemExit) as end:
        fitting.main(["other"])
    assert end.value.code == 2
    assert "mixture" in capsys.readouterr().err


def test_the_prior_runs_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["prior=mixture", "sampler=unconditional", "sampler.steps=2", "dataset.n=1", "compute.device=cpu"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "dataset.size=256", "name=large"]) == 2
    assert "set dataset.size=64" in capsys.readouterr().err


@pytest.mark.slow
def test_the_shipped_mixture_is_the_fit_to_the_train_photographs():
    """Density of the crops, to 1e-3 nats per pixel: expectation maximisation amplifies the last bits of a library."""
    crops = fitting.train_crops()
    again = MixturePrior(mixture_file.decode(mixture_fit.fit(crops)))
    some = torch.from_numpy(crops[::50])
    ours, theirs = (p.log_joint(some, -1).logsumexp(1).mean() / some[0].numel() for p in (mixture_file.load(), again))
    assert abs(float(ours - theirs)) < 1e-3
