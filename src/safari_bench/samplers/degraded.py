"""Degraded: the measurement itself as a picture (bicubic upsampling, pseudo-inverse or y), so that a reader sees what a
method added. No prior is called."""

from dataclasses import dataclass

from safari_bench.diffusion import Denoiser
from safari_bench.operators.contract import Operator
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["Degraded"]


@dataclass(frozen=True, kw_only=True)
class Degraded(Sampler):
    """The operator's baseline picture of y."""

    uses_prior = False

    def restore(self, problem: Problem[Operator], denoiser: Denoiser, progress: Progress) -> Image:
        return problem.operator.baseline(problem.y)
