"""Marginal variances of p(x | y) under the Gaussian prior, over pixels and over waves.

Waves are those of the orthonormal 2-D DFT along the prior's axes of colour, in which the prior is diagonal. Where A^T A
is shift-invariant and treats the channels alike, the posterior is diagonal there too.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from safari_bench.exact import written_out
from safari_bench.exact.problem import shift_invariant, treats_channels_alike
from safari_bench.operators import LinearOperator
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.shapes import Image, Measurement

__all__ = ["Marginals", "diagonal_in_waves", "in_waves", "marginals", "multiplicity", "radius"]

#: rows of G that are transformed at once
_CHUNK = 256


class Marginals(NamedTuple):
    """Variances along two orthonormal bases; both add up to the trace of the covariance."""

    pixels: Float[Tensor, "c h w"]
    waves: Float[Tensor, "c h f"]  # E|F (x - E x)|^2 at the frequencies of rfft2, by axis of colour


def marginals(prior: GaussianPrior, operator: LinearOperator, y: Measurement, sigma_y: float) -> Marginals:
    """Of the posterior of a batch of one image. Neither depends on the values in y.

    Raises:
        ValueError: A is neither shift-invariant nor small enough to write out.
    """
    if diagonal_in_waves(operator, y):
        return _shift_invariant(prior, operator, sigma_y)
    c, h, w = operator.image_shape
    basis, waves = _basis(prior, y), _power(prior, h, w)
    pixels = torch.einsum("cd,d->c", basis.square(), _mean(waves, w))[:, None, None].expand(c, h, w).clone()
    for _, block in written_out.blocks(prior, operator, y, sigma_y):  # Cov[x | y] = C - sum over blocks of G^T G
        for G in torch.split(block.G, _CHUNK):
            images = torch.einsum("cq,mqhw->mchw", block.colour, G)
            pixels -= images.square().sum(0)
            waves = waves - in_waves(prior, images).abs().square().sum(0)
    return Marginals(pixels.clamp(min=0), waves.clamp(min=0))


def diagonal_in_waves(operator: LinearOperator, y: Measurement) -> bool:
    """Whether the posterior is diagonal where the prior is."""
    return treats_channels_alike(operator, y) and shift_invariant(operator, y)


def in_waves(prior: GaussianPrior, images: Image) -> Tensor:
    """F Q^T x: the orthonormal 2-D DFT along the prior's axes of colour, (b, c, h, w // 2 + 1), complex."""
    along = torch.einsum("cd,bchw->bdhw", _basis(prior, images), images)
    waves: Tensor = torch.fft.rfft2(along, norm="ortho")
    return waves


def multiplicity(width: int) -> Float[Tensor, "f"]:
    """How often each column of rfft2 stands in the full DFT of a real image: twice, but for zero and Nyquist."""
    times = torch.full((width // 2 + 1,), 2.0, dtype=torch.float64)
    times[0] = 1
    if width % 2 == 0:
        times[-1] = 1
    return times


def radius(height: int, width: int) -> Float[Tensor, "h f"]:
    """Radial frequencies of rfft2 as fractions of Nyquist."""
    f_h, f_w = torch.fft.fftfreq(height, dtype=torch.float64), torch.fft.rfftfreq(width, dtype=torch.float64)
    return torch.hypot(f_h[:, None], f_w[None, :]) / 0.5


def _shift_invariant(prior: GaussianPrior, operator: LinearOperator, sigma_y: float) -> Marginals:
    c, h, w = operator.image_shape
    delta = torch.zeros(operator.batch, c, h, w, dtype=torch.float64)
    delta[:, :, 0, 0] = 1
    gains = torch.fft.rfft2(operator.adjoint(operator.A(delta))[0, 0]).real.clamp(min=0)
    waves = 1 / (1 / _power(prior, h, w) + gains / sigma_y**2)
    pixels = torch.einsum("cd,d->c", _basis(prior, delta).square(), _mean(waves, w))
    return Marginals(pixels[:, None, None].expand(c, h, w), waves)


def _basis(prior: GaussianPrior, like: Tensor) -> Tensor:
    return torch.tensor(prior.spectrum.basis, dtype=like.dtype, device=like.device)


def _power(prior: GaussianPrior, height: int, width: int) -> Tensor:
    return torch.from_numpy(prior.spectrum.on_grid(height, width))


def _mean(waves: Tensor, width: int) -> Tensor:
    """Mean over the full DFT, (c,): the variance of every pixel along each axis of colour."""
    return (waves * multiplicity(width)).sum((1, 2)) / (waves.shape[1] * width)
