"""MMPS: moment matching posterior sampling (Rozet, Andry, Lanusse, Louppe, NeurIPS 2024, arXiv 2405.13712), equations
19 to 22 of its version 5.

Official code: francois-rozet/diffusion-priors (`PosteriorDenoiser`) and probabilists/azula (`MMPSDenoiser`).

p(x_0 | x_t) is taken for N(x0_hat, V_t), with V_t = (1 - abar_t) / sqrt(abar_t) dx0_hat/dx_t, its covariance by
Tweedie's formula. Exact for every Gaussian prior: there the samples tend to the posterior as steps grow.

Deviations
- the variance-preserving diffusion on this project's time grids; in diffusion-priors the variance explodes and sigma_t
  falls geometrically from 100 to 0.001;
- conjugate gradients stop, per image, where a direction has no positive curvature, which a network's Jacobian may have
  (that of an ideal denoiser is symmetric and positive). azula's default is one iteration of GMRES.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from safari_bench.diffusion import Denoiser, Spacing, from_x0
from safari_bench.operators.contract import LinearOperator
from safari_bench.operators.solvers import conjugate_gradients
from safari_bench.ranges import Count, Fraction, Share
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image, Measurement

__all__ = ["MMPS"]


@dataclass(frozen=True, kw_only=True)
class MMPS(Sampler):
    """DDIM steps with E[x_0 | x_t, y] in place of x0_hat.

    Args:
        steps: prior calls, each with up to iterations + 1 backward passes; CIFAR-10 runs of diffusion-priors: 256.
        iterations: of conjugate gradients; CIFAR-10 runs of diffusion-priors: 1, its fastMRI runs: 5.
        rtol: an image's conjugate gradients stop at this residual, relative to y - A x0_hat; diffusion-priors: 1e-3.
        eta: share of fresh noise in the DDIM step; CIFAR-10 runs of diffusion-priors: 1, the ancestral step.
        spacing: time grid, see `Schedule.pairs`.
    """

    steps: Count = 256
    iterations: Count = 1
    rtol: Fraction = 1e-3
    eta: Share = 1.0
    spacing: Spacing = "uniform"

    requires = LinearOperator

    @torch.enable_grad()
    def restore(self, problem: Problem[LinearOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, sigma_y, streams = problem.y, problem.operator, problem.sigma_y, problem.streams
        schedule, shape = denoiser.schedule, operator.image_shape
        x_t = streams.normal("x_T", shape)
        for t, s in progress(schedule.pairs(self.steps, self.spacing)):
            x_t = x_t.detach().requires_grad_()
            x0_hat, _, _ = denoiser.predict(x_t, t)
            gamma = (1 - schedule.abar(t)) / math.sqrt(schedule.abar(t))
            r = y - operator.A(x0_hat.detach())
            x0_hat_y = x0_hat.detach() + self._correction(r, operator, sigma_y, gamma, x0_hat, x_t)
            del x0_hat  # it holds the network's activations, which would stand beside those of the next call
            _, eps_hat, _ = from_x0(schedule, x_t.detach(), x0_hat_y, t, None, clip=False)
            x_t = schedule.ddim_step(x0_hat_y, eps_hat, t, s, self.eta, streams.normal("step", shape))
        return x_t

    def _correction(
        self, r: Measurement, operator: LinearOperator, sigma_y: float, gamma: float, x0_hat: Image, x_t: Image
    ) -> Image:
        """V_t A^T (A V_t A^T + sigma_y^2 I)^{-1} r, with V_t = gamma dx0_hat/dx_t."""

        def V_t(v: Tensor) -> Tensor:
            return gamma * torch.autograd.grad(x0_hat, x_t, v, retain_graph=True)[0]

        def covariance(u: Tensor) -> Tensor:
            return operator.A(V_t(operator.adjoint(u))) + sigma_y**2 * u

        u = conjugate_gradients(covariance, r, iterations=self.iterations, rtol=self.rtol)
        return V_t(operator.adjoint(u))
