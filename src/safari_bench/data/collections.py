"""The two collections of the published tables, by their official file names: FFHQ and the ImageNet validation set.

An id is the official number or name, whichever of the usual layouts the files are in, so that two machines that keep
them differently draw the same masks, kernels and noise.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from safari_bench.data.contract import DataError, TooFew, first
from safari_bench.data.listing import choose, find_images
from safari_bench.data.pictures import Pictures
from safari_bench.data.recipes import Recipe

__all__ = ["Ffhq", "ImageNet"]

#: split -> numbers of its pictures. DPS, DiffPIR and DAPS restore the first thousand.
_FFHQ_SPLITS = {"validation": range(1000), "tuning": range(1000, 2000), "all": range(70000)}
_FFHQ_SOURCE = (
    "put the PNGs of https://github.com/NVlabs/ffhq-dataset there, 00000.png to 00999.png at least, side by side or in "
    "folders by the thousand, of 256 px or of the official 1024 px"
)
#: the official name; copies on the Hugging Face Hub append the synset
_IMAGENET_NAME = r"(ILSVRC2012_val_\d{8})(?:_n\d{8})?"
_IMAGENET_SOURCE = (
    "put the validation images of ILSVRC2012 there (https://image-net.org, registration needed), "
    "ILSVRC2012_val_00000001.JPEG and so on, side by side or in folders by class"
)


class Ffhq(Pictures):
    """Flickr-Faces-HQ (Karras, Laine, Aila, CVPR 2019, arXiv 1812.04948): 70 000 faces, 00000 to 69999.

    Args:
        root: folder of the PNGs, any of the layouts that `_FFHQ_SOURCE` names.
        split: validation (00000 to 00999), tuning (01000 to 01999: settings are chosen there; the prior has seen them
            in training) or all.
        size: side in pixels; larger files are reduced with Pillow's LANCZOS.
        n: how many, from the first of the split, or of the list; None for all of it.
        subset: text file with official ids of the split, one a line, # for comments, in the order to take them.
        manifest: CSV file, see `manifest_csv`, that the images must agree with.
    Raises:
        DataError: a picture of the first n is missing or there twice, or another argument is not as it should be.
    """

    def __init__(
        self,
        root: Path | str,
        split: str = "validation",
        size: int = 256,
        n: int | None = 1000,
        subset: Path | str | None = None,
        manifest: Path | str | None = None,
    ) -> None:
        if split not in _FFHQ_SPLITS:
            raise DataError(f"dataset.split: got {split!r}, expected one of {', '.join(_FFHQ_SPLITS)}")
        place = Path(root)
        images = _named(place, r"(\d{5})", "FFHQ", _FFHQ_SOURCE)
        names = {f"{number:05d}": f"{number:05d}.png" for number in _FFHQ_SPLITS[split]}
        if subset:
            names = choose(names, subset, lambda entry: Path(entry.split()[0]).stem, "the split")
        where = f"the list {subset}" if subset else f"split {split} of FFHQ"
        wanted = first(list(names), n, where)
        chosen = [(image, images[image]) for image in wanted if image in images]
        if len(chosen) < len(wanted):
            absent = [image for image in wanted if image not in images]
            raise TooFew(
                f"dataset.root {place}: got {len(chosen)} of the {len(wanted)} pictures of {where}, without "
                f"{_few(absent)}; {_FFHQ_SOURCE}, or take fewer with dataset.n",
                len(chosen),
                len(wanted),
            )
        super().__init__("ffhq", place, split, chosen, list(images), Recipe.parse("square", size), manifest)


class ImageNet(Pictures):
    """The validation set of ILSVRC2012 (Russakovsky et al., IJCV 2015): 50 000 photographs, 00000001 to 00050000.

    Prepared as guided-diffusion prepares its training images: recipe guided_crop. Papers restore 1000 or 100 of them
    and few say which; here it is the first ones, or those of a list.

    Args:
        root: folder of the JPEGs, side by side or by class.
        split: validation, or tuning (the last thousand: settings are chosen there; keep it out of lists).
        size: side in pixels.
        n: how many, from the first of the split or of the list; None for all.
        subset: text file with ids or file names to use, one a line, # for comments; see `listing.choose`.
        manifest: CSV file, see `manifest_csv`, that the images must agree with.
    Raises:
        DataError: too few pictures, one that is there twice, or another argument is not as it should be.
    """

    def __init__(
        self,
        root: Path | str,
        split: str = "validation",
        size: int = 256,
        n: int | None = 1000,
        subset: Path | str | None = None,
        manifest: Path | str | None = None,
    ) -> None:
        splits = {"validation": range(1, 50001), "tuning": range(49001, 50001)}
        if split not in splits:
            raise DataError(f"dataset.split: got {split!r}, expected one of {', '.join(splits)}")
        place = Path(root)
        found = _named(place, _IMAGENET_NAME, "ImageNet", _IMAGENET_SOURCE)
        images = {image: path for image, path in found.items() if int(image[-8:]) in splits[split]}
        if subset:
            # lists give files as they lie elsewhere, some with a label: n01440764/ILSVRC2012_val_00000293.JPEG 0
            images = choose(images, subset, _imagenet_id)
        where = f"the list {subset}" if subset else f"split {split} in {place}"
        chosen = first([(image, found[image]) for image in images], n, where)
        recipe = Recipe.parse("guided_crop", size)
        super().__init__("imagenet", place, split, chosen, list(found), recipe, manifest)


def _named(root: Path, pattern: str, what: str, source: str) -> dict[str, str]:
    """id -> relative path, sorted by id, of the images whose name without extension is of the pattern.

    Its first group is the id.
    """
    if not root.is_dir():
        raise DataError(f"dataset.root: no folder {root} (looked for at {root.absolute()}); {source}")
    found: dict[str, list[str]] = {}
    for path in find_images(root).values():
        if name := re.fullmatch(pattern, Path(path).stem):
            found.setdefault(name[1], []).append(path)
    twice = {image: paths for image, paths in found.items() if len(paths) > 1}
    if twice:
        image, paths = next(iter(twice.items()))
        raise DataError(
            f"dataset.root {root}: {len(twice)} pictures are there more than once, {image} as {' and '.join(paths)}; "
            "set dataset.root to the folder of one copy"
        )
    if not found:
        raise DataError(f"dataset.root {root}: got no file named as in {what}; {source}")
    return {image: found[image][0] for image in sorted(found)}


def _imagenet_id(entry: str) -> str:
    """Of an entry of a list: an id, or a path with or without a label behind it."""
    stem = Path(entry.split()[0]).stem
    name = re.fullmatch(_IMAGENET_NAME, stem)
    return name[1] if name else stem


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} others" if len(names) > 5 else "")
