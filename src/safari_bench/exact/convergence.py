"""At which order samplers tend to the exact posterior as a diffusion is refined: no draws, the moments are exact.

A sampler that is affine in its noise is run on unit vectors, one image of a batch per number of noise, which gives mean
and covariance of its output to rounding. T steps are taken of a diffusion of T levels, beta running linearly from 0.1/T
to 20/T: the same function of t/T for every T.

With the coefficient that its own derivation asks for ("score"), PiGDM should be exact in the limit for the white prior
N(0, I), and MMPS, its linear systems solved, for every Gaussian prior. The other two lines are what the claim excludes.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from safari_bench.diffusion import Schedule
from safari_bench.exact.gaussian_posterior import GaussianPosterior
from safari_bench.exact.trial import Trial, from_gaussian
from safari_bench.operators import AveragePool, Denoising, LinearOperator, RandomInpainting
from safari_bench.priors.gaussian import GaussianPrior, Spectrum
from safari_bench.rng import Streams
from safari_bench.samplers import MMPS, PiGDM, Problem

__all__ = ["CLAIMS", "Order", "orders", "output_moments"]

_SHAPE = (1, 2, 4)
_WHITE = Spectrum(mean=(0.0,), basis=((1.0,),), mean_variance=(1 / 8,), frequency=(0.1,), power=((1.0,),))
_COLOURED = Spectrum(mean=(0.2,), basis=((1.0,),), mean_variance=(0.3,), frequency=(0.1, 0.7), power=((3.0, 0.02),))
_OPERATORS: Mapping[str, Callable[[Sequence[int], Streams], LinearOperator]] = {
    "denoising": Denoising,
    "inpainting": partial(RandomInpainting, fraction=0.5),
    "sr_avgpool_x2": partial(AveragePool, factor=2),
}


#: the samplers of the claims
_Sampler = PiGDM | MMPS


class Claim(NamedTuple):
    """A sampler under a prior, and whether it should tend to the posterior."""

    sampler: Callable[[int], _Sampler]
    spectrum: Spectrum
    exact: bool


CLAIMS = {
    "PiGDM (score), white prior": Claim(lambda T: PiGDM(steps=T, coefficient="score"), _WHITE, True),
    "MMPS (solved), white prior": Claim(lambda T: MMPS(steps=T, iterations=100, rtol=1e-12), _WHITE, True),
    "MMPS (solved), coloured prior": Claim(lambda T: MMPS(steps=T, iterations=100, rtol=1e-12), _COLOURED, True),
    "PiGDM (score), coloured prior": Claim(lambda T: PiGDM(steps=T, coefficient="score"), _COLOURED, False),
    "PiGDM (paper), white prior": Claim(lambda T: PiGDM(steps=T, coefficient="paper"), _WHITE, False),
}


class Order(NamedTuple):
    """One refinement.

    Attributes:
        mean_error: norm of the difference of the means over sqrt(tr Cov[x | y]).
        cov_error: Frobenius norm of the difference of the covariances over that of Cov[x | y].
        order: log of the last step's gain in cov_error over that in steps; NaN for the first.
    """

    claim: str
    task: str
    steps: int
    mean_error: float
    cov_error: float
    order: float


class _Units(Streams):
    """Zeros for the first image; for each other image a 1 in one number of one draw."""

    def __init__(self, batch: int) -> None:
        super().__init__(0, "units", [str(i) for i in range(batch)], dtype=torch.float64)
        self.draws = 0

    def normal(self, purpose: str, shape: Sequence[int]) -> Tensor:
        n, z = math.prod(shape), torch.zeros(len(self), math.prod(shape), dtype=torch.float64)
        if len(self) > 1:
            z[1 + self.draws * n : 1 + (self.draws + 1) * n] = torch.eye(n, dtype=torch.float64)
        self.draws += 1
        return z.reshape(len(self), *shape)


def orders(steps: Iterable[int], sigma_y: float, seed: int) -> list[Order]:
    """Every claim on every task, on 2 x 4 pixels, for each number of steps in increasing order."""
    found = []
    for claim, (sampler, spectrum, _) in CLAIMS.items():
        for task, operator in _OPERATORS.items():
            before: Order | None = None
            for T in steps:
                prior = GaussianPrior(spectrum, Schedule(timesteps=T, beta_start=0.1 / T, beta_end=20 / T))
                trial = Trial(
                    prior=prior,
                    draw=from_gaussian(prior),
                    operator=operator,
                    shape=_SHAPE,
                    sigma_y=sigma_y,
                    seed=seed,
                    image="orders",
                )
                errors = _errors(trial, prior, sampler(T))
                gain = math.nan
                if before is not None:
                    gain = math.log(before.cov_error / errors[1]) / math.log(T / before.steps)
                before = Order(claim, task, T, *errors, gain)
                found.append(before)
    return found


def output_moments(trial: Trial, sampler: _Sampler) -> tuple[Tensor, Tensor]:
    """Mean (n,) and covariance (n, n) of an affine sampler's output on the trial's y, float64."""

    def run(streams: _Units) -> Tensor:
        y = trial.y.expand(len(streams), *trial.y.shape[1:]).contiguous()
        operator = trial.operators(len(streams), torch.float64)
        problem = Problem(y=y, operator=operator, sigma_y=trial.sigma_y, streams=streams)
        return sampler.restore(problem, trial.prior, iter).detach().flatten(1)

    counted = _Units(1)
    run(counted)
    x = run(_Units(1 + counted.draws * math.prod(trial.shape)))
    B = (x[1:] - x[0]).T
    return x[0], B @ B.T


def _errors(trial: Trial, prior: GaussianPrior, sampler: _Sampler) -> tuple[float, float]:
    posterior = GaussianPosterior(prior, trial.operators(1, torch.float64), trial.y, trial.sigma_y)
    mean, cov, exact = *output_moments(trial, sampler), posterior.covariance()[0]
    off = (mean - posterior.mean.flatten()).norm() / exact.trace().sqrt()
    return float(off), float((cov - exact).norm() / exact.norm())
