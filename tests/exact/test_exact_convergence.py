"""Orders of convergence to the posterior, from exact moments of a sampler's output."""

import torch

from safari_bench import operators as ops
from safari_bench.diffusion import Schedule
from safari_bench.exact.convergence import CLAIMS, orders, output_moments
from safari_bench.exact.trial import Trial, from_gaussian
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.rng import Streams
from safari_bench.samplers import MMPS, Problem


def test_orders_are_those_of_exact_moments():
    """A first order where a sampler is said to converge; what is not said to converge does not."""
    found = orders([25, 50], 0.5, 0)
    last = {(o.claim, o.task): o for o in found if o.steps == 50}
    for (claim, _), order in last.items():
        if CLAIMS[claim].exact:
            assert 0.6 < order.order < 1.1
            assert order.mean_error < 1e-4
        else:
            assert order.mean_error > 0.05


def test_output_moments_are_those_of_draws():
    """4000 draws, fixed seed; a wrong matrix would be far outside five standard errors (false alarm 1 in 10^4)."""
    spectrum, count = CLAIMS["MMPS (solved), coloured prior"].spectrum, 4000
    prior = GaussianPrior(spectrum, Schedule(timesteps=25, beta_start=0.004, beta_end=0.8))
    trial = Trial(
        prior=prior,
        draw=from_gaussian(prior),
        operator=ops.Denoising,
        shape=(1, 2, 4),
        sigma_y=0.5,
        seed=0,
        image="a",
    )
    sampler = MMPS(steps=25, iterations=100, rtol=1e-12)
    mean, covariance = output_moments(trial, sampler)
    y, streams = (
        trial.y.expand(count, 1, 2, 4),
        Streams(0, "draws", [str(i) for i in range(count)], dtype=torch.float64),
    )
    x = (
        sampler.restore(
            Problem(y=y, operator=trial.operators(count, torch.float64), sigma_y=0.5, streams=streams), prior, iter
        )
        .detach()
        .flatten(1)
    )
    assert ((x.mean(0) - mean).abs() < 5 * (covariance.diagonal() / count).sqrt()).all()
    error = ((covariance.square() + covariance.diagonal().outer(covariance.diagonal())) / count).sqrt()
    assert ((torch.cov(x.T) - covariance).abs() < 5 * error).all()
