"""Does the restoration explain the measurement?"""

import math

import torch
from torch import Tensor

from safari_bench.shapes import Measurement, PerImage

__all__ = ["data_consistency"]


def data_consistency(y: Measurement, A_x_hat: Measurement, sigma_y: float, count: PerImage) -> PerImage:
    """||y - A x_hat|| / (sigma_y sqrt(m)), dimensionless.

    About 1 where the residual looks like Gaussian noise (for x_hat = x it scatters by 1 / sqrt(2 m)); above 1 the
    measurement is not explained, below 1 the noise is fitted too. The norm runs over all of y, so y and A x_hat must
    agree (both be zero) where nothing is observed, as masking operators arrange.

    Args:
        y: measurement, (b, ...).
        A_x_hat: noiseless measurement of the restoration, of the shape of y.
        sigma_y: standard deviation of the noise in the unit of y, >= 0.
        count: m, how many entries of y are observed, per image, (b,).

    Returns:
        float64, (b,). NaN where it is undefined: everywhere if sigma_y is 0, and for an image with nothing observed.

    Raises:
        ValueError: if shapes differ, sigma_y is negative or not finite, or an entry is; the message names the images.
    """
    if y.shape != A_x_hat.shape or count.shape != y.shape[:1]:
        raise ValueError(
            f"y, A_x_hat, count: got shapes {tuple(y.shape)}, {tuple(A_x_hat.shape)}, {tuple(count.shape)}, expected "
            "(b, ...) twice and (b,). Take all three from the same operator and batch."
        )
    if not (math.isfinite(sigma_y) and sigma_y >= 0):
        raise ValueError(f"sigma_y: got {sigma_y}, expected a finite number >= 0. Correct task.sigma.")
    residual = (y.to(torch.float64) - A_x_hat.to(torch.float64)).flatten(1)
    wrong = (~residual.isfinite().all(1)).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"y - A x_hat: image {wrong[0]} of the batch holds NaN or inf (bad images: {wrong}), expected finite "
            "numbers. Record a restoration that diverged as failed."
        )
    scale = sigma_y * count.to(torch.float64).sqrt() if sigma_y > 0 else torch.full_like(residual[:, 0], math.nan)
    score: Tensor = residual.norm(dim=1) / scale
    return score
