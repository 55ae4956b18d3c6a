"""Any directory of images as a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from safari_bench.data.codec import from_pixels, read_image
from safari_bench.data.contract import DataError, Pixels, Record, description, digest, first
from safari_bench.data.listing import choose, find_images
from safari_bench.data.manifest import Manifest
from safari_bench.data.recipes import RECIPES, Recipe

__all__ = ["Folder"]

#: hashing fewer images takes a moment; a bar would only flicker
_BAR_ABOVE = 200


class Folder:
    """The images under a directory, at any depth, sorted by relative path.

    Ids are relative paths (see `listing.find_images`) and depend on neither n nor subset. Hashes need every image
    decoded once: `records` does it, the first time, and keeps the hashes in memory; each `load` reads the pixels anew.
    Without a manifest `load` still notices a file that changed since it was first read.

    Args:
        root: the directory.
        split: a directory inside root to read instead, or None for root itself.
        size: side of the square images, or (height, width), pixels.
        n: how many, from the first; None for all.
        recipe: a key of `recipes.RECIPES`: resize_crop, crop or none.
        subset: text file with the ids or relative paths to use, one a line, # for comments; see `listing.choose`.
        manifest: CSV file of `write_manifest` that the images must agree with.
        name: of the dataset, in results and random streams.
    Raises:
        DataError: if the folder, or a file named here, is not as it should be.
    """

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        size: int | Sequence[int] = 256,
        n: int | None = None,
        recipe: str = "resize_crop",
        subset: Path | str | None = None,
        manifest: Path | str | None = None,
        name: str = "folder",
    ) -> None:
        self.name = name
        self.split = split
        self.root = Path(root) / split if split else Path(root)
        self.recipe = Recipe.parse(recipe, size)
        self.image_shape = (3, self.recipe.height, self.recipe.width)
        images = find_images(self.root)
        chosen = choose(images, subset) if subset else images
        self._images = first(list(chosen.items()), n, str(self.root))
        self._manifest = Manifest(manifest) if manifest else None
        if self._manifest:
            self._manifest.check_names((i for i, _ in self._images), images, str(self.recipe))
        self._hashes: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._images)

    def records(self) -> list[Record]:
        """One record per image. Decodes every image whose hash is not known yet, with a progress bar if there are many.

        Raises:
            DataError: if an image cannot be read or prepared, or differs from the manifest (every difference is named).
        """
        unknown = [k for k in range(len(self)) if k not in self._hashes]
        for k in tqdm(unknown, desc=f"hashing {self.name}", unit="image", disable=len(unknown) <= _BAR_ABOVE):
            self._hashes[k] = digest(self._pixels(k))
        records = [Record(i, self._hashes[k]) for k, (i, _) in enumerate(self._images)]
        if self._manifest:
            self._manifest.check_hashes(records)
        return records

    def load(self, index: int) -> Tensor:
        """Image `index`, (3, h, w), float32 in [-1, 1].

        Raises:
            DataError: if it cannot be read or prepared, differs from the manifest, or changed since it was first read.
        """
        image_id, path = self._images[index]
        pixels = self._pixels(index)
        got = digest(pixels)
        if self._manifest:
            self._manifest.check_hashes([Record(image_id, got)])
        expected = self._hashes.setdefault(index, got)
        if got != expected:
            raise DataError(
                f"image {self.root / path}: sha256 of the pixels is {got}, expected {expected} as first read; the file "
                "changed during the run: start again, with a folder nobody writes to"
            )
        return from_pixels(pixels)

    def describe(self) -> dict[str, Any]:
        """See `Dataset.describe`. Hashes every image, like `records`."""
        how = f"{RECIPES[self.recipe.name]}; EXIF orientation applied, transparency over white"
        return description(self, self.split, str(self.recipe), how)

    def _pixels(self, index: int) -> Pixels:
        path = self.root / self._images[index][1]
        return self.recipe(read_image(path), str(path))
