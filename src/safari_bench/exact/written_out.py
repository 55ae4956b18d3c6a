"""A and C as matrices: marginal variances and covariances of p(x | y) under the Gaussian prior, by Cholesky.

With rows a_i of A and S = A C A^T + sigma_y^2 I = L L^T, Cov[x | y] = C - G^T G for G = L^{-1} A C.

An operator that treats the channels alike and apart commutes with the prior's axes of colour, whose posteriors are
then independent: c problems of h w unknowns in the place of one of c h w. That puts 64 px within reach.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from safari_bench.exact.problem import treats_channels_alike, unit, zeros
from safari_bench.operators import LinearOperator
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.shapes import Image, Measurement

__all__ = ["Block", "blocks", "covariance", "variance"]

#: the most numbers one matrix may hold: 2 GiB
_LARGEST = 2**28


class Block(NamedTuple):
    """A part of the colour space whose posterior is independent of the others'."""

    colour: Tensor  # (c, q), orthonormal: its directions
    C: Callable[[Tensor], Tensor]  # the prior's covariance, on (., q, h, w)
    G: Tensor  # (m, q, h, w)


def variance(prior: GaussianPrior, operator: LinearOperator, y: Measurement, sigma_y: float) -> Image:
    """Diagonal of Cov[x | y], (b, c, h, w).

    Raises:
        ValueError: the matrices would be too large.
    """
    result = zeros(operator, y)
    for i, block in blocks(prior, operator, y, sigma_y):
        q, (h, w) = block.colour.shape[1], result.shape[2:]
        delta = torch.zeros(q, q, h, w, dtype=y.dtype, device=y.device)
        delta[range(q), range(q), 0, 0] = 1
        before = block.C(delta)[range(q), range(q), 0, 0]  # stationary: the same at every pixel
        inside = before[:, None, None] - block.G.square().sum(0)
        result[i] += torch.einsum("cq,qhw->chw", block.colour.square(), inside)
    return result


def covariance(
    prior: GaussianPrior, operator: LinearOperator, y: Measurement, sigma_y: float
) -> Float[Tensor, "b n n"]:
    """Cov[x | y] over the flattened (c, h, w).

    Raises:
        ValueError: the matrices would be too large.
    """
    c, h, w = operator.image_shape
    _check_size(len(y) * (c * h * w) ** 2, "covariances")
    result = torch.zeros(len(y), c, h * w, c, h * w, dtype=y.dtype, device=y.device)
    for i, block in blocks(prior, operator, y, sigma_y):
        q = block.colour.shape[1]
        eye = torch.eye(q * h * w, dtype=y.dtype, device=y.device).reshape(-1, q, h, w)
        G = block.G.flatten(1)
        inside = (block.C(eye).flatten(1) - G.T @ G).reshape(q, h * w, q, h * w)
        result[i] += torch.einsum("cq,qirj,dr->cidj", block.colour, inside, block.colour)
    return result.reshape(len(y), c * h * w, c * h * w)


def blocks(
    prior: GaussianPrior, operator: LinearOperator, y: Measurement, sigma_y: float
) -> Iterator[tuple[int, Block]]:
    """(image, block), every block of every image."""
    alike = treats_channels_alike(operator, y)
    c, h, w = operator.image_shape
    m = y[0].numel() // (c if alike else 1)
    q = 1 if alike else c
    _check_size(len(y) * m * q * h * w, "rows of A")
    rows = torch.stack([operator.adjoint(unit(y, j))[:, :q] for j in range(m)], 1)  # (b, m, q, h, w)
    basis = torch.tensor(prior.spectrum.basis, dtype=y.dtype, device=y.device)
    power = torch.from_numpy(prior.spectrum.on_grid(h, w)).to(y)
    for i, all_rows in enumerate(rows):
        a = all_rows[all_rows.flatten(1).any(1)]  # without what is not observed
        for d in range(c) if alike else [None]:
            colour = torch.eye(c, dtype=y.dtype, device=y.device) if d is None else basis[:, d : d + 1]

            def C(v: Tensor, d: int | None = d) -> Tensor:
                if d is None:
                    return prior.filter(v, lambda eigenvalues: eigenvalues)
                filtered: Tensor = torch.fft.irfft2(power[d] * torch.fft.rfft2(v), s=(h, w))
                return filtered

            Ca = C(a).flatten(1)
            S = a.flatten(1) @ Ca.T + sigma_y**2 * torch.eye(len(a), dtype=y.dtype, device=y.device)
            G = torch.linalg.solve_triangular(torch.linalg.cholesky(S), Ca, upper=False)
            yield i, Block(colour, C, G.reshape(-1, q, h, w))


def _check_size(numbers: int, what: str) -> None:
    if numbers > _LARGEST:
        raise ValueError(
            f"exact posterior: the {what} would hold {numbers} numbers, expected at most {_LARGEST}; give fewer or "
            "smaller images, or for standard deviations a list of pixels"
        )
