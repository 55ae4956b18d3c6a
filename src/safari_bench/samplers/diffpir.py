"""DiffPIR: diffusion plug-and-play image restoration (Zhu et al., CVPR Workshops 2023, arXiv 2305.08995), Algorithm 1.

Official code: yuanzhi-zhu/DiffPIR.

Deviations
- rho_t = lambda sigma_y^2 / sigma_t^2 has both noise levels on [-1, 1]; the official code puts the [0, 1] number of
  sigma_y beside the [-1, 1] number of sigma_t, so its lambda is four times the one here (7 there is 1.75 here);
- the official code's step count includes a call of the prior at t = 0 whose answer it does not use: it returns x_t with
  the noise that is left at t = 0 (sd 0.01) and takes no data step there. With last_step = false so does this, without
  making that call (steps - 1 calls); otherwise the loop of the paper is finished with the step to s = -1;
- the data step is exact for the operator of the task; the official code's super-resolution takes a circular blur and a
  decimation in its place;
- where the operator has no SVD, the data step is solved by conjugate gradients to 1e-6: on a reflected blur ten steps
  end within 2e-6 of the SVD's in float64 (16 and 64 px), and 3e-5 (16 px) or 1.0e-4 (64 px) in float32, where the first
  steps' rho_t is too small to be exact and a warning says so. It begins at 1.8e-7 with sigma_y = 0.05, and such a step
  takes 16506 iterations at 64 px;
- with start = measurement, super-resolution starts at this suite's bicubic upsampling of y (a = -0.5, antialiased); the
  official code starts at OpenCV's (a = -0.75);
- the official code's uniform grid is not one of `Schedule.pairs`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from safari_bench.diffusion import Denoiser, Schedule, Spacing
from safari_bench.operators.contract import LinearOperator
from safari_bench.operators.solvers import prox
from safari_bench.ranges import Count, NonNegative, Positive, Share
from safari_bench.rng import Streams
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image, Measurement

__all__ = ["DiffPIR"]


@dataclass(frozen=True, kw_only=True)
class DiffPIR(Sampler):
    """Half-quadratic splitting inside the diffusion: denoise, fit the data, add noise.

    Args:
        steps: prior calls; paper, tables: 100 NFE.
        lam: lambda, weight of x0_hat against the data; official code, deblurring: 7, which is 1.75 here.
        zeta: share of fresh noise in what is added; official code, deblurring: 0.3.
        spacing: time grid, see `Schedule.pairs`; official code: quadratic.
        clip: clip x0_hat to [-1, 1] before the data step, as the official code does.
        sigma_floor: least sigma_y in rho_t, so that noiseless data has rho_t > 0; official code: 0.001 on [0, 1].
        start: `noise`, x_T ~ N(0, I); `measurement`, the picture of y (holes -1) noised to x_T, as the official code
            does; for pictures of y's own size the noise that y has already is counted.
        last_step: whether to take the step to s = -1; official code: no.
    """

    steps: Count = 100
    lam: Positive = 1.75
    zeta: Share = 0.3
    spacing: Spacing = "quadratic"
    clip: bool = True
    sigma_floor: NonNegative = 0.002
    start: Literal["noise", "measurement"] = "noise"
    last_step: bool = True

    requires = LinearOperator

    @torch.no_grad()
    def restore(self, problem: Problem[LinearOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator, sigma_y, streams = problem.y, problem.operator, problem.sigma_y, problem.streams
        schedule = denoiser.schedule
        pairs = schedule.pairs(self.steps, self.spacing)
        x_t = self._start(y, operator, sigma_y, schedule, pairs[0][0], streams)
        for t, s in progress(pairs if self.last_step else pairs[:-1]):
            abar_t, abar_s = schedule.abar(t), schedule.abar(s)
            rho_t = self.lam * max(sigma_y, self.sigma_floor) ** 2 / schedule.sigma(t) ** 2
            x0 = prox(operator, y, denoiser.predict(x_t, t, clip=self.clip).x0_hat, rho_t)  # Algorithm 1
            eps_hat = (x_t - math.sqrt(abar_t) * x0) / math.sqrt(1 - abar_t)
            noise = math.sqrt(1 - self.zeta) * eps_hat + math.sqrt(self.zeta) * streams.normal("step", x0.shape[1:])
            x_t = math.sqrt(abar_s) * x0 + math.sqrt(1 - abar_s) * noise
        return x_t

    def _start(
        self, y: Measurement, operator: LinearOperator, sigma_y: float, schedule: Schedule, t: int, streams: Streams
    ) -> Image:
        z = streams.normal("x_T", operator.image_shape)
        if self.start == "noise":
            return z
        picture = operator.baseline(y)
        if operator.observed is not None:
            picture = torch.where(operator.observed > 0, picture, -1)
        t_y = schedule.nearest(sigma_y) if picture.shape == y.shape else -1
        q = math.sqrt(schedule.abar(t) / schedule.abar(t_y))
        return q * picture + math.sqrt(1 - q**2) * z  # 1 - q^2 = (1 - abar_T) - q^2 (1 - abar_ty)
