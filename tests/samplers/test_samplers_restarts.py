"""Restarts: which run is kept, whose noise a run has, what it costs, and what it refuses."""

import functools

import numpy as np
import pytest
import torch
from test_samplers_exact import PRIOR, SHAPE, setting

from safari_bench.diffusion import Counted
from safari_bench.operators import PhaseRetrieval, SVDOperator, Unsupported
from safari_bench.rng import Streams
from safari_bench.samplers import DPS, Restarts


class Scripted:
    """Returns its first draw, so that a run is known by its noise."""

    requires = SVDOperator
    uses_prior = True

    def check(self, operator):
        if operator.gains.shape[0] > 1:
            raise Unsupported("scripted samplers refuse masks that differ between images")

    def facts(self):
        return {"scripted": True}

    def restore(self, y, operator, sigma_y, denoiser, streams, progress):
        for t, _ in progress([(999, 0), (0, -1)]):
            denoiser.predict(torch.zeros(len(y), *SHAPE), t)
        return streams.normal("x_T", operator.image_shape)


def test_restarts_keep_the_run_with_the_least_misfit_of_each_image():
    operator, _, y = setting("sr", 0.05, 3)
    y = y.expand(3, *y.shape[1:])
    ids = ["a", "b", "c"]
    new = functools.partial(Streams, 0, "t", ids, dtype=torch.float64)
    counted, seen = Counted(PRIOR), []

    def progress(pairs):
        pairs = list(pairs)
        seen.append(len(pairs))
        return iter(pairs)

    kept = Restarts(sampler=Scripted(), n=5).restore(y, operator, 0.05, counted, new(), progress)
    runs = [new().normal("x_T", SHAPE)]
    runs += [
        Streams(0, "t", [f"{i}\x1frun {k}" for i in ids], dtype=torch.float64).normal("x_T", SHAPE) for k in range(1, 5)
    ]
    misfits = torch.stack([(y - operator.A(run)).flatten(1).norm(dim=1) for run in runs])
    best = misfits.argmin(0)
    assert len(set(best.tolist())) > 1  # the images do not all choose the same run
    for i in range(3):
        assert torch.equal(kept[i], runs[best[i]][i])
    assert counted.nfe == 10
    assert seen == [10]  # one bar over all runs


def test_the_mean_of_runs_is_over_the_runs_of_each_image():
    operator, _, y = setting("sr", 0.05, 3)
    y, ids = y.expand(2, *y.shape[1:]), ["a", "b"]
    new = functools.partial(Streams, 0, "t", dtype=torch.float64)
    mean = Restarts(sampler=Scripted(), n=3, keep="mean").restore(y, operator, 0.05, PRIOR, new(ids), iter)
    names = [ids, *([f"{i}\x1frun {k}" for i in ids] for k in (1, 2))]
    draws = [new(name).normal("x_T", SHAPE).numpy() for name in names]
    np.testing.assert_allclose(mean.numpy(), (draws[0] + draws[1] + draws[2]) / 3, rtol=0, atol=1e-14)


def test_the_first_run_is_the_samplers_own():
    operator, _, y = setting("denoising", 0.05, 1)
    new = functools.partial(Streams, 0, "t", ["a"], dtype=torch.float64)
    alone = DPS(steps=5).restore(y, operator, 0.05, PRIOR, new(), iter)
    assert torch.equal(Restarts(sampler=DPS(steps=5), n=1).restore(y, operator, 0.05, PRIOR, new(), iter), alone)


def test_a_run_that_is_not_finite_is_not_kept_unless_all_are():
    class Failing(Scripted):
        def __init__(self, finite):
            self.finite, self.runs = finite, 0

        def restore(self, y, operator, sigma_y, denoiser, streams, progress):
            self.runs += 1
            return torch.full_like(y, 2.0 if self.runs in self.finite else torch.nan)

    operator, _, y = setting("denoising", 0.05, 1)
    for finite, expected in (({2}, 2.0), ((), torch.nan)):
        x_hat = Restarts(sampler=Failing(finite), n=3).restore(y, operator, 0.05, PRIOR, Streams(0, "t", ["a"]), iter)
        torch.testing.assert_close(x_hat, torch.full_like(y, expected), equal_nan=True)


def test_restarts_refuse_what_their_sampler_refuses():
    streams = Streams(0, "t", ["a", "b"])
    restarts = Restarts(sampler=Scripted())
    with pytest.raises(Unsupported, match="Scripted needs a SVDOperator; PhaseRetrieval is not one"):
        restarts.check(PhaseRetrieval(SHAPE, streams))
    with pytest.raises(Unsupported, match="masks that differ"):
        restarts.check(setting("inpainting", 0.0, 2)[0])
    assert restarts.facts() == {"scripted": True}
    with pytest.raises(ValueError, match="at least 1"):
        Restarts(sampler=Scripted(), n=0)
