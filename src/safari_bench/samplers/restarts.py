"""Restarts: any sampler, run several times; of each image either the run that explains its measurement best is kept, or
the mean of all runs.

The mean of samples of p(x | y) tends to the posterior mean, the estimate of least squared error: closer to the
truth on average and smoother than any sample (Blau, Michaeli, CVPR 2018, arXiv 1711.06077, on that trade).

Phase retrieval needs it: |F x| is the same for an image and for that image turned by 180 degrees, and many a run ends
in a mixture of the two, which explains y worse than either. Chung et al. (DPS, ICLR 2023) and Zhang et al. (DAPS, CVPR
2025) therefore report the best of four runs.

A run in which an image turns NaN or infinite is out of the choice for that image, and goes on for the others.

Deviations
- the official code of DAPS compares its runs with the ground truth; here the choice is by ||y - A x_hat|| alone, which
  cannot tell an image from its turned copy.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import torch

from safari_bench.diffusion import Denoiser, NotFinite, Schedule
from safari_bench.diffusion.denoiser import Contained
from safari_bench.operators.contract import Operator
from safari_bench.ranges import Count
from safari_bench.rng import Streams
from safari_bench.samplers.contract import Pairs, Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["Restarts"]


@dataclass(frozen=True, kw_only=True)
class Restarts(Sampler):
    """The best of n runs by data misfit, or their mean. Costs n times as many prior calls as the sampler.

    Args:
        sampler: what is run.
        n: runs; DPS and DAPS, phase retrieval: 4.
        keep: `best`, the run with the least ||y - A x_hat||, or `mean`, the mean of all runs.
    Raises:
        NotFinite: on restoring, for images of which no run stays finite, or not every run where the mean is kept.
    """

    sampler: Sampler
    n: Count = 4
    keep: Literal["best", "mean"] = "best"

    def check(self, operator: Operator) -> None:
        self.sampler.admit(operator)

    def fits(self, schedule: Schedule) -> None:
        self.sampler.fits(schedule)

    def facts(self) -> dict[str, bool]:
        return dict(self.sampler.facts())

    @torch.no_grad()
    def restore(self, problem: Problem[Operator], denoiser: Denoiser, progress: Progress) -> Image:
        y, A = problem.y, problem.operator.A
        progress = _one_bar(progress, self.n)
        runs, misfits = [], []
        for k in range(self.n):
            contained = Contained(denoiser, len(y))
            run = replace(problem, streams=_streams(problem.streams, k))
            x_hat = self.sampler.restore(run, contained, progress)
            misfit = (y - A(x_hat)).flatten(1).norm(dim=1)
            fine = ~contained.lost & x_hat.isfinite().flatten(1).all(1) & misfit.isfinite()
            runs.append(x_hat)
            misfits.append(torch.where(fine, misfit, torch.inf))
        failed = torch.stack(misfits).isinf()
        lost = failed.any(0) if self.keep == "mean" else failed.all(0)
        if lost.any():
            which = "one or more" if self.keep == "mean" else "every one"
            raise NotFinite(lost.nonzero().flatten().tolist(), f"the end of {which} of {self.n} runs")
        if self.keep == "mean":
            return torch.stack(runs).mean(0)
        best = torch.stack(misfits).argmin(0)
        return torch.stack(runs)[best, torch.arange(len(best), device=best.device)]


def _streams(streams: Streams, k: int) -> Streams:
    """Streams of run k that are independent of those of other runs; run 0 draws what the sampler alone would draw."""
    if k == 0:
        return streams
    ids = [f"{image_id}\x1frun {k}" for image_id in streams.ids]
    return Streams(streams.seed, streams.dataset, ids, streams.device, streams.dtype)


def _one_bar(progress: Progress, n: int) -> Progress:
    """Progress over all n runs together, each of which asks for its own."""
    bar: Iterator[tuple[int, int]] | None = None

    def wrap(pairs: Pairs) -> Pairs:
        nonlocal bar
        steps = list(pairs)
        bar = bar or iter(progress(steps * n))
        return islice(bar, len(steps))

    return wrap
