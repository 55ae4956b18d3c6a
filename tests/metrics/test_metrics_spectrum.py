"""The spectrum error on signals whose spectrum is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from safari_bench.metrics import SpectrumError

BANDS = ("low", "mid", "high")


def errors(x_hat: Tensor, x: Tensor) -> np.ndarray:
    """Rows are images, columns low, mid, high."""
    return torch.stack([SpectrumError(band)(x_hat, x) for band in BANDS], dim=1).numpy()


def white(seed: int, shape: tuple[int, ...] = (2, 3, 64, 96), half_width: float = 0.4) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-half_width, half_width, shape))


def wave(frequency: tuple[float, float], shape: tuple[int, ...] = (64, 96)) -> Tensor:
    """A sinusoid of (vertical, horizontal) cycles per pixel."""
    rows, columns = np.indices(shape)
    return torch.from_numpy(0.3 * np.cos(2 * math.pi * (frequency[0] * rows + frequency[1] * columns) + 0.7))


def test_twice_the_amplitude_is_6_02_db_in_every_band() -> None:
    x = white(0)
    assert errors(2 * x, x) == pytest.approx(20 * math.log10(2), abs=1e-3)  # 1e-3 is the floor of 8-bit rounding
    assert errors(x, 2 * x) == pytest.approx(-20 * math.log10(2), abs=1e-3)


def test_independent_noise_of_the_same_law_has_no_error() -> None:
    """Mean 0 and, measured over 200 seeds, sd 0.40, 0.20, 0.08 dB for 3 channels; with 16 the bounds are 5 sd."""
    error = errors(white(1, (2, 16, 128, 128)), white(2, (2, 16, 128, 128)))
    assert (np.abs(error) < [0.86, 0.43, 0.17]).all()


def test_noise_over_a_flat_image_is_measured_over_the_rounding_of_8_bits() -> None:
    """White noise of variance v on [0, 1] over q = 1 / (12 * 255^2): 10 log10(1 + v / q).

    Measured over 200 seeds the error is 0.41, 0.06, 0.03 dB lower, because the mean of a logarithm is below the
    logarithm of the mean and inner rings have few bins; the bounds add 5 sd to that.
    """
    x_hat = white(3, (1, 16, 128, 128), half_width=0.5)
    expected = 10 * math.log10(1 + (0.5 / 2) ** 2 / 3 * 12 * 255**2)
    error = errors(x_hat, torch.zeros_like(x_hat))[0]
    assert (np.abs(error - expected) < [1.0, 0.36, 0.16]).all()
    assert errors(torch.zeros_like(x_hat), torch.full_like(x_hat, 0.5)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("band", "frequency"),
    [
        ("low", (4 / 64, 0)),
        ("low", (0, 6 / 96)),
        ("low", (0, 9 / 96)),
        ("mid", (12 / 64, 0)),
        ("mid", (0, 18 / 96)),
        ("high", (24 / 64, 0)),
        ("high", (0, 36 / 96)),
        ("high", (16 / 64, 24 / 96)),  # each axis alone would be at the edge of mid
        (None, (26 / 64, 39 / 96)),  # beyond the circle of Nyquist
    ],
)
def test_a_sinusoid_touches_its_own_band_only(band: str | None, frequency: tuple[float, float]) -> None:
    x = white(4, half_width=0.2)
    error = errors(x + wave(frequency), x)
    for column, name in zip(error.T, BANDS, strict=True):
        if name == band:
            assert (column > 0.5).all()
        else:
            assert column == pytest.approx(0, abs=1e-9)


def test_turning_the_images_changes_nothing() -> None:
    x_hat, x = white(8), white(9)
    assert errors(x_hat.mT, x.mT) == pytest.approx(errors(x_hat, x), abs=1e-9)


def test_a_wave_that_does_not_fit_the_image_stays_out_of_the_high_band() -> None:
    """3.5 periods over the height jump at the edge; unwindowed, that edge alone is worth 9.6 dB in high."""
    x = white(10, half_width=0.02)
    low, _, high = errors(x + wave((3.5 / 64, 0)), x).T
    assert (low > 1).all() and (np.abs(high) < 0.01).all()


def test_channels_are_averaged_in_db() -> None:
    x = white(5, (1, 3, 64, 96), half_width=0.2)
    x_hat = x.clone()
    x_hat[:, 1] += wave((12 / 64, 0))
    assert errors(x_hat, x) == pytest.approx(errors(x_hat[:, 1:2], x[:, 1:2]) / 3, abs=1e-9)


def test_a_blur_lowers_each_ring_by_its_transfer_function() -> None:
    """A circular Gaussian blur of sd s multiplies frequency f by exp(-2 pi^2 s^2 f^2)."""
    n, s = 128, 0.7
    x = white(6, (2, 3, n, n), half_width=0.8)
    f = torch.fft.fftfreq(n, dtype=torch.float64)
    gain = torch.exp(-2 * (math.pi * s) ** 2 * (f[:, None] ** 2 + f**2))
    error = errors(torch.fft.ifft2(torch.fft.fft2(x) * gain).real, x)
    for column, (first, last) in zip(error.T, [(1, 16), (17, 32), (33, 64)], strict=True):
        rings = np.arange(first, last + 1) / n
        expected = -40 * math.log10(math.e) * (math.pi * s) ** 2 * np.mean(rings**2)
        assert column == pytest.approx(expected, abs=0.15)


def test_brightness_does_not_matter() -> None:
    x = white(7)
    assert errors(x + 0.5, x) == pytest.approx(0, abs=1e-9)


def test_an_unknown_band_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 'middle', expected one of \['low', 'mid', 'high'\]"):
        SpectrumError("middle")
