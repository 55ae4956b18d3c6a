"""DDRM: denoising diffusion restoration models (Kawar et al., NeurIPS 2022, arXiv 2201.11793), section 3.2.

Official code: bahjat-kawar/ddrm.

Everything happens in the basis V of A = U S V^T: xbar = V^T x_t / sqrt(abar_t), ybar = S^-1 U^T y, whose noise has the
standard deviation sigma_y / s_i.

Deviations
- noise is drawn as an image and transformed by V^T; the official code draws it in the basis, once per rule. The law is
  the same, and a complex basis, whose coefficients come in conjugate pairs, needs no rule of its own;
- directions with sigma_T < sigma_y / s_i, which the paper excludes by assumption, start as those with s_i = 0 do, as in
  the official code;
- the official blurs set singular values of their one-dimensional factors under 0.03 to zero; where that happens and
  sigma_y > 0, the code takes U^T y / sigma_y, which is noise alone, for eps. Here the operator is the one that made y,
  only what carries no digits counts as zero (`SVDOperator.singular_values`), and eps is the prior's.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from safari_bench.diffusion import Denoiser, Spacing
from safari_bench.operators.contract import SVDOperator
from safari_bench.ranges import Count, Share
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["DDRM"]


@dataclass(frozen=True, kw_only=True)
class DDRM(Sampler):
    """Diffusion in the singular basis, where every direction is denoised by the prior or read off the measurement.

    Args:
        steps: prior calls; paper, section 5: 20.
        eta: share of fresh noise where the prior or a noisy measurement leads; paper, section 5: 0.85.
        eta_b: weight of the measurement where it is less noisy than the iterate, 0 to 1; paper, section 5: 1.
        at_equality: what leads where sigma_s = sigma_y / s_i, which is the last step of every direction if sigma_y = 0.
            `measurement`: the paper's inequality, so that A x_hat = y without noise. `prior`: both inequalities of the
            official code are strict, and the rule for s_i = 0 is what is left.
        start: x_T = sqrt(abar_T) xbar_T, `sqrt_abar`, as the paper's change of variables says; or xbar_T / sigma_T,
            `inverse_sigma`, as in the official code.
        clip: clip x0_hat to [-1, 1]; neither the paper nor the official code does.
        spacing: time grid, see `Schedule.pairs`. The official code's is `leading`; the paper leaves it open.
    """

    steps: Count = 20
    eta: Share = 0.85
    eta_b: Share = 1.0
    at_equality: Literal["measurement", "prior"] = "measurement"
    start: Literal["sqrt_abar", "inverse_sigma"] = "sqrt_abar"
    clip: bool = False
    spacing: Spacing = "uniform"

    requires = SVDOperator

    @torch.no_grad()
    def restore(self, problem: Problem[SVDOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, sigma_y, streams = problem.y, problem.operator, problem.sigma_y, problem.streams
        schedule, V, Vt, s_i = denoiser.schedule, operator.V, operator.Vt, operator.singular_values
        pairs = schedule.pairs(self.steps, self.spacing)
        seen = s_i > 0
        ybar = torch.where(seen, operator.Ut(y) / torch.where(seen, s_i, 1), 0)
        sd = torch.where(seen, sigma_y / torch.where(seen, s_i, 1), 0)  # of the noise in ybar

        T = pairs[0][0]
        sigma_T = schedule.sigma(T)
        z = Vt(streams.normal("x_T", operator.image_shape))
        xbar_T = torch.where(sd <= sigma_T, ybar + (sigma_T**2 - sd**2).clamp(min=0).sqrt() * z, sigma_T * z)
        x_t = V(xbar_T) * (math.sqrt(schedule.abar(T)) if self.start == "sqrt_abar" else 1 / sigma_T)

        kept = math.sqrt(1 - self.eta**2)
        for t, s in progress(pairs):
            x0_hat, eps_hat, _ = denoiser.predict(x_t, t, clip=self.clip)
            xbar_0, eps, z = Vt(x0_hat), Vt(eps_hat), Vt(streams.normal("step", operator.image_shape))
            sigma_s = schedule.sigma(s)

            unseen = xbar_0 + kept * sigma_s * eps + self.eta * sigma_s * z
            noisier = xbar_0 + kept * sigma_s * (ybar - xbar_0) / sd + self.eta * sigma_s * z
            fresh = (sigma_s**2 - (self.eta_b * sd) ** 2).clamp(min=0).sqrt()
            cleaner = (1 - self.eta_b) * xbar_0 + self.eta_b * ybar + fresh * z

            prior_leads = ~seen if self.at_equality == "measurement" else ~seen | (sd == sigma_s)
            xbar_s = torch.where(prior_leads, unseen, torch.where(sigma_s < sd, noisier, cleaner))
            x_t = math.sqrt(schedule.abar(s)) * V(xbar_s)
        return x_t
