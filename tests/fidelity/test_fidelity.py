"""psi's identities (ALGORITHMS, section 3) and its parts against dense matrices."""

import math

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from safari_bench.fidelity import Perceptual, frequency, low_pass_power, pixel, spatial
from safari_bench.rng import Streams


def residual(shape=(3, 10, 14), n=3, dtype=torch.float64):
    return Streams(0, "test", [str(i) for i in range(n)], dtype=dtype).normal("r", shape)


def test_pixel_is_the_squared_norm_per_image():
    r = residual()
    torch.testing.assert_close(pixel(r), torch.from_numpy(np.linalg.norm(r.numpy().reshape(3, -1), axis=1) ** 2))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_spatial_against_pillow(factor):
    r = residual((1, 10, 14), n=1, dtype=torch.float32)
    picture = Pillow.fromarray(r[0, 0].numpy())
    up = np.asarray(picture.resize((14 * factor, 10 * factor), Pillow.Resampling.BICUBIC), dtype=np.float64)
    assert math.isclose(float(spatial(r, factor)), (up**2).sum() / factor**2, rel_tol=1e-4)


@pytest.mark.parametrize("width", [7, 8])
def test_frequency_against_a_dense_dft(width):
    r = residual((2, 6, width), n=2)
    dft = np.kron(np.fft.fft(np.eye(6), norm="ortho"), np.fft.fft(np.eye(width), norm="ortho"))
    spectrum = r.numpy().reshape(2, 2, -1) @ dft.T
    low = low_pass_power(6, width, 0.4).numpy().ravel()
    expected = ((1.5 * low + 0.25 * (1 - low)) * np.abs(spectrum) ** 2).sum((1, 2))
    np.testing.assert_allclose(frequency(r, 1.5, 0.25, 0.4).numpy(), expected, rtol=1e-10)


def test_equal_bands_are_the_pixel_residual():
    r = residual()
    torch.testing.assert_close(Perceptual(low=1.0, high=1.0)(r), pixel(r), rtol=1e-12, atol=0)


def test_pixel_alone_is_the_pixel_residual_to_the_last_bit():
    r = residual(dtype=torch.float32)
    assert torch.equal(Perceptual(pixel=1.0)(r), pixel(r))


@pytest.mark.parametrize("factor", [2, 4])
def test_a_constant_residual_weighs_the_same_in_pixel_and_spatial_parts(factor):
    r = torch.full((1, 3, 9, 12), 0.3, dtype=torch.float64)
    torch.testing.assert_close(spatial(r, factor), pixel(r), rtol=1e-6, atol=0)


def test_the_sum_is_linear_in_its_weights_and_quadratic_in_r():
    r = residual()
    parts = [Perceptual(**{name: 1.0})(r) for name in ("pixel", "spatial", "low", "high")]
    weights = (0.5, 2.0, 0.25, 3.0)
    whole = Perceptual(pixel=0.5, spatial=2.0, low=0.25, high=3.0)
    torch.testing.assert_close(whole(r), sum(w * p for w, p in zip(weights, parts, strict=True)))
    torch.testing.assert_close(whole(-3 * r), 9 * whole(r))


def test_the_masks_split_the_band_at_the_cutoff():
    low = low_pass_power(64, 64, 0.25)
    f = torch.hypot(torch.fft.fftfreq(64)[:, None], torch.fft.fftfreq(64)[None, :]) / 0.5
    assert low[0, 0] == 1
    assert (low[f < 0.25 / math.sqrt(2) - 1e-6] == 1).all()
    assert low[f > 0.25 * math.sqrt(2) + 1e-6].max() < 1e-12
    assert math.isclose(float(low[0, 8]), 0.5, abs_tol=1e-9)  # half power at the cutoff itself
    assert ((low >= 0) & (low <= 1)).all()


@pytest.mark.parametrize(
    ("weights", "injective"),
    [
        (dict(pixel=1.0), True),
        (dict(spatial=0.1), True),
        (dict(low=1.0, high=0.1), True),
        (dict(low=1.0), False),
        (dict(high=1.0), False),
        (dict(), False),
    ],
)
def test_injectivity_is_what_the_null_space_says(weights, injective):
    """psi is injective when L > 0 for every r != 0: compared with the smallest eigenvalue of L's matrix M."""
    psi = Perceptual(**weights)
    assert psi.injective is injective
    basis = torch.eye(36, dtype=torch.float64).reshape(36, 1, 6, 6)
    L = psi(basis)
    pairs = psi((basis[:, None] + basis[None]).reshape(-1, 1, 6, 6)).reshape(36, 36)
    M = (pairs - L[:, None] - L[None]) / 2  # polarisation
    assert (torch.linalg.eigvalsh(M)[0] > 1e-6).item() is injective


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (dict(pixel=-1.0), r"Perceptual: pixel: got -1.0"),
        (dict(high=math.nan), r"Perceptual: high: got nan"),
        (dict(cutoff=0.0), r"Perceptual: cutoff: got 0.0"),
        (dict(factor=1), r"Perceptual: factor: got 1"),
    ],
)
def test_impossible_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Perceptual(**weights)


def test_no_weights_guide_nowhere():
    r = residual().requires_grad_()
    (gradient,) = torch.autograd.grad(Perceptual()(r).sum(), r)
    assert (gradient == 0).all()
