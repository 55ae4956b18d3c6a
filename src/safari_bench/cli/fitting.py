"""`safari-bench fit`: the one place that shows train photographs to the Gaussian prior."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from safari_bench.data import Photos
from safari_bench.priors.gaussian import Spectrum, fit

__all__ = ["fit_train_photographs", "write_spectrum"]


def fit_train_photographs() -> Spectrum:
    """Fitted on the 64 px and 256 px crops of the train split; no tuning or test photograph is read."""
    images = []
    for size in (64, 256):
        photos = Photos(split="train", size=size)
        images += [photos.load(i).numpy().astype(np.float64) for i in range(len(photos.records()))]
    return fit(images)


def write_spectrum(path: Path) -> None:
    """Fit and write; the shipped file is this one's output."""
    path.write_text(json.dumps(asdict(fit_train_photographs()), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}; use it with prior.checkpoint={path}")
