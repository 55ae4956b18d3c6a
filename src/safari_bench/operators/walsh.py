"""Walsh-Hadamard compressed sensing."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor
from torch.nn import functional as F

from safari_bench.operators.contract import SVDOperator
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement, Spectrum

__all__ = ["WalshCompressedSensing"]

SMALLEST_BLOCK = 16


class WalshCompressedSensing(SVDOperator):
    """A share of the Walsh-Hadamard coefficients of the pixels in random order: y is (b, c, m), m = round(ratio n).

    The n = h w pixels are permuted (one permutation per image, shared by its channels, purpose "permutation") and cut
    into blocks of B pixels, B the largest power of two that divides n; each block takes the orthonormal Hadamard
    transform of size B. Coefficients are kept row by row, each row over all blocks before the next: first the row of
    block means, then the others in an order drawn per image. m must cover the row of means.

    Why drawn: the first B / 2^k rows in natural or sequency order are constant on sets of 2^k pixels, so that keeping
    them measures nothing but sums of 2^k random pixels. DDRM's released code draws the coefficients too, but of pixels
    in raster order and with the mean kept by chance only.

    Args:
        ratio: share of the coefficients that is kept, in (0, 1].

    Raises:
        ValueError: B is smaller than 16, or ratio is out of range or keeps fewer coefficients than there are blocks.
    """

    image_like = False

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, ratio: float) -> None:
        super().__init__(image_shape, streams)
        _, h, w = self.image_shape
        n = h * w
        block = n & -n
        if block < SMALLEST_BLOCK:
            raise ValueError(
                f"WalshCompressedSensing: the largest power of two that divides the {n} pixels of a {h} x {w} image "
                f"is {block}; expected at least {SMALLEST_BLOCK}. Crop or resize the dataset to sides divisible by 4."
            )
        if not 0 < ratio <= 1:
            raise ValueError(
                f"WalshCompressedSensing: got ratio {ratio}, the share of coefficients kept; expected (0, 1]."
            )
        self._kept = round(ratio * n)
        if self._kept < n // block:
            raise ValueError(
                f"WalshCompressedSensing: ratio {ratio} keeps {self._kept} of {n} coefficients, too few for the "
                f"means of the {n // block} blocks; expected a ratio of at least {n // block / n:.3g}."
            )
        orders = [(g.permutation(n), np.r_[0, 1 + g.permutation(block - 1)]) for g in streams.generators("permutation")]
        self.permutation = self._indices([pixels for pixels, _ in orders])
        self.rows = self._indices([rows for _, rows in orders])
        self._permutation_back, self._rows_back = self.permutation.argsort(-1), self.rows.argsort(-1)
        small = 1 << (block.bit_length() - 1) // 2
        self._left, self._right = self._hadamard(block // small), self._hadamard(small)
        self.gains = torch.zeros(1, 1, n, device=self.device, dtype=self.dtype)
        self.gains[..., : self._kept] = 1

    def Vt(self, x: Image) -> Spectrum:
        """All n coefficients of each channel, (b, c, n), those that are measured first."""
        pixels = _take(x.flatten(2), self.permutation)
        coefficients = self._transform(pixels.reshape(*pixels.shape[:2], -1, self.rows.shape[-1]))
        return _take(coefficients, self.rows[:, None]).mT.flatten(2)

    def V(self, z: Spectrum) -> Image:
        """The image of n coefficients per channel."""
        coefficients = _take(z.reshape(*z.shape[:2], self.rows.shape[-1], -1).mT, self._rows_back[:, None])
        pixels = self._transform(coefficients).flatten(2)
        return _take(pixels, self._permutation_back).reshape(*z.shape[:2], *self.image_shape[1:])

    def Ut(self, y: Measurement) -> Spectrum:
        """y padded with 0 to n coefficients."""
        return F.pad(y, (0, self.gains.shape[-1] - self._kept))

    def U(self, z: Spectrum) -> Measurement:
        """The first m coefficients."""
        return z[..., : self._kept]

    def _transform(self, blocks: Tensor) -> Tensor:
        """The orthonormal Hadamard transform of the last axis, its own inverse: H_B = H_left (x) H_right."""
        matrices = blocks.reshape(*blocks.shape[:-1], len(self._left), len(self._right))
        return (self._left @ matrices @ self._right).flatten(-2)

    def _hadamard(self, size: int) -> Tensor:
        return torch.from_numpy(hadamard(size) / size**0.5).to(self.device, self.dtype)

    def _indices(self, per_image: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(per_image)).unsqueeze(1).to(self.device)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """values[..., index] along the last axis, one index list per image; index (b or 1, 1, ..., n)."""
    return values.gather(-1, index.expand(values.shape))
