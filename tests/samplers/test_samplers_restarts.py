"""Restarts: which run is kept, whose noise a run has, what it costs, and what it refuses."""

import functools

import numpy as np
import pytest
import torch
from test_samplers_exact import PRIOR, SHAPE, setting

from safari_bench.diffusion import Counted, NotFinite
from safari_bench.operators import PhaseRetrieval, SVDOperator, Unsupported
from safari_bench.rng import Streams
from safari_bench.samplers import DPS, Problem, Restarts, Sampler


class Scripted(Sampler):
    """Returns its first draw, so that a run is known by its noise."""

    requires = SVDOperator

    def check(self, operator):
        if operator.gains.shape[0] > 1:
            raise Unsupported("scripted samplers refuse masks that differ between images")

    def facts(self):
        return {"scripted": True}

    def restore(self, problem, denoiser, progress):
        for t, _ in progress([(999, 0), (0, -1)]):
            denoiser.predict(torch.zeros(len(problem.y), *SHAPE), t)
        return problem.streams.normal("x_T", problem.operator.image_shape)


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

    kept = Restarts(sampler=Scripted(), n=5).restore(
        Problem(y=y, operator=operator, sigma_y=0.05, streams=new()), counted, progress
    )
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
    mean = Restarts(sampler=Scripted(), n=3, keep="mean").restore(
        Problem(y=y, operator=operator, sigma_y=0.05, streams=new(ids)), PRIOR, iter
    )
    names = [ids, *([f"{i}\x1frun {k}" for i in ids] for k in (1, 2))]
    draws = [new(name).normal("x_T", SHAPE).numpy() for name in names]
    np.testing.assert_allclose(mean.numpy(), (draws[0] + draws[1] + draws[2]) / 3, rtol=0, atol=1e-14)


def test_the_first_run_is_the_samplers_own():
    operator, _, y = setting("denoising", 0.05, 1)
    new = functools.partial(Streams, 0, "t", ["a"], dtype=torch.float64)
    alone = DPS(steps=5).restore(Problem(y=y, operator=operator, sigma_y=0.05, streams=new()), PRIOR, iter)
    assert torch.equal(
        Restarts(sampler=DPS(steps=5), n=1).restore(
            Problem(y=y, operator=operator, sigma_y=0.05, streams=new()), PRIOR, iter
        ),
        alone,
    )


class Diverging:
    """A prior that breaks the images named for a run, (run, place), in the middle of it."""

    schedule = PRIOR.schedule

    def __init__(self, broken, steps, value=torch.nan):
        self.broken, self.steps, self.value, self.calls = broken, steps, value, 0

    def predict(self, x_t, t, *, clip=False):
        run, step = divmod(self.calls, self.steps)
        self.calls += 1
        prediction = PRIOR.predict(x_t, t, clip=clip)
        for place in range(len(x_t)):
            if (run, place) in self.broken and step == 2:
                scale = torch.ones(len(x_t), 1, 1, 1)
                scale[place] = self.value
                prediction = prediction._replace(x0_hat=prediction.x0_hat * scale)
        return prediction


def restore_diverging(broken, keep="best", value=torch.nan):
    """(images, counts) of three runs of five steps on images a, b and c, as the runner has it done."""
    operator, _, y = setting("sr", 0.05, 3)
    streams = Streams(0, "t", ["a", "b", "c"], dtype=torch.float64)
    counted = Counted(Diverging(broken, 5, value))
    restarts = Restarts(sampler=DPS(steps=5), n=3, keep=keep)
    x_hat = restarts.restore(
        Problem(y=y.expand(3, *y.shape[1:]), operator=operator, sigma_y=0.05, streams=streams), counted, iter
    )
    return x_hat, (counted.nfe, counted.n_backward)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_run_that_diverges_is_not_kept_and_costs_the_other_images_nothing(value):
    """Each image gets the best of the runs in which it stayed finite; calls are counted as configured."""
    usual, counts = restore_diverging(set())
    kept, same = restore_diverging({(0, 0), (1, 0), (2, 1)}, value=value)
    assert counts == same == (15, 15)
    assert torch.equal(kept[2], usual[2])
    operator, _, y = setting("sr", 0.05, 3)
    runs = []
    for k in range(3):
        ids = ["a", "b", "c"] if k == 0 else [f"{i}\x1frun {k}" for i in "abc"]
        streams = Streams(0, "t", ids, dtype=torch.float64)
        runs.append(
            DPS(steps=5).restore(
                Problem(y=y.expand(3, *y.shape[1:]), operator=operator, sigma_y=0.05, streams=streams), PRIOR, iter
            )
        )
    misfits = torch.stack([(y - operator.A(run)).flatten(1).norm(dim=1) for run in runs])
    assert torch.equal(kept[0], runs[2][0])
    assert torch.equal(kept[1], runs[misfits[:2, 1].argmin()][1])


def test_an_image_that_no_run_restores_is_named():
    with pytest.raises(NotFinite, match="not finite at the end of every one of 3 runs") as error:
        restore_diverging({(k, 1) for k in range(3)} | {(0, 0)})
    assert error.value.images == [1]
    with pytest.raises(NotFinite, match="not finite at the end of one or more of 3 runs") as error:
        restore_diverging({(0, 0), (1, 2), (2, 2)}, keep="mean")
    assert error.value.images == [0, 2]


def test_an_answer_that_is_not_finite_is_not_kept_though_no_call_saw_it():
    """Lost in the last step, or by a sampler that hides its iterate from the prior."""

    class Failing(Scripted):
        def __init__(self, finite):
            self.finite, self.runs = finite, 0

        def restore(self, problem, denoiser, progress):
            self.runs += 1
            return torch.full_like(problem.y, 2.0 if self.runs in self.finite else torch.nan)

    operator, _, y = setting("denoising", 0.05, 1)
    streams = Streams(0, "t", ["a"])
    x_hat = Restarts(sampler=Failing({2}), n=3).restore(
        Problem(y=y, operator=operator, sigma_y=0.05, streams=streams), Counted(PRIOR), iter
    )
    assert torch.equal(x_hat, torch.full_like(y, 2.0))
    with pytest.raises(NotFinite):
        Restarts(sampler=Failing(()), n=3).restore(
            Problem(y=y, operator=operator, sigma_y=0.05, streams=streams), Counted(PRIOR), iter
        )


def test_restarts_refuse_what_their_sampler_refuses():
    streams = Streams(0, "t", ["a", "b"])
    restarts = Restarts(sampler=Scripted())
    with pytest.raises(Unsupported, match="Scripted needs a SVDOperator; PhaseRetrieval is not one"):
        restarts.admit(PhaseRetrieval(SHAPE, streams))
    with pytest.raises(Unsupported, match="masks that differ"):
        restarts.admit(setting("inpainting", 0.0, 2)[0])
    assert restarts.facts() == {"scripted": True}
    with pytest.raises(ValueError, match=r"n: got 0, expected a number in"):
        Restarts(sampler=Scripted(), n=0)
