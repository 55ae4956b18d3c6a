"""Colorization: only the mean of the three channels is measured."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from safari_bench.operators.contract import SVDOperator
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement, Spectrum

__all__ = ["Colorization"]


class Colorization(SVDOperator):
    """y = (R + G + B) / 3, (b, 1, h, w). The pseudo-inverse, and so the baseline, is y in all three channels.

    V is an orthonormal basis of the channels whose first axis is grey; the gain is 1 / sqrt(3) there and 0 elsewhere.

    Raises:
        ValueError: images do not have 3 channels.
    """

    @classmethod
    def image_shape_of(cls, y_shape: Sequence[int], **settings: Any) -> tuple[int, ...]:
        """Three channels."""
        return (3, *y_shape[1:])

    @classmethod
    def of_picture(cls, picture: Image) -> Measurement:
        """The mean of the channels."""
        return picture.mean(1, keepdim=True)

    def __init__(self, image_shape: Sequence[int], streams: Streams) -> None:
        super().__init__(image_shape, streams)
        c, h, w = self.image_shape
        if c != 3:
            raise ValueError(
                f"Colorization: got images of {c} channel(s); expected 3. Choose a dataset of colour images."
            )
        axes = torch.tensor([[1, 1, 1], [1, -1, 0], [1, 1, -2]], dtype=torch.float64)
        self._basis = (axes / axes.norm(dim=1, keepdim=True)).to(self.device, self.dtype)
        gains = torch.tensor([3**-0.5, 0, 0], device=self.device, dtype=self.dtype)
        self.gains = gains.view(1, 3, 1, 1).expand(1, 3, h, w)

    def Vt(self, x: Image) -> Spectrum:
        """x in the basis whose channel 0 is grey, (b, 3, h, w)."""
        return torch.einsum("kc,bchw->bkhw", self._basis, x)

    def V(self, z: Spectrum) -> Image:
        """Back to red, green and blue."""
        return torch.einsum("kc,bkhw->bchw", self._basis, z)

    def Ut(self, y: Measurement) -> Spectrum:
        """y as the grey channel, the other two 0."""
        return F.pad(y, (0, 0, 0, 0, 0, 2))

    def U(self, z: Spectrum) -> Measurement:
        """The grey channel, (b, 1, h, w)."""
        return z[:, :1]
