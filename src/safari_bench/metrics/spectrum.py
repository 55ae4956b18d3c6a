"""How much too much or too little power a restoration has, by spatial frequency.

A blurred restoration and one with invented texture may have the same PSNR; this error has a sign that tells them apart.
"""

import math

import torch
from torch import Tensor

from safari_bench.metrics.contract import unit_pair
from safari_bench.shapes import Image, PerImage

__all__ = ["BANDS", "SpectrumError"]

#: Radial frequency as a fraction of Nyquist, lower edge excluded, upper edge included. Octaves: what x4 downsampling
#: keeps, what x2 downsampling keeps beyond that, and the rest up to the circle of Nyquist; corners belong to no band.
BANDS = {"low": (0.0, 1 / 4), "mid": (1 / 4, 1 / 2), "high": (1 / 2, 1.0)}

#: Variance that rounding to 8 bits adds on [0, 1], white. Power below it is not in the image that was saved.
ROUNDING_POWER = (1 / 255) ** 2 / 12


class SpectrumError:
    """Radially averaged power-spectrum error of one band in dB: positive for excess power, negative for a lack, 0 best.

    P(k) is the power spectrum averaged over ring k. The error is 10 log10((P_hat(k) + q) / (P(k) + q)), averaged over
    the rings of the band and over channels, so that every ring counts the same although natural spectra fall as 1/f^2;
    q is the power of 8-bit rounding, which keeps a flat image finite.

    Protocol: RGB on [0, 1], each channel on its own, mean (under the window) removed, periodic Hann window of unit
    energy, rings one frequency step of the shorter side wide, a ring in the band that holds its centre. The window
    spreads a sinusoid over one step to each side. Sides of 16 px or more, so that each band has two rings.

    Args:
        band: "low", "mid" or "high", see ``BANDS``.

    Raises:
        ValueError: if there is no such band.
    """

    higher_is_better = None

    def __init__(self, band: str) -> None:
        if band not in BANDS:
            raise ValueError(f"band: got {band!r}, expected one of {list(BANDS)}. Correct the metrics config.")
        self.band = band
        self.name = f"spectrum_{band}"

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """dB, (b,)."""
        restored, reference = unit_pair(x_hat, x, min_side=16)
        ratio = (ring_power(restored) + ROUNDING_POWER) / (ring_power(reference) + ROUNDING_POWER)
        nyquist = min(x.shape[-2:]) / 2
        lower, upper = (edge * nyquist for edge in BANDS[self.band])
        rings = slice(math.floor(lower) + 1, math.floor(upper) + 1)
        decibels: Tensor = 10 * ratio[..., rings].log10()
        return decibels.mean((1, 2))


def ring_power(image: Tensor) -> Tensor:
    """Power averaged over rings 0, 1, 2, ... frequency steps of the shorter side, (b, c, rings), of images on [0, 1].

    The window has unit energy, so white noise of variance v has expected power v in every ring but those next to 0.
    """
    h, w = image.shape[-2:]
    window = torch.outer(_hann(h), _hann(w)).to(image.device)
    window = window / window.norm()
    mean = (image * window).sum((-2, -1), keepdim=True) / window.sum()
    power = torch.fft.fft2((image - mean) * window).abs().square().flatten(-2)

    frequency = torch.hypot(*torch.meshgrid(_frequencies(h), _frequencies(w), indexing="ij"))
    ring = (frequency * min(h, w)).round().long().flatten().to(image.device)
    size = torch.bincount(ring)
    mean_power: Tensor = power.new_zeros(*power.shape[:-1], len(size)).index_add(-1, ring, power) / size
    return mean_power


def _hann(n: int) -> Tensor:
    window: Tensor = torch.hann_window(n, periodic=True, dtype=torch.float64)
    return window


def _frequencies(n: int) -> Tensor:
    """Cycles per pixel."""
    frequencies: Tensor = torch.fft.fftfreq(n, dtype=torch.float64)
    return frequencies
