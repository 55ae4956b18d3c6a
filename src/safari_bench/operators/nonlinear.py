"""Non-linear forward models: only samplers that follow gradients take them."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from safari_bench.operators.contract import Operator, Unsupported
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement

__all__ = ["HighDynamicRange", "PhaseRetrieval"]


class PhaseRetrieval(Operator):
    """Magnitudes of the oversampled Fourier transform (Zhang et al., DAPS, CVPR 2025).

    y = |F P (x + 1) / 2|: the image on [0, 1], zero-padded on each side by oversample / 8 of its height and width,
    rounded down (256 -> 384 px at oversample 2), F the orthonormal 2-D DFT with the zero frequency in the middle. y is
    (b, c, h', w'). The gradient is 0 where a coefficient is 0. (The code of DPS pads the image on [-1, 1].)

    Args:
        oversample: 0 pads nothing; 2 is the paper's value.

    Raises:
        ValueError: oversample is outside [0, 16].
    """

    image_like = False

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, oversample: float = 2.0) -> None:
        super().__init__(image_shape, streams)
        if not 0 <= oversample <= 16:
            raise ValueError(f"PhaseRetrieval: got oversample {oversample}; expected a number in [0, 16], usually 2.")
        _, h, w = self.image_shape
        self._pad = (int(oversample / 8 * w),) * 2 + (int(oversample / 8 * h),) * 2

    def A(self, x: Image) -> Measurement:
        """The magnitudes, (b, c, h', w'), >= 0."""
        spectrum = torch.fft.fft2(F.pad((x + 1) / 2, self._pad), norm="ortho")
        return torch.abs(torch.fft.fftshift(spectrum, dim=(-2, -1)))

    def baseline(self, y: Measurement) -> Image:
        """Raises Unsupported: there is no such picture."""
        raise Unsupported("phase retrieval measures Fourier magnitudes, which are not a picture without a prior")


class HighDynamicRange(Operator):
    """y = clip(scale x, -1, 1): what a sensor keeps of a scene that is too bright (DAPS: scale 2).

    Args:
        scale: how much the scene exceeds the sensor's range.

    Raises:
        ValueError: scale is outside (0, 1e6].
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, scale: float = 2.0) -> None:
        super().__init__(image_shape, streams)
        if not 0 < scale <= 1e6:
            raise ValueError(f"HighDynamicRange: got scale {scale}; expected a number in (0, 1e6], usually 2.")
        self.scale = scale

    def A(self, x: Image) -> Measurement:
        """The clipped image, (b, c, h, w)."""
        return (self.scale * x).clamp(-1, 1)

    def baseline(self, y: Measurement) -> Image:
        """y / scale."""
        return y / self.scale
