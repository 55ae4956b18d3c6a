"""Resizing, blurs and transforms against Pillow, torch and SciPy."""

from typing import Any

import numpy as np
import pytest
import torch
from dense_oracles import draw, gaussian, streams
from PIL import Image as PILImage
from scipy import ndimage
from torch.nn import functional as F

from safari_bench.operators import (
    AnisotropicBlur,
    AveragePool,
    BicubicDownsample,
    GaussianBlur,
    MotionBlur,
    UniformBlur,
)

MODES = {"reflect": "mirror", "circular": "wrap"}
SIZES = {2: (18, 26), 4: (20, 36), 8: (24, 40), 16: (32, 48)}


def assert_close(got: Any, want: Any, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=0, atol=tolerance)


@pytest.mark.parametrize("factor", SIZES)
def test_bicubic_is_pillows(factor: int) -> None:
    h, w = SIZES[factor]
    x = draw((2, 1, h, w), 1)
    y = BicubicDownsample((1, h, w), streams(), factor=factor).A(x)
    for image, small in zip(x[:, 0].numpy().astype(np.float32), y[:, 0], strict=True):
        assert_close(
            small, PILImage.fromarray(image).resize((w // factor, h // factor), PILImage.Resampling.BICUBIC), 1e-6
        )


@pytest.mark.parametrize("factor", SIZES)
def test_bicubic_is_torchs(factor: int) -> None:
    h, w = SIZES[factor]
    x = draw((2, 3, h, w), 1)
    y = BicubicDownsample((3, h, w), streams(), factor=factor).A(x)
    assert_close(y, F.interpolate(x, size=(h // factor, w // factor), mode="bicubic", antialias=True))


@pytest.mark.parametrize("factor", SIZES)
def test_average_pool_is_torchs(factor: int) -> None:
    h, w = SIZES[factor]
    x = draw((2, 3, h, w), 1)
    assert_close(AveragePool((3, h, w), streams(), factor=factor).A(x), F.avg_pool2d(x, factor))


@pytest.mark.parametrize("operator", [BicubicDownsample, AveragePool])
def test_resize_baseline_is_pillows_upsampling(operator: Any) -> None:
    op = operator((1, 20, 36), streams(), factor=4)
    y = draw((1, 1, 5, 9), 1)
    want = PILImage.fromarray(y[0, 0].numpy().astype(np.float32)).resize((36, 20), PILImage.Resampling.BICUBIC)
    assert_close(op.baseline(y)[0, 0], want, 1e-6)


@pytest.mark.parametrize("boundary", MODES)
@pytest.mark.parametrize("std", [0.6, 1.5, 3.0])
def test_gaussian_blur_is_scipys(boundary: str, std: float) -> None:
    x = draw((1, 1, 40, 64), 1)
    y = GaussianBlur((1, 40, 64), streams(), taps=31, std=std, boundary=boundary).A(x)
    assert_close(y[0, 0], ndimage.gaussian_filter(x[0, 0].numpy(), std, mode=MODES[boundary], truncate=4))


def test_paper_kernel_has_25_taps_that_are_not_zero() -> None:
    op = GaussianBlur((1, 64, 80), streams(), taps=61, std=3.0, boundary="circular")
    impulse = torch.zeros(1, 1, 64, 80, dtype=torch.float64)
    impulse[..., 30, 40] = 1
    y = op.A(impulse)[0, 0]
    assert int((y[30] > 1e-12).sum()) == int((y[:, 40] > 1e-12).sum()) == 25
    assert float(y.sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("boundary", MODES)
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 9])
def test_uniform_blur_is_scipys(boundary: str, taps: int) -> None:
    x = draw((1, 1, 12, 20), 1)
    want = x[0, 0].numpy()
    for axis in (0, 1):
        want = ndimage.convolve1d(want, np.full(taps, 1 / taps), axis, mode=MODES[boundary])
    assert_close(UniformBlur((1, 12, 20), streams(), taps=taps, boundary=boundary).A(x)[0, 0], want)


def test_even_kernel_averages_with_the_next_pixel() -> None:
    x = draw((1, 1, 6, 8), 1)
    y = UniformBlur((1, 6, 8), streams(), taps=2, boundary="circular").A(x)
    assert_close(y, (x + x.roll(-1, 2) + x.roll(-1, 3) + x.roll((-1, -1), (2, 3))) / 4)


@pytest.mark.parametrize("boundary", MODES)
@pytest.mark.parametrize("taps", [4, 9])
def test_anisotropic_blur_is_scipys_per_axis(boundary: str, taps: int) -> None:
    x = draw((1, 1, 12, 20), 1)
    y = AnisotropicBlur((1, 12, 20), streams(), taps=taps, std_h=20.0, std_w=1.0, boundary=boundary).A(x)
    want = ndimage.convolve1d(x[0, 0].numpy(), gaussian(taps, 20), 0, mode=MODES[boundary])
    assert_close(y[0, 0], ndimage.convolve1d(want, gaussian(taps, 1), 1, mode=MODES[boundary]))


@pytest.mark.parametrize("taps", [1, 6, 15])
@pytest.mark.parametrize("intensity", [0.0, 0.5, 1.0])
def test_motion_blur_is_scipys_convolution(taps: int, intensity: float) -> None:
    x = draw((2, 3, 16, 21), 1)
    op = MotionBlur((3, 16, 21), streams(("a", "b")), taps=taps, intensity=intensity)
    y = op.A(x)
    for i in range(2):
        for c in range(3):
            assert_close(y[i, c], ndimage.convolve(x[i, c].numpy(), op.kernels[i, 0].numpy(), mode="wrap"))
