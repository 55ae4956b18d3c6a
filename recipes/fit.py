"""Fit the closed-form priors to train photographs: `python -m recipes.fit gaussian|mixture [FILE]`.

The files that ship as prior=gaussian and prior=mixture are the output of this command.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.mixture_fit import fit as fit_mixture
from safari_bench.data import Photos, whole_photographs
from safari_bench.data.pip_photographs import Crop
from safari_bench.priors import mixture_file
from safari_bench.priors.gaussian import Spectrum
from safari_bench.priors.gaussian import fit as fit_spectrum

__all__ = ["fit_train_photographs", "main", "train_crops", "write_mixture", "write_spectrum"]

#: scale -> how many crops of 64 px of each train photograph the mixture sees, about
_CROPS = {1: 600, 2: 300, 4: 60}


def fit_train_photographs() -> Spectrum:
    """Fitted on the 64 px and 256 px crops of the train split; no tuning or test photograph is read."""
    images = []
    for size in (64, 256):
        photos = Photos(split="train", size=size)
        images += [photos.load(i).numpy().astype(np.float64) for i in range(len(photos.records()))]
    return fit_spectrum(images)


def write_spectrum(path: Path) -> None:
    """Fit and write; the shipped file is this one's output."""
    path.write_text(json.dumps(asdict(fit_train_photographs()), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}; use it with prior.checkpoint={path}")


def train_crops() -> NDArray[np.float32]:
    """Crops of 64 px on even grids over every train photograph at three scales, (n, 3, 64, 64) on [-1, 1].

    Unlike the crops of photos.csv they overlap and include flat ones: a distribution of photographs has skies.
    """
    crops = [crop.pixels() for name, pixels in whole_photographs("train").items() for crop in _grid(name, pixels.shape)]
    return np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1


def _grid(name: str, shape: tuple[int, ...]) -> Iterator[Crop]:
    for scale, count in _CROPS.items():
        free_h, free_w = (side - 64 * scale for side in shape[:2])
        if min(free_h, free_w) < 0:
            continue
        rows = max(1, round(math.sqrt(count * (free_h + 1) / (free_w + 1))))
        for top in np.unique(np.linspace(0, free_h, rows).round()):
            for left in np.unique(np.linspace(0, free_w, max(1, round(count / rows))).round()):
                yield Crop(name, int(left), int(top), scale, 64)


def write_mixture(path: Path) -> None:
    """Fit and write; the shipped file is this one's output."""
    sha256 = mixture_file.write(path, fit_mixture(train_crops()))
    print(f"wrote {path}, sha256 {sha256}; use it with prior=mixture prior.checkpoint={path} prior.sha256={sha256}")


def main(words: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prior", choices=("gaussian", "mixture"))
    parser.add_argument(
        "file", type=Path, nargs="?", help="where to write; a file of the shipped one's name by default"
    )
    args = parser.parse_args(words)
    if args.prior == "gaussian":
        write_spectrum(args.file or Path("gaussian_photos.json"))
    else:
        write_mixture(args.file or Path("mixture_photos.safetensors"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
