"""DPS: diffusion posterior sampling (Chung et al., ICLR 2023, arXiv 2209.14687), Algorithm 1.

Official code: DPS2022/diffusion-posterior-sampling.

Deviations
- the residual norm is per image; the official code takes one norm over the batch;
- measurements of inpainting carry no noise in the hole; in the official code they do, and it enters the norm;
- the step is zeta times the gradient of the norm, as in the official code; the paper writes the gradient of the squared
  norm with a step divided by the norm, which is the same direction and twice the length;
- where the residual is exactly zero the gradient of the norm does not exist; it is taken as zero.
"""

import warnings
from dataclasses import dataclass, field
from typing import Literal

import torch

from safari_bench.diffusion import Denoiser, Spacing, Variance
from safari_bench.fidelity import Fidelity, Perceptual
from safari_bench.operators.contract import Operator
from safari_bench.ranges import Count, NonNegative
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["DPS"]


@dataclass(frozen=True, kw_only=True)
class DPS(Sampler):
    """Guidance by the gradient of ||psi(y) - psi(A x0_hat)||, psi the identity unless a fidelity says otherwise.

    Args:
        steps: prior calls, each with one backward pass; paper, section 4: 1000.
        zeta: step size; paper, appendix D.1: 1.0 on FFHQ for every linear task. The authors' configs: 0.3.
        step_rule: `normalised`, zeta * grad ||r||, as published; `constant`, zeta * grad ||r||^2, whose update is
            affine under a Gaussian prior and so has an exact answer to test against.
        guide_below: sigma_t above which there is no gradient step; None, as published: it is never left out. At few
            steps the first gradient steps overshoot the picture's mean, see docs/stability.md.
        clip: clip x0_hat to [-1, 1] before the gradient is taken, as the official code does.
        variance: of the ancestral step. `auto` is learned_range where the prior predicts a variance, as the official
            checkpoints do, and fixed_small where it does not.
        spacing: time grid, see `Schedule.pairs`.
        fidelity: psi.
    """

    steps: Count = 1000
    zeta: NonNegative = 1.0
    step_rule: Literal["normalised", "constant"] = "normalised"
    guide_below: NonNegative | None = None
    clip: bool = True
    variance: Variance = "auto"
    spacing: Spacing = "uniform"
    fidelity: Fidelity = field(default_factory=lambda: Perceptual(pixel=1.0))

    def check(self, operator: Operator) -> None:
        self.fidelity.check(operator)
        if not self.fidelity.injective:
            warnings.warn(
                "psi is not injective with these guidance weights: parts of the measurement are ignored. Recorded as "
                "psi_injective in the rows",
                stacklevel=2,
            )

    def facts(self) -> dict[str, bool]:
        return {"psi_injective": self.fidelity.injective}

    @torch.enable_grad()
    def restore(self, problem: Problem[Operator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, streams = problem.y, problem.operator, problem.streams
        schedule = denoiser.schedule
        x_t = streams.normal("x_T", operator.image_shape)
        for t, s in progress(schedule.pairs(self.steps, self.spacing)):
            guided = self.guide_below is None or schedule.sigma(t) <= self.guide_below
            x_t = x_t.detach().requires_grad_(guided)
            x0_hat, _, var_fraction = denoiser.predict(x_t, t, clip=self.clip)
            z = streams.normal("step", operator.image_shape)
            x_s = schedule.ddpm_step(x_t.detach(), x0_hat.detach(), t, s, z, self.variance, var_fraction)
            if guided:
                L = self.fidelity(y - operator.A(x0_hat))  # (b,): no image sees another's residual
                (grad,) = torch.autograd.grad(L.sum(), x_t)
                x_s = x_s - self._step(L.detach())[:, None, None, None] * grad  # Algorithm 1, line 7
            x_t = x_s
        return x_t

    def _step(self, L: torch.Tensor) -> torch.Tensor:
        """The factor of grad L: zeta, or zeta / (2 sqrt(L)) because grad sqrt(L) = grad L / (2 sqrt(L))."""
        if self.step_rule == "constant":
            return torch.full_like(L, self.zeta)
        return torch.where(L > 0, self.zeta / (2 * L.sqrt()), 0.0)
