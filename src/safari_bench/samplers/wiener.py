"""Wiener: the posterior mean under a Gaussian prior, the best linear estimate there is for its covariance.

N. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series, 1949; here for any linear A:
x_hat = mu + C A^T (A C A^T + sigma_y^2 I)^{-1} (y - A mu). No diffusion prior is called.

Deviations
- the inverse is applied by conjugate gradients, because C and A share no basis in general;
- with sigma_y = 0 the system is damped by 1e-4 on [-1, 1], a fortieth of one step of an 8-bit picture, squared.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from safari_bench.diffusion import Denoiser
from safari_bench.operators.contract import LinearOperator
from safari_bench.operators.solvers import conjugate_gradients
from safari_bench.ranges import Count
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["Gaussian", "Wiener"]

_LEAST_SIGMA = 1e-4


@runtime_checkable
class Gaussian(Protocol):
    """N(mu, C), given by what it does to images."""

    def mean(self, like: Image) -> Image:
        """mu, of the shape of like."""
        ...

    def covariance(self, x: Image) -> Image:
        """C x."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wiener(Sampler):
    """E[x | y] under a Gaussian prior of its own; the run's diffusion prior is not used.

    Args:
        gaussian: the prior.
        iterations: the most steps of conjugate gradients.
    """

    gaussian: Gaussian
    iterations: Count = 1000

    requires = LinearOperator
    uses_prior = False

    @torch.no_grad()
    def restore(self, problem: Problem[LinearOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, sigma_y = problem.y, problem.operator, problem.sigma_y
        like = torch.empty(len(y), *operator.image_shape, dtype=y.dtype, device=y.device)
        mu = self.gaussian.mean(like)
        damping = max(sigma_y, _LEAST_SIGMA) ** 2
        u = conjugate_gradients(
            lambda u: operator.A(self.gaussian.covariance(operator.adjoint(u))) + damping * u,
            y - operator.A(mu),
            iterations=self.iterations,
            rtol=1e-5,
        )
        return mu + self.gaussian.covariance(operator.adjoint(u))
