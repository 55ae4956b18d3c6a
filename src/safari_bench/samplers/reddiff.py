"""RED-diff: regularisation by denoising diffusion (Mardani et al., ICLR 2024, arXiv 2305.04391), Algorithm 1.

Official code: NVlabs/RED-diff.

A mode is sought rather than a sample drawn: the noise only decides which score each Adam step sees.

Deviations
- the losses are means over one image's measurements and over its pixels, as in the official code (the paper writes
  sums, whose balance differs by n / m). m counts only the observed entries of y, as in the code's inpainting `inp`. Its
  inpainting `in2_*` counts the holes too, which weighs the prior n / m times as much: lam n / m here;
- each image has its own loss, so that Adam, which works entry by entry, never sees another image;
- the official code returns the mu from before its last Adam step; with last_step = false so does this, without making
  the prior call that nothing depends on (steps - 1 calls);
- where A has no SVD, mu starts at y's picture (hdr: y / scale), or at noise if y has none (phase retrieval).
"""

from dataclasses import dataclass

import torch

from safari_bench.diffusion import Denoiser, Spacing
from safari_bench.operators.contract import Operator, SVDOperator, Unsupported
from safari_bench.ranges import Count, Fraction, NonNegative, Positive
from safari_bench.rng import Streams
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image, Measurement

__all__ = ["REDDiff"]


@dataclass(frozen=True, kw_only=True)
class REDDiff(Sampler):
    """Minimise ||y - A mu||^2 / 2m + w_t <eps_hat(x_t) - eps, mu> / n over mu by Adam, t descending.

    Args:
        steps: Adam steps, each with one prior call and no backward pass through the prior; paper, experiments: 1000.
        lam: lambda of w_t = lambda sigma_t; paper and official config: 0.25.
        lr: Adam's step size; official config: 0.1 (its scripts: 0.25, 0.5).
        rank_tolerance: mu starts at the pseudo-inverse of y, without singular values up to this; official code: 3e-2.
        last_step: whether the last Adam step counts; official code: it does not.
        spacing: time grid, see `Schedule.pairs`; official code: leading. All grids agree at 1000 steps.
    """

    steps: Count = 1000
    lam: NonNegative = 0.25
    lr: Positive = 0.1
    rank_tolerance: Fraction = 3e-2
    last_step: bool = True
    spacing: Spacing = "uniform"

    @torch.enable_grad()
    def restore(self, problem: Problem[Operator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, streams = problem.y, problem.operator, problem.streams
        schedule = denoiser.schedule
        m = operator.observed_count(y)
        mu = self._start(y, operator, streams).detach().clone().requires_grad_()
        adam = torch.optim.Adam([mu], lr=self.lr, betas=(0.9, 0.99))  # official code
        pairs = schedule.pairs(self.steps, self.spacing)
        for t, _ in progress(pairs if self.last_step else pairs[:-1]):
            eps = streams.normal("step", operator.image_shape)
            with torch.no_grad():  # the stop-gradient of Algorithm 1
                score = denoiser.predict(schedule.add_noise(mu, t, eps), t).eps_hat - eps
            w_t = self.lam * schedule.sigma(t)
            data = (y - operator.A(mu)).square().flatten(1).sum(1) / (2 * m)
            prior = (score * mu).flatten(1).mean(1)
            (mu.grad,) = torch.autograd.grad((data + w_t * prior).sum(), mu)
            adam.step()
        return mu.detach()

    def _start(self, y: Measurement, operator: Operator, streams: Streams) -> Image:
        if isinstance(operator, SVDOperator):
            s = operator.gains
            kept = s > self.rank_tolerance
            return operator.V(torch.where(kept, operator.Ut(y) / torch.where(kept, s, 1), 0))
        try:
            return operator.baseline(y)
        except Unsupported:
            return streams.normal("x_T", operator.image_shape)
