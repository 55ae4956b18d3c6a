"""CBM3D on the test photographs, measured once: `python -m recipes.card.cbm3d` rewrites cbm3d.csv.

It needs `pip install bm3d` (4.0.3 was used). That package is not under an open licence, so it is no dependency: the
card reads cbm3d.csv. Dabov, Foi, Katkovnik and Egiazarian, ICIP 2007.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from recipes.card.measure import Noisy, noisy_batches
from safari_bench.data import Dataset, Photographs
from safari_bench.metrics import Psnr

__all__ = ["FILE", "LEVELS", "known", "measured"]

FILE = Path(__file__).with_name("cbm3d.csv")
#: sigma on [-1, 1]
LEVELS = (0.1, 0.2, 0.5)


def known() -> pd.DataFrame:
    """Rows of cbm3d.csv: dataset, image_id, level, sigma_t, method, psnr (dB), for seed 0."""
    return pd.read_csv(FILE)


def measured(dataset: Dataset, seed: int = 0) -> pd.DataFrame:
    """CBM3D with the true noise level on the same noisy images that `measure.denoising` shows to priors.

    Raises:
        ModuleNotFoundError: bm3d is not installed.
    """
    found = []
    for level in LEVELS:
        for noisy in noisy_batches(dataset, level, seed, 24):
            scores = Psnr()(_denoised(noisy), noisy.x)
            found += [
                (dataset.name, image, level, noisy.sigma, "cbm3d", float(score))
                for image, score in zip(noisy.ids, scores, strict=True)
            ]
    return pd.DataFrame(found, columns=["dataset", "image_id", "level", "sigma_t", "method", "psnr"])


def _denoised(noisy: Noisy) -> torch.Tensor:
    import bm3d

    seen = ((noisy.x + noisy.sigma * noisy.z).permute(0, 2, 3, 1).double().numpy() + 1) / 2
    clean = np.stack([bm3d.bm3d_rgb(picture, noisy.sigma / 2) for picture in seen])
    return torch.from_numpy(2 * clean - 1).permute(0, 3, 1, 2).to(noisy.x).clamp(-1, 1)


if __name__ == "__main__":
    table = measured(Photographs("test", 64))
    table.to_csv(FILE, index=False, float_format="%.4f", lineterminator="\n")
    print(table.groupby(["dataset", "level"]).psnr.mean().to_string())
