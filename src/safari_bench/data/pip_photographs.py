"""The photographs inside the wheels of scikit-image, scikit-learn and matplotlib. Nothing is ever downloaded.

The split is by photograph, so that no pixel of a test photograph can reach a prior or a tuned number.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from safari_bench.data.codec import read_image
from safari_bench.data.contract import DataError, Pixels

__all__ = ["SPLITS", "Crop", "check_split", "textures", "whole_photographs"]

#: grey photographs, for training priors only
_GREY = ("brick", "camera", "cell", "coins", "grass", "gravel", "moon", "page")

#: photograph -> (package, file inside it)
_FILES = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle_left": ("skimage", "data/motorcycle_left.png"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg"),
    "retina": ("skimage", "data/retina.jpg"),
    "ihc": ("skimage", "data/ihc.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    **{name: ("skimage", f"data/{name}.png") for name in _GREY},
}

SPLITS = {
    "test": ("astronaut", "coffee", "china"),
    "tuning": ("chelsea", "grace_hopper"),
    "train": ("rocket", "motorcycle_left", "hubble_deep_field", "retina", "ihc", "flower"),
}


@dataclass(frozen=True)
class Crop:
    """A square of a photograph, reduced by an integer factor.

    Attributes:
        photograph: one of the names in `SPLITS`.
        left, top: upper left corner in the photograph, pixels.
        scale: the factor; the square's side is size * scale pixels of the photograph.
        size: side of the result, pixels.
    """

    photograph: str
    left: int
    top: int
    scale: int
    size: int

    @property
    def box(self) -> int:
        """Side of the square in the photograph, pixels."""
        return self.size * self.scale

    @property
    def id(self) -> str:
        """Such as astronaut-64-x158-y40-s2."""
        return f"{self.photograph}-{self.size}-x{self.left}-y{self.top}-s{self.scale}"

    def pixels(self) -> Pixels:
        """(size, size, 3): exact means over scale x scale blocks, rounded half to even.

        Block means, because a library's resampling filter may change between releases and a mean may not.
        """
        n, s = self.size, self.scale
        source = _read(self.photograph)[self.top : self.top + self.box, self.left : self.left + self.box]
        means = source.reshape(n, s, n, s, 3).mean(axis=(1, 3), dtype=np.float64)
        pixels: Pixels = np.rint(means).astype(np.uint8)
        return pixels


def whole_photographs(split: str) -> dict[str, Pixels]:
    """The whole photographs of a split by name, (h, w, 3) uint8 each, for fitting priors.

    Raises:
        DataError: if there is no such split, or a package that carries a photograph is not installed.
    """
    return {name: _read(name).copy() for name in SPLITS[check_split(split)]}


def textures() -> dict[str, Pixels]:
    """The grey photographs by name, (h, w) uint8 each: more material for training priors, in no split of `Photos`.

    Raises:
        DataError: if scikit-image is not installed.
    """
    return {name: _read(name)[:, :, 0].copy() for name in _GREY}


def check_split(split: str) -> str:
    """Return split.

    Raises:
        DataError: if there is no such split.
    """
    if split not in SPLITS:
        raise DataError(f"dataset.split: got {split!r}, expected one of {', '.join(SPLITS)}")
    return split


@cache
def _read(photograph: str) -> Pixels:
    package, file = _FILES[photograph]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise DataError(f"photograph {photograph}: package {package}, whose wheel carries it, is missing; install it")
    path = Path(spec.origin).parent / file
    if not path.is_file():
        raise DataError(
            f"photograph {photograph}: the installed {package} does not carry {file}; install the version that "
            "constraints.txt pins"
        )
    return read_image(path)
