"""Operators of a user's own mask, kernel and functions."""

import numpy as np
import pytest
import torch
from PIL import Image

from safari_bench import operators as ops
from safari_bench.operators.check import check
from safari_bench.rng import Streams

MASK = np.zeros((16, 20), np.uint8)
MASK[3:7, 5:9] = 255
KERNEL = np.array([[0.0, 1, 0], [1, 2, 1]])


def streams(n: int = 2) -> Streams:
    return Streams(0, "d", [str(i) for i in range(n)], dtype=torch.float64)


@pytest.mark.parametrize(
    "build",
    [
        ops.Inpainting(MASK),
        ops.Blur(KERNEL),
        ops.Linear(lambda x: 2 * x[..., ::2], lambda y: 2 * torch.stack([y, torch.zeros_like(y)], -1).flatten(-2)),
    ],
    ids=["mask", "kernel", "functions"],
)
def test_they_are_what_they_say(build):
    assert [str(v) for v in check(build, (3, 16, 20)) if v.holds is False] == []


def test_white_is_missing_unless_said_otherwise(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "m.png")
    x = torch.ones(2, 3, 16, 20, dtype=torch.float64)
    missing = ops.Inpainting(tmp_path / "m.png")((3, 16, 20), streams()).A(x)
    assert float(missing[..., 3:7, 5:9].abs().sum()) == 0
    assert float(missing.sum()) == 2 * 3 * (320 - 16)
    assert torch.equal(ops.Inpainting(MASK, white="present")((3, 16, 20), streams()).A(x), x - missing)
    assert torch.equal(ops.Inpainting(MASK > 0)((3, 16, 20), streams()).A(x), missing)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((16, 20)), "no pixel is missing"),
        (np.ones((16, 20)), "every pixel is missing"),
        (MASK[:8], "20 x 8 px .* expected 20 x 16"),
        ("nothing.png", "cannot be read"),
    ],
)
def test_masks_that_cannot_be_meant(mask, words):
    with pytest.raises(ValueError, match=words):
        ops.Inpainting(mask)((3, 16, 20), streams())


def test_a_kernel_blurs_as_a_convolution_anchored_at_its_middle():
    x = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    x[..., 4, 4] = 1
    y = ops.Blur(KERNEL)((1, 9, 9), streams(1)).A(x)[0, 0]
    assert torch.allclose(y[3:5, 3:6], torch.from_numpy(KERNEL / KERNEL.sum()), atol=1e-12)


def test_a_kernel_that_is_black_or_too_large():
    with pytest.raises(ValueError, match="not all 0"):
        ops.Blur(np.zeros((3, 3)))((1, 9, 9), streams(1))
    with pytest.raises(ValueError, match="11 x 3 taps"):
        ops.Blur(np.ones((11, 3)))((1, 9, 9), streams(1))


def test_the_picture_an_operator_measures_has_this_shape():
    assert ops.BicubicDownsample.image_shape_of((3, 5, 6), factor=4) == (3, 20, 24)
    assert ops.Colorization.image_shape_of((1, 5, 6)) == (3, 5, 6)
    assert ops.Denoising.image_shape_of((3, 5, 6)) == (3, 5, 6)
    assert ops.LinearMap.image_shape_of((8,), A=None, At=lambda y: y.reshape(-1, 2, 2, 2)) == (2, 2, 2)


def test_extended_pictures_are_mirrored_and_cropped_back():
    y = torch.arange(2.0 * 3).reshape(1, 1, 2, 3)
    wide, settings = ops.Denoising.extended(y, (4, 1, 0, 3))
    assert settings == {}
    assert torch.equal(wide[..., :2, 4:7], y)
    assert wide[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


def test_a_masks_mirror_goes_with_the_pictures():
    y, settings = ops.MaskInpainting.extended(torch.zeros(1, 3, 16, 20), (2, 0, 1, 0), mask=MASK)
    mask = np.pad(MASK > 0, ((1, 0), (2, 0)), mode="reflect")
    operator = ops.MaskInpainting(y.shape[1:], streams(1), **settings)
    assert np.array_equal(operator.observed[0, 0].numpy() == 0, mask)
