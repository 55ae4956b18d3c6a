"""MCG: manifold constrained gradients (Chung, Sim, Ryu, Ye, NeurIPS 2022, arXiv 2206.00941).

Official code: HJ-harry/MCG_diffusion.

A gradient step on ||A^+ (y - A x0_hat)||, then the projection of `ILVR`, which replaces what A sees of the iterate: of
the gradient only what A does not see is left.

Deviations
- the step is zeta times the gradient of the norm, as in the official code; the paper writes that of the squared norm
  (`step_rule: constant`);
- the norm is per image; the official code takes one over the batch. Where it is exactly zero its gradient is zero;
- one projection, A^+, for every operator; the official code has one per task, and a Kaczmarz step for tomography;
- sigma_y is not used: the method takes y for noiseless, and A^+ hands its noise on, divided by the singular values.
  Where these are small, as in a blur, `damping` keeps it finite; with the default 0 it is A^+, as published.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from safari_bench.diffusion import Denoiser, Spacing, Variance
from safari_bench.operators.contract import LinearOperator
from safari_bench.operators.solvers import solve
from safari_bench.ranges import Count, NonNegative
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image, Measurement

__all__ = ["MCG"]


@dataclass(frozen=True, kw_only=True)
class MCG(Sampler):
    """An ancestral step, a gradient step, and a projection onto the noised measurement.

    Args:
        steps: prior calls, each with one backward pass; run_inpainting.sh of the official code: 1000.
        zeta: step size (the paper's alpha); the official code: 1 for inpainting, 0.1 for colorization.
        step_rule: `normalised`, zeta * grad ||.||, as in the official code; `constant`, zeta * grad ||.||^2, as the
            paper writes it, whose update is affine under a Gaussian prior.
        level: the noise of the measurement that is projected onto is that of s, `next`, as in the paper; or of t,
            `current`, as in the official code, so that the result keeps noise of sd 0.01 (that of t = 0).
        damping: c of A^T (A A^T + c I)^-1, which stands for A^+ in both places; 0 is A^+. Not in the paper.
        guide_below: sigma_t above which there is no gradient step; None, as published: it is never left out. At few
            steps the first gradient steps overshoot the picture's mean, see docs/stability.md.
        clip: clip x0_hat to [-1, 1] before the gradient, as the official code does.
        variance: of the ancestral step. `auto` is learned_range where the prior predicts a variance, as the official
            checkpoints do, and fixed_small where it does not.
        spacing: time grid, see `Schedule.pairs`.
    """

    steps: Count = 1000
    zeta: NonNegative = 1.0
    step_rule: Literal["normalised", "constant"] = "normalised"
    level: Literal["next", "current"] = "next"
    damping: NonNegative = 0.0
    guide_below: NonNegative | None = None
    clip: bool = True
    variance: Variance = "auto"
    spacing: Spacing = "uniform"

    requires = LinearOperator

    @torch.enable_grad()
    def restore(self, problem: Problem[LinearOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, streams = problem.y, problem.operator, problem.streams
        schedule, shape = denoiser.schedule, operator.image_shape
        x_t = streams.normal("x_T", shape)
        for t, s in progress(schedule.pairs(self.steps, self.spacing)):
            guided = self.guide_below is None or schedule.sigma(t) <= self.guide_below
            x_t = x_t.detach().requires_grad_(guided)
            x0_hat, _, var_fraction = denoiser.predict(x_t, t, clip=self.clip)
            z = streams.normal("step", shape)
            x_s = schedule.ddpm_step(x_t.detach(), x0_hat.detach(), t, s, z, self.variance, var_fraction)
            if guided:
                L = self._back(operator, y - operator.A(x0_hat)).square().flatten(1).sum(1)  # (b,)
                (grad,) = torch.autograd.grad(L.sum(), x_t)
                x_s = x_s - self._step(L.detach())[:, None, None, None] * grad
            abar = schedule.abar(s if self.level == "next" else t)
            y_s = math.sqrt(abar) * y + math.sqrt(1 - abar) * operator.A(streams.normal("reference", shape))
            x_t = x_s + self._back(operator, y_s - operator.A(x_s))
        return x_t

    def _step(self, L: torch.Tensor) -> torch.Tensor:
        """The factor of grad L: zeta, or zeta / (2 sqrt(L)) because grad sqrt(L) = grad L / (2 sqrt(L))."""
        if self.step_rule == "constant":
            return torch.full_like(L, self.zeta)
        return torch.where(L > 0, self.zeta / (2 * L.sqrt()), 0.0)

    def _back(self, operator: LinearOperator, r: Measurement) -> Image:
        return operator.adjoint(solve(operator, r, self.damping)) if self.damping else operator.pinv(r)
