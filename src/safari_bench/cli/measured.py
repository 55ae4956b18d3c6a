"""The picture that a person gives: as a measurement with its layout, and how noisy it is."""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import skimage.restoration
import torch
from PIL import Image as PILImage
from torch import Tensor

from safari_bench.cli.compose import refused
from safari_bench.data import open_picture
from safari_bench.errors import ConfigError
from safari_bench.operators import make_noise

__all__ = ["SIGMA_8_BITS", "Layout", "estimate_sigma", "laid_out", "measurement", "noise_level"]

#: of rounding to 8 bits, on [-1, 1]
SIGMA_8_BITS = 2 / 255 / math.sqrt(12)
Layout = Literal["hwc", "chw", "b"]


def measurement(y: Any) -> tuple[Tensor, Layout, tuple[str, ...], int]:
    """y as (b, *m), how the answer is to be laid out, what was done to it, and bits of a sample."""
    if isinstance(y, str | Path | PILImage.Image):
        opened = open_picture(y)
        return opened.x[None], "hwc", opened.said, opened.bits
    tensor = torch.from_numpy(np.ascontiguousarray(y)) if isinstance(y, np.ndarray) else y
    if not isinstance(tensor, Tensor):
        raise ConfigError(f"y: got a {type(y).__name__}, expected a path, a PIL image, an array or a tensor")
    scaled = tensor.dtype == torch.uint8
    tensor = tensor.detach().cpu().float()
    tensor = tensor / 127.5 - 1 if scaled else tensor
    bits = 8 if scaled else 16
    if isinstance(y, np.ndarray):
        picture = tensor[..., None].repeat(1, 1, 3) if tensor.ndim == 2 else tensor
        if picture.ndim != 3 or picture.shape[-1] not in (1, 3):
            raise ConfigError(
                f"y: got an array of shape {y.shape}, expected (h, w) or (h, w, 3); for a batch, a tensor"
            )
        return picture.permute(2, 0, 1)[None].contiguous(), "hwc", (), bits
    if tensor.ndim == 3:
        return tensor[None], "chw", (), bits
    return tensor, "b", (), bits


def laid_out(x: Tensor, layout: Layout) -> Tensor:
    """Draws (draws, b, c, h, w) in the layout of y."""
    if layout == "b":
        return x
    return x[:, 0].permute(0, 2, 3, 1) if layout == "hwc" else x[:, 0]


def noise_level(sigma: float | str, task: Mapping[str, Any] | None, y: Tensor, bits: int) -> float:
    """Standard deviation of the noise in y on [-1, 1].

    Args:
        sigma: a number, or auto: of the task's noise law, or estimated where that is Gaussian.
        task: of a configuration; None for an operator without one.
        bits: of a sample of y.

    Raises:
        ConfigError: sigma is no such number, or cannot be estimated.
    """
    if sigma != "auto":
        if isinstance(sigma, str) or not 0 <= sigma < math.inf:
            raise ConfigError(f"sigma: got {sigma}, expected a number >= 0 on the [-1, 1] scale, or auto")
        return float(sigma)
    if task and task["noise"] != "gaussian":
        law = {key: task[key] for key in ("sigma", "sigma_range", "rate", "fraction", "quality", "bits")}
        return float(refused("task", lambda: make_noise(task["noise"], **law)).sigma_y)
    if y.ndim != 4:
        raise ConfigError("sigma=auto: y is no picture, so its noise cannot be estimated; give sigma=NUMBER")
    return estimate_sigma(y, bits)


def estimate_sigma(y: Tensor, bits: int = 8) -> float:
    """Standard deviation of the noise in pictures (b, c, h, w), at least that of rounding.

    The mean over pictures and channels of scikit-image's `estimate_sigma`. Fine texture counts as noise; a picture of
    one colour has none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the median of no details
        estimate: Any = skimage.restoration.estimate_sigma
        channels = [estimate(channel.double().numpy()) for channel in y.flatten(0, 1)]
    return max(float(np.nan_to_num(channels).mean()), SIGMA_8_BITS / float(2 ** (bits - 8)))
