"""Separable blurs: Gaussian, box, and Gaussian with one width per axis.

Conventions shared by all: taps are normalised to sum 1, so that a constant image maps to itself. A blur is a
convolution with the kernel anchored at tap taps // 2, y[i] = sum_j k[j] x[i + taps // 2 - j]: an odd kernel is centred
on the pixel, an even one half a pixel below and to the right of it (2 taps average x[i] and x[i + 1]), as in
scipy.ndimage.convolve1d.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from safari_bench.operators.separable import SeparableSVD
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement

__all__ = ["AnisotropicBlur", "GaussianBlur", "UniformBlur"]

#: "reflect" mirrors the image about its outermost pixel centres; "circular" repeats it. To numpy.pad's names.
_PAD_MODE: dict[str, Literal["reflect", "wrap"]] = {"reflect": "reflect", "circular": "wrap"}


class _SeparableBlur(SeparableSVD):
    """(b, c, h, w) -> (b, c, h, w) by one kernel per axis, both of the same number of taps."""

    def __init__(
        self, image_shape: Sequence[int], streams: Streams, taps_h: np.ndarray, taps_w: np.ndarray, boundary: str
    ) -> None:
        _, h, w = image_shape
        _check_boundary(type(self).__name__, len(taps_h), h, w, boundary)
        super().__init__(image_shape, streams, _blur_matrix(taps_h, h, boundary), _blur_matrix(taps_w, w, boundary))

    def baseline(self, y: Measurement) -> Image:
        """y itself."""
        return y


class GaussianBlur(_SeparableBlur):
    """Isotropic Gaussian blur (DPS: 61 taps, std 3, reflect), truncated at 4 std as in scipy.ndimage.

    Args:
        taps: kernel size in px along each axis. Taps beyond 4 std are 0: 61 taps with std 3 have 25 that are not.
        std: standard deviation in px.
        boundary: "reflect" or "circular".

    Raises:
        ValueError: taps < 1, std <= 0, an unknown boundary, or a kernel too large for the image.
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, taps: int, std: float, boundary: str) -> None:
        kernel = _gaussian_taps(taps, std)
        super().__init__(image_shape, streams, kernel, kernel, boundary)


class UniformBlur(_SeparableBlur):
    """Box blur (DDRM: 9 taps).

    Args:
        taps: kernel size in px along each axis.
        boundary: "reflect" or "circular".

    Raises:
        ValueError: taps < 1, an unknown boundary, or a kernel too large for the image.
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, taps: int, boundary: str) -> None:
        kernel = _gaussian_taps(taps, math.inf)
        super().__init__(image_shape, streams, kernel, kernel, boundary)


class AnisotropicBlur(_SeparableBlur):
    """Gaussian blur with one width per axis (DDRM: 9 taps, std 20 and 1), truncated at 4 std of each.

    Args:
        taps: kernel size in px along each axis.
        std_h: standard deviation down the columns, in px.
        std_w: standard deviation along the rows, in px.
        boundary: "reflect" or "circular".

    Raises:
        ValueError: taps < 1, a std <= 0, an unknown boundary, or a kernel too large for the image.
    """

    def __init__(
        self, image_shape: Sequence[int], streams: Streams, *, taps: int, std_h: float, std_w: float, boundary: str
    ) -> None:
        super().__init__(image_shape, streams, _gaussian_taps(taps, std_h), _gaussian_taps(taps, std_w), boundary)


def _gaussian_taps(taps: int, std: float) -> np.ndarray:
    """(taps,), sum 1: exp(-d^2 / 2 std^2) at distance d from the kernel's middle, 0 beyond round(4 std) px.

    An infinite std gives the box.
    """
    if taps < 1:
        raise ValueError(f"Blur: got {taps} taps; expected at least 1.")
    if not std > 0:
        raise ValueError(
            f"Blur: got a standard deviation of {std} px; expected > 0. For no blur use the denoising task."
        )
    distance = np.abs(np.arange(taps) - (taps - 1) / 2)
    reach = max(np.floor(4 * std + 0.5), 0.5)
    kernel = np.exp(-0.5 * (distance / std) ** 2) * (distance <= reach)
    return np.asarray(kernel / kernel.sum())


def _blur_matrix(kernel: np.ndarray, n: int, boundary: str) -> np.ndarray:
    """(n, n): the convolution of n samples with the kernel, border samples taken from inside as the boundary says."""
    taps = len(kernel)
    source = np.pad(np.arange(n), (taps - 1 - taps // 2, taps // 2), mode=_PAD_MODE[boundary])
    matrix = np.zeros((n, n))
    for j in range(taps):
        np.add.at(matrix, (np.arange(n), source[taps - 1 - j : taps - 1 - j + n]), kernel[j])
    return matrix


def _check_boundary(name: str, taps: int, h: int, w: int, boundary: str) -> None:
    if boundary not in _PAD_MODE:
        raise ValueError(f"{name}: got boundary {boundary!r}; expected one of {', '.join(_PAD_MODE)}.")
    largest = 2 * min(h, w) - 1 if boundary == "reflect" else min(h, w)
    if taps > largest:
        raise ValueError(
            f"{name}: {taps} taps are too many for a {h} x {w} image with boundary {boundary}; "
            f"expected at most {largest}. Choose fewer taps or larger images."
        )
