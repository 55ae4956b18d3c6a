"""Noise laws that code the measurement: rounding and JPEG. They are deterministic and draw nothing."""

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as PILImage

from safari_bench.operators.contract import Unsupported
from safari_bench.operators.noise import Noise, expect
from safari_bench.rng import Streams
from safari_bench.shapes import Measurement

__all__ = ["Jpeg", "Quantization"]


@dataclass(frozen=True)
class Quantization(Noise):
    """Rounding to 2^bits equally spaced levels from -1 to 1, after clipping.

    ``sigma_y`` is that of a uniform error of one step, step / sqrt(12).

    Raises:
        ValueError: bits is not a whole number from 1 to 16.
    """

    bits: int

    def __post_init__(self) -> None:
        expect(self, "bits", self.bits in range(1, 17), "a whole number from 1 to 16")

    @property
    def sigma_y(self) -> float:
        """step / sqrt(12)."""
        return self._step / math.sqrt(12)

    @property
    def _step(self) -> float:
        return 2 / ((1 << self.bits) - 1)

    def _corrupt(self, y: Measurement, streams: Streams) -> Measurement:
        return ((y.clamp(-1, 1) + 1) / self._step).round() * self._step - 1


@dataclass(frozen=True)
class Jpeg(Noise):
    """JPEG coding by Pillow, colour with 4:2:0 chroma.

    ``sigma_y`` is 0.054 s^(1/3), with s the factor that libjpeg multiplies its tables by (1 at quality 50). It is a fit
    made here to the root mean square error on colour photographs at 256 px, right to a factor of 1.5 from quality 5 up.

    Raises:
        ValueError: quality is not a whole number from 1 to 100.
        Unsupported: when called with a y that is not a picture of 1 or 3 channels.
    """

    quality: int

    def __post_init__(self) -> None:
        expect(self, "quality", self.quality in range(1, 101), "a whole number from 1 to 100")

    @property
    def sigma_y(self) -> float:
        """The fitted root mean square error on photographs."""
        percent = 5000 / self.quality if self.quality < 50 else max(200 - 2 * self.quality, 2)
        return float(0.054 * (percent / 100) ** (1 / 3))

    def _corrupt(self, y: Measurement, streams: Streams) -> Measurement:
        if y.ndim != 4 or y.shape[1] not in (1, 3):
            raise Unsupported(f"JPEG codes pictures of 1 or 3 channels; got measurements of shape {tuple(y.shape[1:])}")
        bytes_ = ((y.detach() + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8)
        decoded = np.stack([self._code(image) for image in bytes_.permute(0, 2, 3, 1).numpy()])
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(y) / 127.5 - 1

    def _code(self, image: np.ndarray) -> np.ndarray:
        """One uint8 picture (h, w, c) through the codec."""
        file = io.BytesIO()
        PILImage.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
            file, "JPEG", quality=self.quality, subsampling="4:2:0"
        )
        return np.array(PILImage.open(file)).reshape(image.shape)
