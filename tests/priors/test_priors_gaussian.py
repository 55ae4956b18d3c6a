"""The Gaussian prior against dense linear algebra, and its fit against spectra that are known."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from recipes.fit import fit_train_photographs
from safari_bench.priors.gaussian import GaussianPrior, Spectrum, fit, load
from safari_bench.rng import Streams

BASIS = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
KNOWN = Spectrum(
    mean=(0.1, -0.2, 0.3),
    basis=tuple(map(tuple, BASIS.tolist())),
    mean_variance=(0.3, 0.2, 0.1),
    frequency=(0.02, 0.1, 0.7),
    power=((9.0, 1.0, 0.02), (3.0, 0.3, 0.01), (1.0, 0.1, 0.005)),
)


def dense_covariance(spectrum: Spectrum, height: int, width: int) -> np.ndarray:
    """C as a matrix over (c, h, w), from the definition: Q x DFT, diagonal power."""
    power = np.empty((3, height, width))
    for i, fy in enumerate(np.fft.fftfreq(height)):
        for j, fx in enumerate(np.fft.fftfreq(width)):
            f = math.hypot(fy, fx) or 1.0
            knots = np.log(spectrum.frequency)
            for c in range(3):
                values = np.log(spectrum.power[c])
                if math.log(f) < knots[1]:
                    slope = (values[1] - values[0]) / (knots[1] - knots[0])
                    power[c, i, j] = math.exp(values[0] + slope * (math.log(f) - knots[0]))
                else:
                    slope = (values[2] - values[1]) / (knots[2] - knots[1])
                    power[c, i, j] = math.exp(values[1] + slope * (math.log(f) - knots[1]))
    power[:, 0, 0] = height * width * np.array(spectrum.mean_variance)
    dft = np.kron(np.fft.fft(np.eye(height), norm="ortho"), np.fft.fft(np.eye(width), norm="ortho"))
    basis = np.kron(np.array(spectrum.basis), dft.conj().T)
    return (basis @ np.diag(power.ravel()) @ basis.conj().T).real


@pytest.mark.parametrize("shape", [(6, 8), (7, 5)])
@pytest.mark.parametrize("t", [0, 300, 999])
def test_prediction_is_the_conditional_mean(shape, t):
    prior = GaussianPrior(KNOWN)
    abar = prior.schedule.abar(t)
    covariance = dense_covariance(KNOWN, *shape)
    mean = np.repeat(KNOWN.mean, shape[0] * shape[1])
    x_t = Streams(0, "test", ["a", "b"], dtype=torch.float64).normal("x", (3, *shape))
    x = x_t.numpy().reshape(2, -1)
    gain = math.sqrt(abar) * covariance @ np.linalg.inv(abar * covariance + (1 - abar) * np.eye(len(mean)))
    expected = mean + (x - math.sqrt(abar) * mean) @ gain.T
    prediction = prior.predict(x_t, t)
    np.testing.assert_allclose(prediction.x0_hat.numpy().reshape(2, -1), expected, atol=1e-10)
    eps = (x - math.sqrt(abar) * expected) / math.sqrt(1 - abar)
    np.testing.assert_allclose(prediction.eps_hat.numpy().reshape(2, -1), eps, atol=1e-8)


def test_samples_are_an_exact_linear_map_of_white_noise():
    """sample(z) = mu + B z with B B^T = C, found by sending unit vectors through."""
    prior, shape = GaussianPrior(KNOWN), (3, 4, 6)
    n = math.prod(shape)
    columns = prior.sample(torch.cat([torch.zeros(1, n), torch.eye(n)]).double().reshape(-1, *shape)).reshape(n + 1, n)
    B = (columns[1:] - columns[0]).T.numpy()
    np.testing.assert_allclose(columns[0].numpy(), np.repeat(KNOWN.mean, 24), atol=1e-12)
    np.testing.assert_allclose(B @ B.T, dense_covariance(KNOWN, 4, 6), atol=1e-10)


def test_fit_recovers_a_known_spectrum():
    """From 200 draws of 64 px; power within 12 % where the window does not smear the spectrum."""
    truth = GaussianPrior(KNOWN)
    z = Streams(0, "test", [str(i) for i in range(200)], dtype=torch.float64).normal("z", (3, 64, 64))
    fitted = fit(list(truth.sample(z).numpy()))
    # 200 images: means to 4 standard errors of sqrt(0.3 / 200), their variances to 4 of sqrt(2 / 200)
    np.testing.assert_allclose(fitted.mean, KNOWN.mean, atol=0.16)
    np.testing.assert_allclose(fitted.mean_variance, KNOWN.mean_variance, rtol=0.4)
    overlap = np.abs(np.array(fitted.basis).T @ BASIS)
    np.testing.assert_allclose(overlap, np.eye(3), atol=0.25)  # axes of few, slowly varying colours turn a little
    expected, ours = KNOWN.on_grid(64, 64), fitted.on_grid(64, 64)
    f = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None, :])
    middle = (f > 0.05) & (f < 0.6)
    ratio = np.array([(ours[c][middle] / expected[c][middle]).mean() for c in range(3)])
    np.testing.assert_allclose(ratio, 1, atol=0.12)


def test_the_shipped_spectrum_is_the_fit_to_the_train_photographs():
    shipped, again = asdict(load().spectrum), asdict(fit_train_photographs())
    assert len(shipped["frequency"]) == len(again["frequency"])
    for key in ("mean", "mean_variance", "frequency", "power"):
        np.testing.assert_allclose(shipped[key], again[key], rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.array(shipped["basis"]).T @ np.array(again["basis"])), np.eye(3), atol=1e-6)


def test_natural_images_have_falling_power():
    power = np.array(load().spectrum.power)
    assert (power[:, 2] > 100 * power[:, -1]).all()


def test_the_digest_follows_the_numbers():
    other = GaussianPrior(Spectrum(**{**asdict(KNOWN), "mean": (0.1, -0.2, 0.31)}))
    assert GaussianPrior(KNOWN).sha256 == GaussianPrior(KNOWN).sha256 != other.sha256


def test_wrong_files_and_channels_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"recipes\.fit gaussian"):
        load(str(tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text(json.dumps({"mean": [0]}))
    with pytest.raises(ValueError, match="not a fitted spectrum"):
        load(str(tmp_path / "bad.json"))
    with pytest.raises(ValueError, match="fitted for 3 channels, got images of 1"):
        GaussianPrior(KNOWN).predict(torch.zeros(1, 1, 8, 8), 3)
