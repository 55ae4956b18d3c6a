"""Free photographs that ship with the package, 256 px each: a benchmark without a download.

credits.csv beside the pictures names author, licence, source and hashes of each. recipes/benchmark.py made both.
"""

import csv
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from torch import Tensor

from safari_bench.data.codec import from_pixels, read_image
from safari_bench.data.contract import DataError, Pixels, Record, description, digest, first

__all__ = ["SIDE", "SIZES", "Photographs", "credits", "reduced", "shipped"]

#: side of the files, pixels
SIDE = 256
SIZES = (64, 128, SIDE)
_SPLITS = ("test", "tuning")
_FOLDER = resources.files("safari_bench.data") / "photographs_256"


class Photographs:
    """Square photographs, CC0 or public domain: 23 for tests, 12 for tuning. No prior was fitted to them.

    Args:
        split: "test", or "tuning" (for choosing hyperparameters). No photograph is in two.
        size: side of the images, pixels: 64, 128 or 256. Smaller ones are block means of the 256 px file.
        n: how many, from the first; None for all.
    Raises:
        DataError: if split or size does not exist, or n is not in 1..available.
    """

    name = "photographs"

    def __init__(self, split: str = "test", size: int = 64, n: int | None = None) -> None:
        if split not in _SPLITS:
            raise DataError(f"dataset.split: got {split!r}, expected one of {', '.join(_SPLITS)} for photographs")
        if size not in SIZES:
            sizes = ", ".join(map(str, SIZES))
            raise DataError(f"dataset.size: got {size}, expected one of {sizes} for photographs")
        rows = [row for row in credits() if row["split"] == split]
        rows = first(rows, n, f"photographs (split {split})")
        self.split, self.image_shape = split, (3, size, size)
        self._records = [Record(row["id"], row[f"sha256_{size}"]) for row in rows]

    def __len__(self) -> int:
        return len(self._records)

    def records(self) -> list[Record]:
        """One record per image, from credits.csv; nothing is decoded."""
        return list(self._records)

    def load(self, index: int) -> Tensor:
        """Image `index`, (3, size, size), float32 in [-1, 1].

        Raises:
            DataError: if its pixels are not those of credits.csv.
        """
        record = self._records[index]
        pixels = reduced(shipped(record.id), self.image_shape[1])
        got = digest(pixels)
        if got != record.sha256:
            raise DataError(
                f"photographs {record.id}: sha256 of the pixels is {got}, expected {record.sha256}; the file is "
                "damaged: install safari-bench again"
            )
        return from_pixels(pixels)

    def describe(self) -> dict[str, Any]:
        """See `Dataset.describe`."""
        size = self.image_shape[1]
        how = f"square crops of whole photographs at {SIDE} px, reduced by {SIDE // size} through exact block means"
        return description(self, self.split, f"block_mean-{size}x{size}", how)


@cache
def credits() -> list[dict[str, str]]:
    """Rows of credits.csv, in dataset order.

    Keys: id, split, licence, author, page (where the author published it), package, version, file, source_sha256 (of
    that file), left, top, box (the square in it, pixels), sha256_64, sha256_128, sha256_256 (`digest` at each size).
    """
    text = (_FOLDER / "credits.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def shipped(photograph: str) -> Pixels:
    """The file of one photograph, (256, 256, 3).

    Raises:
        DataError: the file is missing or cannot be decoded.
    """
    with resources.as_file(_FOLDER / f"{photograph}.webp") as path:
        return read_image(path)


def reduced(pixels: Pixels, size: int) -> Pixels:
    """(256, 256, 3) -> (size, size, 3): exact means over square blocks, rounded half to even."""
    factor = len(pixels) // size
    means = pixels.reshape(size, factor, size, factor, 3).mean(axis=(1, 3), dtype=np.float64)
    smaller: Pixels = np.rint(means).astype(np.uint8)
    return smaller
