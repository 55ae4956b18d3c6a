"""Operators that keep or drop whole pixels: denoising and inpainting of drawn holes. V = U = I, S = the mask."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from safari_bench.operators.contract import SVDOperator
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement, Spectrum

__all__ = ["BoxInpainting", "Denoising", "Masked", "RandomInpainting"]


class _Diagonal(SVDOperator):
    """A = diag(gains) on pixels; the measurement has the shape of the image, with zeros where the gain is 0."""

    def Vt(self, x: Image) -> Spectrum:
        return x

    def V(self, z: Spectrum) -> Image:
        return z

    def Ut(self, y: Measurement) -> Spectrum:
        return y

    def U(self, z: Spectrum) -> Measurement:
        return z


class Denoising(_Diagonal):
    """A = I."""

    def __init__(self, image_shape: Sequence[int], streams: Streams) -> None:
        super().__init__(image_shape, streams)
        self.gains = torch.ones(1, 1, *self.image_shape[1:], device=self.device, dtype=self.dtype)


class Masked(_Diagonal):
    """A = diag(mask), one mask per image, or one for all, shared by its channels, (b or 1, 1, h, w)."""

    def _set_masks(self, masks: list[np.ndarray]) -> None:
        self.gains = torch.from_numpy(np.stack(masks)).unsqueeze(1).to(self.device, self.dtype)

    @property
    def observed(self) -> Tensor:
        """The mask, 1 where a pixel is kept, (b, 1, h, w)."""
        return self.gains


class BoxInpainting(Masked):
    """A square hole at a random place (Chung et al., DPS, ICLR 2023: 128 px hole, 16 px margin at 256 px).

    The place is uniform over those allowed and is drawn from the streams' purpose "mask".

    Args:
        hole: side of the hole in px.
        margin: least distance between the hole and the border in px.

    Raises:
        ValueError: hole and margins do not fit the image, or the hole is the whole image.
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, hole: int, margin: int) -> None:
        super().__init__(image_shape, streams)
        _, h, w = self.image_shape
        if hole < 1 or margin < 0:
            raise ValueError(f"BoxInpainting: got hole {hole} and margin {margin}; expected hole >= 1 and margin >= 0.")
        if hole + 2 * margin > min(h, w):
            raise ValueError(
                f"BoxInpainting: a hole of {hole} px with margins of {margin} px does not fit a {h} x {w} image; "
                f"expected hole + 2 margin <= {min(h, w)}. Choose a smaller hole or margin."
            )
        if hole == h == w:
            raise ValueError(
                f"BoxInpainting: a hole of {hole} px removes the whole {h} x {w} image; choose a smaller hole."
            )
        masks = []
        for generator in streams.generators("mask"):
            top = generator.integers(margin, h - hole - margin, endpoint=True)
            left = generator.integers(margin, w - hole - margin, endpoint=True)
            mask = np.ones((h, w))
            mask[top : top + hole, left : left + hole] = 0
            masks.append(mask)
        self._set_masks(masks)


class RandomInpainting(Masked):
    """Pixels removed at random: exactly round(fraction h w) of them, drawn from the streams' purpose "mask".

    Args:
        fraction: share of the pixels that is removed, in [0, 1).

    Raises:
        ValueError: fraction is out of range or leaves no pixel.
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, fraction: float) -> None:
        super().__init__(image_shape, streams)
        _, h, w = self.image_shape
        if not 0 <= fraction < 1:
            raise ValueError(
                f"RandomInpainting: got fraction {fraction}, the share of pixels removed; expected 0 <= it < 1."
            )
        removed = round(fraction * h * w)
        if removed == h * w:
            raise ValueError(
                f"RandomInpainting: fraction {fraction} removes all {h * w} pixels of a {h} x {w} image; "
                f"expected at least one to be kept. Choose a smaller fraction."
            )
        masks = []
        for generator in streams.generators("mask"):
            mask = np.ones(h * w)
            mask[generator.permutation(h * w)[:removed]] = 0
            masks.append(mask.reshape(h, w))
        self._set_masks(masks)
