"""ILVR: iterative latent variable refinement (Choi et al., ICCV 2021, arXiv 2108.02938), Algorithm 1, and the same idea
for any linear operator: the projection of Score-SDE (Song et al., ICLR 2021, arXiv 2011.13456, appendix I).

Official code: jychoi118/ilvr_adm.

An unconditional step, then what the measurement says of x_s replaces the sampler's own: through a low-pass filter phi,
bicubic down-then-up by N, or through A^+. The "Score-SDE (ILVR)" rows of the tables of DPS.

Deviations
- ILVR's own task has a whole reference picture x_ref, of which it uses phi x_ref = U D x_ref alone, D and U the
  bicubic down and up. Here only y = D x_ref is known, so phi x_ref is U y: y is upsampled once, not filtered again;
- phi is this project's antialiased bicubic (a = -0.5, weights renormalised at the border); the official resizer
  mirrors the image at the border. phi is not idempotent in either;
- sigma_y is not used: the method takes y for noiseless, and A^+ hands its noise on, divided by the singular values.
  Where these are small, as in a blur, `damping` keeps it finite; with the default 0 it is A^+, as published.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from safari_bench.diffusion import Denoiser, Spacing, Variance
from safari_bench.operators.contract import LinearOperator, Operator, Unsupported
from safari_bench.operators.solvers import solve
from safari_bench.ranges import Count, NonNegative, Range
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["ILVR"]


@dataclass(frozen=True, kw_only=True)
class ILVR(Sampler):
    """An unconditional sampler whose iterate is corrected towards the noised measurement after every step.

    Args:
        steps: prior calls; Algorithm 1 takes every step of DDPM: 1000. README of the official code: 100.
        form: `super_resolution`, x_s += phi(reference - x_s); `projection`, x_s += A^+ (y_s - A x_s); `auto`, the first
            for operators that make the picture smaller by a whole factor, the second for all others.
        level: the noise of the reference is that of s, `next`, as in Algorithm 1; or of t, `current`, as in the
            official code, whose iterate is then corrected towards something noisier than itself.
        range_t: correct after the steps whose place on the time grid is above range_t, the last step having place 0,
            as in the official code. -1 is all of them, as in Algorithm 1; the official README's command has 20 of 100.
        damping: c of A^T (A A^T + c I)^-1, which stands for A^+ in `projection`; 0 is A^+. Not in the papers.
        clip: clip x0_hat to [-1, 1], as the official code does.
        variance: of the ancestral step. `auto` is learned_range where the prior predicts a variance and fixed_small
            where it does not.
        spacing: time grid, see `Schedule.pairs`.
    """

    steps: Count = 1000
    form: Literal["auto", "super_resolution", "projection"] = "auto"
    level: Literal["next", "current"] = "next"
    range_t: Annotated[int, Range(-1, 100_000)] = -1
    damping: NonNegative = 0.0
    clip: bool = True
    variance: Variance = "auto"
    spacing: Spacing = "uniform"

    requires = LinearOperator

    def check(self, operator: Operator) -> None:
        if self.form == "super_resolution" and not _downsamples(operator):
            raise Unsupported(
                f"form=super_resolution needs a picture made smaller by a whole factor; {type(operator).__name__} "
                "does not make one. Use sampler.form=auto or projection"
            )

    @torch.no_grad()
    def restore(self, problem: Problem[LinearOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, streams = problem.y, problem.operator, problem.streams
        schedule, shape = denoiser.schedule, operator.image_shape
        super_resolution = _downsamples(operator) if self.form == "auto" else self.form == "super_resolution"
        x_t = streams.normal("x_T", shape)
        places = reversed(range(self.steps))
        for place, (t, s) in zip(places, progress(schedule.pairs(self.steps, self.spacing)), strict=True):
            x0_hat, _, var_fraction = denoiser.predict(x_t, t, clip=self.clip)
            x_s = schedule.ddpm_step(x_t, x0_hat, t, s, streams.normal("step", shape), self.variance, var_fraction)
            if place > self.range_t:
                abar = schedule.abar(s if self.level == "next" else t)
                signal, noise = math.sqrt(abar), math.sqrt(1 - abar) * streams.normal("reference", shape)
                if super_resolution:
                    difference = signal * y + _resize(noise - x_s, y.shape[2:])  # D(reference - x_s), with y = D x_ref
                    x_s = x_s + _resize(difference, shape[1:])
                else:
                    r = signal * y + operator.A(noise - x_s)  # y_s - A x_s, with y_s = signal y + A noise
                    damped = operator.adjoint(solve(operator, r, self.damping)) if self.damping else operator.pinv(r)
                    x_s = x_s + damped
            x_t = x_s
        return x_t


def _downsamples(operator: Operator) -> bool:
    """Whether A makes a picture smaller by a whole factor and keeps constant images as they are."""
    if not operator.image_like:
        return False
    ones = torch.ones(operator.batch, *operator.image_shape, device=operator.device, dtype=operator.dtype)
    y = operator.A(ones)
    N = operator.image_shape[1] // y.shape[2]
    smaller = N > 1 and operator.image_shape == (y.shape[1], N * y.shape[2], N * y.shape[3])
    return smaller and bool(((y - 1).abs() < 1e-3).all())


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Antialiased bicubic interpolation to `size`, (h, w): that of `BicubicDownsample` and of its baseline."""
    return F.interpolate(x, size=size, mode="bicubic", antialias=True)
