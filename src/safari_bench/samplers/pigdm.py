"""PiGDM: pseudoinverse-guided diffusion models (Song, Vahdat, Mardani, Kautz, ICLR 2023, OpenReview 9_gsMA8MRKQ),
Algorithm 1.

Official code: none of the paper's own; two of its authors' copy is algos/pgdm.py of NVlabs/RED-diff, and
probabilists/azula has the same coefficient. `coefficient=author_code` is theirs.

p(x_0 | x_t) is taken for N(x0_hat, r_t^2 I), so that the gradient of log p(y | x_t) is one vector-Jacobian product. It
is that exactly for the prior N(0, I); there, with the coefficient that Tweedie's formula gives, the samples tend to the
posterior as steps grow.

Deviations
- `author_code` is RED-diff's copy on super-resolution, blur and its inpainting `inp`, not on its inpainting `in2_*`.
  For `in2_*` that copy also replaces x0_hat by y where y is observed, and sets the gradient to zero there;
- A is linear: the pseudo-inverses of non-linear measurements (JPEG) that the paper also has are left out;
- the start's A^+ is damped by sigma_y^2, which is the posterior mean under N(0, I): of a blurred and noisy y, A^+ makes
  an image thousands of times too bright. It is A^+ itself without noise, and with `author_code`;
- where the operator has no SVD, A A^T + c I is inverted by conjugate gradients, and for c = 0 (sigma_y = 0, or
  `author_code`) by the operator's own A^+ and its transpose. On a reflected blur of 16 px ten steps then end within
  8e-7 of the SVD's with sigma_y = 0.05. Without noise it is 5e-12 in float64 but 2e-3 in float32, whose digits an
  ill-conditioned A^+ uses up.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from safari_bench.diffusion import Denoiser, Schedule, Spacing
from safari_bench.operators.contract import LinearOperator
from safari_bench.operators.solvers import solve
from safari_bench.ranges import Count, Share
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["PiGDM"]


@dataclass(frozen=True, kw_only=True)
class PiGDM(Sampler):
    """DDIM steps, each moved along the gradient of log N(y; A x0_hat, r_t^2 A A^T + sigma_y^2 I).

    Args:
        steps: prior calls, each with one backward pass; paper: 100.
        eta: share of fresh noise in the DDIM step; paper: 1. RED-diff's _configs/algo/pgdm.yaml: 0.
        coefficient: k of x_s = DDIM + k g. `paper`, sqrt(abar_t) r_t^2 (Algorithm 1); `author_code`,
            sqrt(abar_s abar_t) r_t^2, which also takes sigma_y for 0 in g (RED-diff, azula); `scaled`, the same with
            sigma_y in g, which stays stable where few steps start at high noise; `score`, what replacing the prior's
            score by the posterior's does to a DDIM step. The last two are no published settings.
        spacing: time grid, see `Schedule.pairs`.
    """

    steps: Count = 100
    eta: Share = 1.0
    coefficient: Literal["paper", "author_code", "scaled", "score"] = "paper"
    spacing: Spacing = "uniform"

    requires = LinearOperator

    @torch.enable_grad()
    def restore(self, problem: Problem[LinearOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, sigma_y, streams = problem.y, problem.operator, problem.sigma_y, problem.streams
        schedule, shape = denoiser.schedule, operator.image_shape
        variance_y = 0.0 if self.coefficient == "author_code" else sigma_y**2
        pairs = schedule.pairs(self.steps, self.spacing)
        start = operator.adjoint(solve(operator, y, variance_y)) if variance_y else operator.pinv(y)
        x_t = schedule.add_noise(start, pairs[0][0], streams.normal("x_T", shape))
        for t, s in progress(pairs):
            x_t = x_t.detach().requires_grad_()
            x0_hat, eps_hat, _ = denoiser.predict(x_t, t)
            r2 = 1 - schedule.abar(t)  # r_t^2 = sigma_t^2 / (1 + sigma_t^2)
            u = solve(operator, y - operator.A(x0_hat.detach()), variance_y / r2) / r2
            (g,) = torch.autograd.grad(x0_hat, x_t, operator.adjoint(u))
            z = streams.normal("step", shape)
            x_s = schedule.ddim_step(x0_hat.detach(), eps_hat.detach(), t, s, self.eta, z)
            x_t = x_s + self._k(schedule, t, s) * g
        return x_t

    def _k(self, schedule: Schedule, t: int, s: int) -> float:
        abar_t, abar_s = schedule.abar(t), schedule.abar(s)
        if self.coefficient == "score":
            # x0_hat grows by (1 - abar_t) / sqrt(abar_t) g and eps_hat falls by sqrt(1 - abar_t) g
            c2 = schedule.ddim_coefficients(t, s, self.eta)[1]
            return math.sqrt(abar_s / abar_t) * (1 - abar_t) - c2 * math.sqrt(1 - abar_t)
        return math.sqrt(abar_t) * (1 - abar_t) * (1.0 if self.coefficient == "paper" else math.sqrt(abar_s))
