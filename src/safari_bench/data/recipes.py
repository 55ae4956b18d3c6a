"""How a picture of any size becomes one of the dataset's size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from safari_bench.data.contract import DataError, Pixels

__all__ = ["RECIPES", "Recipe"]

#: name -> what it does, for run.json
RECIPES = {
    "resize_crop": "resized until it just covers the size (Pillow LANCZOS, antialiased; small images are enlarged), "
    "centre crop",
    "crop": "centre crop, nothing is resized",
    "none": "images are used as they are and have the size already",
    "square": "square images, resized to the size (Pillow LANCZOS, antialiased) unless they have it already",
    "guided_crop": "halved (Pillow BOX) while the shorter side is at least twice the size, resized until it just "
    "covers the size (Pillow BICUBIC, antialiased), centre crop: guided-diffusion's",
}
#: recipes for pictures whose EXIF orientation the published protocol ignores
_UNTURNED = {"guided_crop"}


@dataclass(frozen=True)
class Recipe:
    """One of `RECIPES`, with the size it leads to.

    Attributes:
        name: a key of `RECIPES`.
        height, width: of the result, pixels.
    """

    name: str
    height: int
    width: int

    @classmethod
    def parse(cls, name: str, size: int | Sequence[int]) -> "Recipe":
        """size: the side of a square, or (height, width).

        Raises:
            DataError: if there is no such recipe or the size is not one or two positive integers.
        """
        if name not in RECIPES:
            raise DataError(f"dataset.recipe: got {name!r}, expected one of {', '.join(RECIPES)}")
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
            raise DataError(f"dataset.size: got {size!r}, expected a positive integer or a pair [height, width]")
        if name in ("square", "guided_crop") and sides[0] != sides[1]:
            raise DataError(f"dataset.size: got {size!r}, expected one number: recipe {name} makes squares")
        return cls(name, *sides)

    @property
    def turns(self) -> bool:
        """Whether it wants pictures the way up that their EXIF orientation says."""
        return self.name not in _UNTURNED

    @property
    def description(self) -> str:
        """What it does to a file, in English."""
        orientation = "applied" if self.turns else "ignored"
        return f"{RECIPES[self.name]}; EXIF orientation {orientation}, transparency over white"

    def __str__(self) -> str:
        return f"{self.name}-{self.height}x{self.width}"

    def __call__(self, pixels: Pixels, file: str) -> Pixels:
        """(any, any, 3) -> (height, width, 3).

        Args:
            file: what errors call the picture.
        Raises:
            DataError: if this recipe cannot give this picture its size.
        """
        if self.name == "resize_crop":
            pixels = self._cover(pixels)
        elif self.name == "guided_crop":
            pixels = self._cover_guided(pixels)
        elif self.name == "square":
            pixels = self._shrink(pixels, file)
        h, w, _ = pixels.shape
        exact = self.name == "none"
        if h < self.height or w < self.width or (exact and (h, w) != (self.height, self.width)):
            raise DataError(
                f"image {file}: got {h}x{w} pixels (height x width), expected {'exactly' if exact else 'at least'} "
                f"{self.height}x{self.width} for recipe {self.name}; set dataset.recipe=resize_crop or another "
                "dataset.size, or leave it out with dataset.subset"
            )
        top, left = (h - self.height) // 2, (w - self.width) // 2
        return pixels[top : top + self.height, left : left + self.width]

    def _cover(self, pixels: Pixels) -> Pixels:
        h, w, _ = pixels.shape
        # compared as integers, so that one side is exactly what is asked and the other no less, however it rounds
        if self.height * w >= self.width * h:
            height, width = self.height, round(w * self.height / h)
        else:
            height, width = round(h * self.width / w), self.width
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))

    def _cover_guided(self, pixels: Pixels) -> Pixels:
        """As guided_diffusion/image_datasets.py prepares ImageNet; rounding of sides included. Square results only."""
        image, side = Image.fromarray(pixels), self.height
        while min(image.size) >= 2 * side:
            image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        scale = side / min(image.size)
        sides = (round(image.width * scale), round(image.height * scale))
        return np.asarray(image.resize(sides, Image.Resampling.BICUBIC))

    def _shrink(self, pixels: Pixels, file: str) -> Pixels:
        h, w, _ = pixels.shape
        if h != w or h < self.height:
            raise DataError(
                f"image {file}: got {h}x{w} pixels (height x width), expected a square of {self.height} or more; "
                "fetch the file again, or choose another dataset.size"
            )
        return np.asarray(Image.fromarray(pixels).resize((self.width, self.height), Image.Resampling.LANCZOS))
