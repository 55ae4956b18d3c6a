"""Crops of real photographs that every installation already has: a benchmark without a download."""

import csv
from importlib import resources
from typing import Any

from torch import Tensor

from safari_bench.data.codec import from_pixels
from safari_bench.data.contract import DataError, Record, description, digest, first
from safari_bench.data.pip_photographs import Crop, check_split

__all__ = ["Photos"]


class Photos:
    """Crops of the photographs that ship with scikit-image, scikit-learn and matplotlib, as listed in photos.csv.

    Crops of a split's photographs take turns, so that the first n are balanced.

    Args:
        split: "test", "tuning" (for choosing hyperparameters) or "train" (for fitting priors). No photograph is in two.
        size: side of the square images, pixels: 64 or 256.
        n: how many, from the first; None for all.
    Raises:
        DataError: if split or size does not exist, or n is not in 1..available.
    """

    name = "photos"

    def __init__(self, split: str = "test", size: int = 64, n: int | None = None) -> None:
        self.split = check_split(split)
        table = _read_manifest()
        sizes = sorted({crop.size for _, crop, _ in table})
        if size not in sizes:
            raise DataError(f"dataset.size: got {size}, expected one of {', '.join(map(str, sizes))} for photos")
        rows = [(crop, sha256) for row_split, crop, sha256 in table if (row_split, crop.size) == (split, size)]
        rows = first(rows, n, f"photos (split {split}, size {size})")
        self.image_shape = (3, size, size)
        self._crops = [crop for crop, _ in rows]
        self._records = [Record(crop.id, sha256) for crop, sha256 in rows]

    def __len__(self) -> int:
        return len(self._records)

    def records(self) -> list[Record]:
        """One record per image, from photos.csv; nothing is decoded."""
        return list(self._records)

    def load(self, index: int) -> Tensor:
        """Image `index`, (3, size, size), float32 in [-1, 1].

        Raises:
            DataError: if its pixels are not those of the manifest.
        """
        record = self._records[index]
        pixels = self._crops[index].pixels()
        got = digest(pixels)
        if got != record.sha256:
            raise DataError(
                f"photos {record.id}: sha256 of the pixels is {got}, expected {record.sha256}; most likely the "
                "JPEG decoder of another Pillow build, or a package with another copy of the photograph: install the "
                "versions that constraints.txt pins"
            )
        return from_pixels(pixels)

    def describe(self) -> dict[str, Any]:
        """See `Dataset.describe`."""
        _, h, w = self.image_shape
        how = "square boxes of the photographs reduced by 1, 2 or 4 through exact block means"
        return description(self, self.split, f"block_mean-{h}x{w}", how)


def _read_manifest() -> list[tuple[str, Crop, str]]:
    """(split, crop, sha256) of every row of photos.csv, in file order."""
    text = resources.files("safari_bench.data").joinpath("photos.csv").read_text(encoding="utf-8")
    return [
        (
            row["split"],
            Crop(row["photograph"], int(row["left"]), int(row["top"]), int(row["scale"]), int(row["size"])),
            row["sha256"],
        )
        for row in csv.DictReader(text.splitlines())
    ]
