"""PnP-ADMM: plug-and-play ADMM with continuation (Chan, Wang, Elgendy, IEEE TCI 2017, arXiv 1605.01710), Algorithm 1.

Official code: PlugPlayADMM by the same authors (MATLAB). As a baseline of DPS (Chung et al., ICLR 2023): lanl/scico.

The denoiser is the same diffusion prior that every other method has: D(v; sigma) = x0_hat(sqrt(abar_t) v, t) at the t
whose sigma_t is nearest to sigma. Nothing is drawn: the answer is a point estimate.

Deviations
- the papers' denoisers are BM3D (Chan et al.) and DnCNN trained for one noise level (DPS); DPS does not say which;
- the number of iterations is given, and rho's growth per iteration follows from it and the two ends of sigma; the paper
  stops when the iterates no longer move;
- lambda is stated as a multiple of sigma_y^2, 1 being the weight of a MAP estimate; the paper tunes lambda itself;
- as in both codes the x of the data step is returned, but of one more data step than either takes: the last call of the
  denoiser would otherwise be without effect;
- where the operator has no SVD, the data step is solved by conjugate gradients to 1e-6: on a reflected blur of 16 px
  ten steps end within 2e-6 of the SVD's in float64 and 2e-5 in float32, where a warning says if a step is less exact;
- `clip` is on the denoiser's output; the official code clips its input;
- the iteration starts at y's picture (Chan et al.: an interpolated y; scico's examples: A^T y).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from safari_bench.diffusion import Denoiser
from safari_bench.operators.contract import LinearOperator
from safari_bench.operators.solvers import prox
from safari_bench.ranges import Count, NonNegative, Positive
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["PnPADMM"]


@dataclass(frozen=True, kw_only=True)
class PnPADMM(Sampler):
    """Minimise ||y - A x||^2 / 2 + lambda g(x), a denoiser in place of g's proximal map.

    Args:
        steps: iterations, each with one prior call; chosen here. DPS, appendix: 12.
        sigma_max: first noise level of the denoiser, on [-1, 1]; chosen here.
        sigma_min: last one; levels between fall geometrically, as rho_k+1 = gamma rho_k makes them; chosen here.
        lam: lambda / sigma_y^2, with rho_k = lambda / sigma_k^2 (paper: sigma_k = sqrt(lambda / rho_k)); chosen here.
        rho: a fixed rho in place of that, or null. DPS, appendix: 0.2.
        clip: clip x0_hat to [-1, 1].
        sigma_floor: least sigma_y in lambda, so that noiseless data has rho_k > 0; the value of DiffPIR's code.
    Raises:
        ValueError: sigma_min > sigma_max.
    """

    steps: Count = 50
    sigma_max: Positive = 10.0
    sigma_min: Positive = 0.05
    lam: Positive = 1.0
    rho: Positive | None = None
    clip: bool = True
    sigma_floor: NonNegative = 0.002

    requires = LinearOperator

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sigma_min <= self.sigma_max:
            raise ValueError(f"sigma_min: got {self.sigma_min}, expected at most sigma_max, {self.sigma_max}")

    @torch.no_grad()
    def restore(self, problem: Problem[LinearOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, sigma_y = problem.y, problem.operator, problem.sigma_y
        schedule = denoiser.schedule
        times = [schedule.nearest(sigma) for sigma in np.geomspace(self.sigma_max, self.sigma_min, self.steps)]
        lam = self.lam * max(sigma_y, self.sigma_floor) ** 2
        z, u = operator.baseline(y), torch.zeros_like(operator.baseline(y))
        rho_k = 0.0
        for t, _ in progress(list(zip(times, [*times[1:], -1], strict=True))):
            rho_k = lam / schedule.sigma(t) ** 2 if self.rho is None else self.rho
            x = prox(operator, y, z - u, rho_k)
            z = denoiser.predict(math.sqrt(schedule.abar(t)) * (x + u), t, clip=self.clip).x0_hat
            u = u + x - z
        return prox(operator, y, z - u, rho_k)
