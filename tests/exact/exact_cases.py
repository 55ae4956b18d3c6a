"""What the tests of the exact study share: a Gaussian prior on 8 x 16 px, operators, exact draws."""

import functools
import math

import torch

from safari_bench import operators as ops
from safari_bench.exact import GaussianPosterior
from safari_bench.exact.gaussian_scores import GaussianTruth
from safari_bench.exact.mirrored import Mirrored
from safari_bench.exact.trial import Trial, from_gaussian
from safari_bench.priors.gaussian import load as load_gaussian
from safari_bench.rng import Streams

FALSE_ALARM = 1e-3
SIGMA_Y = 0.05
SHAPE = (3, 8, 16)
N = math.prod(SHAPE)
PRIOR = load_gaussian()
OPERATORS = {
    "denoising": ops.Denoising,
    "circular": functools.partial(ops.GaussianBlur, taps=5, std=1.0, boundary="circular"),
    "avgpool": functools.partial(ops.AveragePool, factor=4),
    "random": functools.partial(ops.RandomInpainting, fraction=0.6),
}
DIAGONAL = ("denoising", "circular")


def gaussian_trial(task: str, image: str = "a", shape=SHAPE, sigma_y: float = SIGMA_Y) -> Trial:
    return Trial(
        prior=PRIOR,
        draw=from_gaussian(PRIOR),
        operator=OPERATORS[task],
        shape=shape,
        sigma_y=sigma_y,
        seed=0,
        image=image,
    )


@functools.cache
def truth(task: str) -> GaussianTruth:
    return GaussianTruth(gaussian_trial(task))


def batches(task: str, samples: int, repeats: int, *, mirrored: bool) -> list[torch.Tensor]:
    """Batches of exact draws, each with noise of its own."""
    trial, kind, n = truth(task).trial, Mirrored if mirrored else Streams, samples * repeats
    y, operator = trial.y.expand(n, *trial.y.shape[1:]).contiguous(), trial.operators(n, torch.float64)
    streams = kind(1, "draws", [str(i) for i in range(n)], dtype=torch.float64)
    first, second = GaussianPosterior(PRIOR, operator, y, SIGMA_Y).sample(streams).chunk(2)
    return [torch.cat(pair) for pair in zip(first.chunk(repeats), second.chunk(repeats), strict=True)]
