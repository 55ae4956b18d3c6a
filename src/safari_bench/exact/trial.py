"""One measurement of an image drawn from the prior, and samplers run on it many times over."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from safari_bench.diffusion import Counted, Denoiser, check_finite
from safari_bench.exact.mirrored import Mirrored
from safari_bench.operators import LinearOperator
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.priors.mixture import MixturePrior
from safari_bench.rng import Streams
from safari_bench.samplers import Problem, Sampler
from safari_bench.samplers.contract import Progress
from safari_bench.shapes import Image, Measurement

__all__ = ["Draw", "Run", "Trial", "from_gaussian", "from_mixture"]

#: (streams of one image, its shape) -> x, exactly from a prior
Draw = Callable[[Streams, Sequence[int]], Image]

_DATASET = "exact study"


class Run(NamedTuple):
    """What a sampler gave, and at which cost."""

    x_hat: Image  # (samples, c, h, w), float64
    nfe: int
    n_backward: int
    seconds: float  # of processor time per image: what else the machine does does not count; NaN but on a CPU


@dataclass(frozen=True, kw_only=True)
class Trial:
    """x from the prior, y = A x + n, n white.

    Args:
        prior: the denoiser that samplers are given.
        draw: x from that prior.
        operator: makes A, from an image shape and streams.
        shape: (c, h, w).
        sigma_y: standard deviation of n on the [-1, 1] scale.
        seed: of everything random.
        image: which x, n and geometry of A: another name, another draw.
        device: where samplers run. What is exact is computed on the CPU, in float64.
    """

    prior: Denoiser
    draw: Draw
    operator: Callable[[Sequence[int], Streams], LinearOperator]
    shape: tuple[int, int, int]
    sigma_y: float
    seed: int
    image: str
    device: str = "cpu"

    def streams(self, name: str) -> Streams:
        """Streams of one image in float64, apart from those that make x, y and A and from other names."""
        return Streams(self.seed, _DATASET, [f"{self.image} {name}"], dtype=torch.float64)

    def operators(self, copies: int, dtype: torch.dtype) -> LinearOperator:
        """A for a batch of copies of the image: the same mask or kernel for all."""
        return self.operator(self.shape, Streams(self.seed, _DATASET, [self.image] * copies, dtype=dtype))

    @cached_property
    def x(self) -> Image:
        """The image, (1, c, h, w), float64: for what is not shown to samplers."""
        return self.draw(Streams(self.seed, _DATASET, [self.image], dtype=torch.float64), self.shape)

    @cached_property
    def y(self) -> Measurement:
        """The measurement, (1, *m), float64, 0 where nothing is observed."""
        streams = Streams(self.seed, _DATASET, [self.image], dtype=torch.float64)
        operator = self.operator(self.shape, streams)
        clean = operator.A(self.x)
        noise = self.sigma_y * streams.normal("measurement", clean.shape[1:])
        return clean + (noise if operator.observed is None else noise * operator.observed)

    def restore(self, sampler: Sampler, samples: int, progress: Progress, *, mirrored: bool) -> Run:
        """Run a sampler on y, in float32 as it would be used.

        Args:
            samples: how many times, as one batch with streams of their own.
            mirrored: whether the second half of the batch has the noise of the first with the other sign.
        Raises:
            Unsupported: the sampler cannot work with this operator.
            NotFinite: its iterate is no longer finite.
            ValueError: mirrored, and the number of samples is odd.
        """
        ids = [self.image] * samples
        operator = self.operator(self.shape, Streams(self.seed, _DATASET, ids, self.device))
        sampler.admit(operator)
        kind = Mirrored if mirrored else Streams
        streams = kind(self.seed, _DATASET, [f"{self.image} draw {i}" for i in range(samples)], self.device)
        y = self.y.float().to(self.device).expand(samples, *self.y.shape[1:]).contiguous()
        denoiser, start = Counted(self.prior), time.process_time()
        problem = Problem(y=y, operator=operator, sigma_y=self.sigma_y, streams=streams)
        x_hat = sampler.restore(problem, denoiser, progress)
        seconds = (time.process_time() - start) / samples if self.device == "cpu" else math.nan
        check_finite(x_hat, "the end")
        return Run(x_hat.double().cpu(), denoiser.nfe, denoiser.n_backward, seconds)


def from_gaussian(prior: GaussianPrior) -> Draw:
    """x from the Gaussian prior."""
    return lambda streams, shape: prior.sample(streams.normal("truth", shape))


def from_mixture(prior: MixturePrior) -> Draw:
    """x from the mixture."""

    def draw(streams: Streams, shape: Sequence[int]) -> Image:
        u, a = streams.uniform("truth component", ()), streams.normal("truth factors", (prior.mixture.rank,))
        return prior.sample(u, a, streams.normal("truth", shape))

    return draw
