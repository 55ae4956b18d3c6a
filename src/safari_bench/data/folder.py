"""Any directory of images as a dataset."""

from collections.abc import Sequence
from pathlib import Path

from safari_bench.data.contract import first
from safari_bench.data.listing import choose, find_images
from safari_bench.data.pictures import Pictures
from safari_bench.data.recipes import Recipe

__all__ = ["Folder"]


class Folder(Pictures):
    """The images under a directory, at any depth, sorted by relative path. They are taken as clean.

    Ids are relative paths (see `listing.find_images`) and depend on neither n nor subset.

    Args:
        root: the directory.
        split: a directory inside root to read instead, or None for root itself.
        size: side of the square images, or (height, width), pixels.
        n: how many, from the first; None for all.
        recipe: a key of `recipes.RECIPES`.
        subset: text file with the ids or relative paths to use, one a line, # for comments; see `listing.choose`.
        manifest: CSV file, see `manifest_csv`, that the images must agree with.
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
        place = Path(root) / split if split else Path(root)
        images = find_images(place)
        chosen = choose(images, subset) if subset else images
        picked = first(list(chosen.items()), n, f"the list {subset}" if subset else str(place))
        super().__init__(name, place, split, picked, list(images), Recipe.parse(recipe, size), manifest)
