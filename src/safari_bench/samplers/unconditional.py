"""Unconditional: the prior alone, which ignores the measurement.

The DDIM step of Song et al., ICLR 2021 (arXiv 2010.02502), eq. 12; eta = 1 is the ancestral step of Ho et al.,
NeurIPS 2020.
The first experiment to run with a new prior, and the floor of every table.
"""

from dataclasses import dataclass

import torch

from safari_bench.diffusion import Denoiser, Spacing
from safari_bench.operators.contract import Operator
from safari_bench.ranges import Count, Share
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["Unconditional"]


@dataclass(frozen=True, kw_only=True)
class Unconditional(Sampler):
    """Draw from the prior.

    Args:
        steps: prior calls.
        eta: 1 is DDPM with the fixed_small variance, 0 the deterministic DDIM.
        clip: clip x0_hat to [-1, 1] at every step.
        spacing: time grid, see `Schedule.pairs`.
    """

    steps: Count = 1000
    eta: Share = 1.0
    clip: bool = True
    spacing: Spacing = "uniform"

    @torch.no_grad()
    def restore(self, problem: Problem[Operator], denoiser: Denoiser, progress: Progress) -> Image:
        operator, streams = problem.operator, problem.streams
        schedule = denoiser.schedule
        x_t = streams.normal("x_T", operator.image_shape)
        for t, s in progress(schedule.pairs(self.steps, self.spacing)):
            x0_hat, eps_hat, _ = denoiser.predict(x_t, t, clip=self.clip)
            z = streams.normal("step", operator.image_shape)
            x_t = schedule.ddim_step(x0_hat, eps_hat, t, s, self.eta, z)
        return x_t
