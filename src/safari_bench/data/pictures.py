"""Picture files in a fixed order, prepared by one recipe: what every dataset of files is underneath."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from safari_bench.data.codec import from_pixels, read_image
from safari_bench.data.contract import DataError, Pixels, Record, description, digest
from safari_bench.data.manifest import Manifest
from safari_bench.data.recipes import Recipe

__all__ = ["Pictures"]

#: hashing fewer images takes a moment; a bar would only flicker
_BAR_ABOVE = 200


class Pictures:
    """Picture files as a dataset.

    Hashes need every image decoded once: `records` does it, the first time, and keeps the hashes in memory; each `load`
    reads the pixels anew. Without a manifest `load` still notices a file that changed since it was first read.

    Args:
        name: of the dataset, in results and random streams.
        root: the directory that paths are relative to.
        split: what run.json says of it.
        images: (id, relative path) of the chosen images, in order.
        present: ids of all images in the folder, which a manifest is compared with.
        manifest: CSV file, see `manifest_csv`, that the images must agree with, or None.
    Raises:
        DataError: if the manifest is not as it should be, or names other images.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        split: str | None,
        images: Sequence[tuple[str, str]],
        present: Sequence[str],
        recipe: Recipe,
        manifest: Path | str | None,
    ) -> None:
        self.name, self.root, self.split, self.recipe = name, root, split, recipe
        self.image_shape = (3, recipe.height, recipe.width)
        self.present = list(present)
        self._images = list(images)
        self._manifest = Manifest(manifest) if manifest else None
        if self._manifest:
            self._manifest.check_names((i for i, _ in self._images), self.present, str(recipe))
        self._hashes: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._images)

    def records(self) -> list[Record]:
        """One record per image. Decodes every image whose hash is not known yet, with a progress bar if there are many.

        Raises:
            DataError: every image that cannot be read or prepared, or else all that differ from the manifest.
        """
        broken = [str(error) for error in self.digests().values() if isinstance(error, DataError)]
        if broken:
            raise DataError("\n".join(broken))
        records = [Record(i, self._hashes[k]) for k, (i, _) in enumerate(self._images)]
        if self._manifest:
            self._manifest.check_hashes(records)
        return records

    def digests(self) -> dict[str, str | DataError]:
        """id -> pixel hash, or why an image has none. Decodes what is not known yet, with a bar if that is much."""
        unknown = [k for k in range(len(self)) if k not in self._hashes]
        broken: dict[int, DataError] = {}
        for k in tqdm(unknown, desc=f"hashing {self.name}", unit="image", disable=len(unknown) <= _BAR_ABOVE):
            try:
                self._hashes[k] = digest(self._pixels(k))
            except DataError as error:
                broken[k] = error
        return {i: broken[k] if k in broken else self._hashes[k] for k, (i, _) in enumerate(self._images)}

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
        return description(self, self.split, str(self.recipe), self.recipe.description)

    def _pixels(self, index: int) -> Pixels:
        path = self.root / self._images[index][1]
        return self.recipe(read_image(path, turn=self.recipe.turns), str(path))
