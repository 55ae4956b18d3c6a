"""What a dataset is, as far as the runner is concerned, and how its images are told apart."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from safari_bench.errors import DataError, TooFew

__all__ = ["DataError", "Dataset", "Pixels", "Record", "TooFew"]
__all__ += ["description", "digest", "first", "records_digest"]

#: an 8-bit RGB picture, (h, w, 3)
Pixels = NDArray[np.uint8]

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """One image of a dataset.

    Attributes:
        id: unique in the dataset and stable across machines; names the image's random streams.
        sha256: `digest` of the pixels that `Dataset.load` returns.
    """

    id: str
    sha256: str


@runtime_checkable
class Dataset(Protocol):
    """Images of one size, in a fixed order."""

    name: str
    #: (3, h, w)
    image_shape: tuple[int, int, int]

    def records(self) -> list[Record]:
        """One record per image, in dataset order.

        Raises:
            DataError: if an image cannot be read or is not the expected one.
        """
        ...

    def load(self, index: int) -> Tensor:
        """Image `index` of `records`, (3, h, w), float32 in [-1, 1]. Its hash is verified first.

        Raises:
            DataError: if the image cannot be read or its pixels are not those of its record.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What run.json keeps, JSON types only.

        Keys: name, split, size [h, w], n, recipe (one word per preprocessing, as in manifests), preprocessing (the same
        in English), manifest_sha256 (`records_digest` of `records`).
        """
        ...


def digest(pixels: Pixels) -> str:
    """SHA-256, in hex, of a picture's shape and 8-bit values: equal for equal pictures, whatever the file format."""
    shape = "x".join(map(str, pixels.shape))
    return hashlib.sha256(shape.encode() + b":" + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def records_digest(records: Iterable[Record]) -> str:
    """SHA-256, in hex, of ids and hashes in their order: names the exact set of images a run saw."""
    return hashlib.sha256("".join(f"{r.id},{r.sha256}\n" for r in records).encode()).hexdigest()


def description(dataset: Dataset, split: str | None, recipe: str, preprocessing: str) -> dict[str, Any]:
    """What `Dataset.describe` returns, from what only the dataset knows."""
    records = dataset.records()
    return {
        "name": dataset.name,
        "split": split,
        "size": list(dataset.image_shape[1:]),
        "n": len(records),
        "recipe": recipe,
        "preprocessing": preprocessing,
        "manifest_sha256": records_digest(records),
    }


def first(items: Sequence[T], n: int | None, where: str) -> list[T]:
    """The first n items, or all of them if n is None.

    Raises:
        DataError: if n is below 1.
        TooFew: if n is above the number of items in `where`.
    """
    if n is not None and not 1 <= n <= len(items):
        said = f"dataset.n: got {n}, but {where} has {len(items)} images; expected 1 to {len(items)}, or null for all"
        raise TooFew(said, len(items), n) if n > len(items) else DataError(said)
    return list(items[:n])
