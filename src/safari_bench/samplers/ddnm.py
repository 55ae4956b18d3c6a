"""DDNM and DDNM+: the denoising diffusion null-space model (Wang et al., ICLR 2023, arXiv 2212.00490).

Official code: wyhuai/DDNM.

Without noise, DDNM (Algorithm 1): what A sees of x0_hat is replaced by A^+ y. With noise, DDNM+ in the basis V of
A = U S V^T (eq. 17 and 51): the correction and the fresh noise are weighed per singular value, so that what the
measurement's noise adds to x_s is part of the noise that x_s should have, not on top of it.

Deviations
- the step is the DDIM one of the authors' code; Algorithm 1 writes the ancestral one;
- DDNM+ does not tend to DDNM as sigma_y tends to 0: there its noise in the directions A sees is all fresh. Both are as
  published;
- noise is one image per step; for super-resolution the official code forgets V^T in front of it;
- the official code's second version of DDNM+, without an SVD, has abar_s in place of sqrt(abar_s): not followed;
- no time travel (section 3.3). All released configs but one set its length and repeats to 1, which is none; the config
  for old photographs sets both to 2.
"""

import math
from dataclasses import dataclass

import torch

from safari_bench.diffusion import Denoiser, Spacing
from safari_bench.operators.contract import SVDOperator
from safari_bench.ranges import Count, Share
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["DDNM"]


@dataclass(frozen=True, kw_only=True)
class DDNM(Sampler):
    """The prior fills in what A does not see: DDNM where sigma_y = 0, DDNM+ where it is not.

    Args:
        steps: prior calls; paper, section 4: 100.
        eta: share of fresh noise in the DDIM step; paper, section 4, and the authors' code: 0.85.
        clip: clip x0_hat to [-1, 1]; neither the paper nor the official code does.
        spacing: time grid, see `Schedule.pairs`. The official code's is `leading`; the paper leaves it open.
    """

    steps: Count = 100
    eta: Share = 0.85
    clip: bool = False
    spacing: Spacing = "uniform"

    requires = SVDOperator

    @torch.no_grad()
    def restore(self, problem: Problem[SVDOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, sigma_y, streams = problem.y, problem.operator, problem.sigma_y, problem.streams
        schedule, V, Vt, s_i = denoiser.schedule, operator.V, operator.Vt, operator.singular_values
        seen = s_i > 0
        ybar = torch.where(seen, operator.Ut(y) / torch.where(seen, s_i, 1), 0)
        sd = torch.where(seen, sigma_y / torch.where(seen, s_i, 1), 0)  # of the noise in ybar
        kept = math.sqrt(1 - self.eta**2)

        x_t = streams.normal("x_T", operator.image_shape)
        for t, s in progress(schedule.pairs(self.steps, self.spacing)):
            x0_hat, eps_hat, _ = denoiser.predict(x_t, t, clip=self.clip)
            z = streams.normal("step", operator.image_shape)
            a, sigma_t = math.sqrt(schedule.abar(s)), math.sqrt(1 - schedule.abar(s))
            ddim_noise = sigma_t * (self.eta * z + kept * eps_hat)
            if sigma_y == 0:
                x_t = a * (x0_hat + operator.pinv(y - operator.A(x0_hat))) + ddim_noise
                continue

            xbar_0, threshold = Vt(x0_hat), a * sd
            clean = sigma_t >= threshold
            lam = torch.where(clean, 1, kept * sigma_t / threshold)  # Sigma, eq. 17
            fresh = torch.where(clean, (sigma_t**2 - threshold**2).clamp(min=0).sqrt(), self.eta * sigma_t)  # Phi^1/2
            noise = torch.where(seen, fresh * Vt(z), Vt(ddim_noise))  # eq. 51
            x_t = V(a * (xbar_0 + torch.where(seen, lam * (ybar - xbar_0), 0)) + noise)
        return x_t
