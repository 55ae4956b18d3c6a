"""Downsampling by a whole factor: antialiased bicubic, and block means."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.nn import functional as F

from safari_bench.operators.separable import SeparableSVD
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement

__all__ = ["AveragePool", "BicubicDownsample"]

FACTORS = (2, 4, 8, 16)


class _Downsample(SeparableSVD):
    """(b, c, h, w) -> (b, c, h / factor, w / factor). A constant image maps to the same constant."""

    @classmethod
    def image_shape_of(cls, y_shape: Sequence[int], **settings: Any) -> tuple[int, ...]:
        """y's channels, and its sides times the factor."""
        c, h, w = y_shape
        return (c, h * settings["factor"], w * settings["factor"])

    def baseline(self, y: Measurement) -> Image:
        """Bicubic upsampling of y to the image's size."""
        return F.interpolate(y, size=self.image_shape[1:], mode="bicubic", antialias=True)


class BicubicDownsample(_Downsample):
    """Antialiased bicubic downsampling, the same as Pillow's BICUBIC and torch's antialias=True.

    Cubic convolution kernel with a = -0.5 (Keys, 1981) stretched by the factor, half-pixel centres, weights
    renormalised at the border.

    Args:
        factor: 2, 4, 8 or 16.

    Raises:
        ValueError: another factor, or one that does not divide the image's height and width.
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, factor: int) -> None:
        _check(type(self).__name__, image_shape, factor)
        super().__init__(image_shape, streams, *(_bicubic(n, factor) for n in image_shape[1:]))


class AveragePool(_Downsample):
    """Means of factor x factor blocks (the super-resolution of DDRM, Kawar et al., NeurIPS 2022).

    Args:
        factor: 2, 4, 8 or 16.

    Raises:
        ValueError: another factor, or one that does not divide the image's height and width.
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, factor: int) -> None:
        _check(type(self).__name__, image_shape, factor)
        super().__init__(image_shape, streams, *(_box(n, factor) for n in image_shape[1:]))


def _check(name: str, image_shape: Sequence[int], factor: int) -> None:
    if factor not in FACTORS:
        raise ValueError(f"{name}: got factor {factor}; expected one of {', '.join(map(str, FACTORS))}.")
    _, h, w = image_shape
    if h % factor or w % factor:
        raise ValueError(
            f"{name}: a {h} x {w} image cannot be downsampled by {factor}; "
            f"expected height and width divisible by {factor}. Crop or resize the dataset, or choose another factor."
        )


def _bicubic(n: int, factor: int) -> np.ndarray:
    """(n / factor, n): cubic weights of the source pixel centres around each target pixel centre, rows summing to 1."""
    source = np.arange(n) + 0.5
    target = (np.arange(n // factor) + 0.5) * factor
    t = np.abs(source - target[:, None]) / factor
    a = -0.5
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    weights: np.ndarray = np.where(t < 1, near, np.where(t < 2, far, 0))
    weights /= weights.sum(1, keepdims=True)
    return weights


def _box(n: int, factor: int) -> np.ndarray:
    """(n / factor, n): 1 / factor on each target pixel's own block."""
    return np.kron(np.eye(n // factor), np.full((1, factor), 1 / factor))
