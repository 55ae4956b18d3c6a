"""Pictures made from seeds: as many as a prior needs, of any size, without a download."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from safari_bench.data.codec import from_pixels
from safari_bench.data.contract import DataError, Pixels, Record, description, digest
from safari_bench.data.dead_leaves import leaf_picture
from safari_bench.data.pip_photographs import check_split

__all__ = ["Leaves", "leaf_generator", "leaf_picture"]

#: shorter sides leave no room for a shape between the smallest radius and the pixel
_LEAST_SIDE = 16
_MOST_SIDE, _MOST = 2048, 1_000_000
_MOST_SIDE, _MOST = 2048, 1_000_000
#: hashing fewer images takes a moment; a bar would only flicker
_BAR_ABOVE = 200


class Leaves:
    """Dead-leaves pictures. Image i of a split has its own seed, whatever n and whatever other images are made.

    Hashes need every image made once: `records` does it, the first time, and keeps the hashes in memory; each `load`
    makes the picture anew.

    Args:
        split: "test", "tuning" or "train". Seeds of different splits differ.
        size: side of the square images, or (height, width), pixels, at least 16.
        n: how many, from the first.
    Raises:
        DataError: if there is no such split, or size or n is too small.
    """

    name = "leaves"

    def __init__(self, split: str = "test", size: int | Sequence[int] = 64, n: int = 24) -> None:
        self.split = check_split(split)
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or any(not isinstance(side, int) or not _LEAST_SIDE <= side <= _MOST_SIDE for side in sides):
            raise DataError(
                f"dataset.size: got {size!r}, expected an integer from {_LEAST_SIDE} to {_MOST_SIDE} or a pair "
                "[height, width] of such"
            )
        if not isinstance(n, int) or not 1 <= n <= _MOST:
            raise DataError(f"dataset.n: got {n!r}, expected an integer from 1 to {_MOST}; say how many leaves to make")
        self.image_shape = (3, *sides)
        self._n = n
        self._hashes: dict[int, str] = {}

    def __len__(self) -> int:
        return self._n

    def records(self) -> list[Record]:
        """One record per image. Makes every image whose hash is not known yet; a bar shows progress if many are."""
        unknown = [k for k in range(len(self)) if k not in self._hashes]
        for k in tqdm(unknown, desc=f"hashing {self.name}", unit="image", disable=len(unknown) <= _BAR_ABOVE):
            self._hashes[k] = digest(self._pixels(k))
        return [Record(self._id(k), self._hashes[k]) for k in range(len(self))]

    def load(self, index: int) -> Tensor:
        """Image `index`, (3, h, w), float32 in [-1, 1].

        Raises:
            IndexError: if there is no such image.
            DataError: if its pixels are not those it was first made with.
        """
        index = range(len(self))[index]
        pixels = self._pixels(index)
        got = digest(pixels)
        expected = self._hashes.setdefault(index, got)
        if got != expected:
            raise DataError(
                f"{self._id(index)}: sha256 of the pixels is {got}, expected {expected} as first made; the same seed "
                "must give the same picture: check the memory of this machine and start again"
            )
        return from_pixels(pixels)

    def describe(self) -> dict[str, Any]:
        """See `Dataset.describe`. Hashes every image, like `records`."""
        _, h, w = self.image_shape
        how = "dead-leaves pictures made from the seed of split and index"
        return description(self, self.split, f"generated-{h}x{w}", how)

    def _id(self, index: int) -> str:
        return f"{self.name}-{self.split}-{index:06d}"

    def _pixels(self, index: int) -> Pixels:
        return leaf_picture(leaf_generator(self.split, index), *self.image_shape[1:])


def leaf_generator(split: str, index: int) -> np.random.Generator:
    """The generator of image `index` of a split: Philox keyed with 128 bits of a SHA-256 of both."""
    key = hashlib.sha256("\x1f".join(("leaves", split, str(index))).encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
