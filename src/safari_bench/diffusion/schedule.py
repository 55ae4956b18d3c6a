"""The variance-preserving diffusion: noise levels, time grids, DDPM and DDIM steps.

x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps for t in {0, ..., T-1}; the time after the last step is written s = -1 and
has abar = 1. Ho et al., NeurIPS 2020 (DDPM); Song et al., ICLR 2021 (DDIM); Nichol and Dhariwal, ICML 2021 (respacing,
learned variance).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from torch import Tensor

from safari_bench.shapes import Image

__all__ = ["Schedule", "Spacing", "Variance"]

Spacing = Literal["uniform", "leading", "quadratic"]
Variance = Literal["auto", "fixed_small", "fixed_large", "learned_range"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear betas, T = 1000 by default, as in DDPM, guided-diffusion and every sampler of this suite.

    All levels are Python floats computed in float64; images keep their own dtype.
    """

    timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 2e-2

    @cached_property
    def _abar(self) -> np.ndarray:
        return np.cumprod(1.0 - np.linspace(self.beta_start, self.beta_end, self.timesteps, dtype=np.float64))

    def abar(self, t: int) -> float:
        """Cumulative product of 1 - beta up to t; 1 for t = -1."""
        if not -1 <= t < self.timesteps:
            raise ValueError(f"timestep out of range: got {t}, expected -1 <= t < {self.timesteps}")
        return 1.0 if t == -1 else float(self._abar[t])

    def sigma(self, t: int) -> float:
        """sigma_t = sqrt((1 - abar_t) / abar_t): the noise level of x_t / sqrt(abar_t) on the [-1, 1] scale."""
        abar = self.abar(t)
        return math.sqrt((1.0 - abar) / abar)

    def nearest(self, sigma: float) -> int:
        """The timestep whose sigma_t is nearest to sigma."""
        sigmas = np.sqrt((1.0 - self._abar) / self._abar)
        return int(np.abs(sigmas - sigma).argmin())

    def pairs(self, steps: int, spacing: Spacing = "uniform") -> list[tuple[int, int]]:
        """The (t, s) of a run of `steps` prior calls, from the noisiest down to s = -1.

        Args:
            steps: number of prior calls, 1 <= steps <= T.
            spacing: `uniform`, fractional stride with first and last kept (guided-diffusion); `leading`, multiples of
                T // steps from 0, so that T - 1 is never used (code of DDRM, DDNM, RED-diff); `quadratic`, T - t
                evenly spaced in its square and so dense at low noise (code of DiffPIR).
        Raises:
            ValueError: steps out of range, or so many that the grid would repeat a timestep.
        """
        last = self.timesteps - 1
        if not 1 <= steps <= self.timesteps:
            raise ValueError(f"number of steps: got {steps}, expected 1 to {self.timesteps}; set sampler.steps")
        if spacing == "uniform":
            grid = [last] if steps == 1 else [round(i * last / (steps - 1)) for i in range(steps)]
        elif spacing == "leading":
            grid = [i * (self.timesteps // steps) for i in range(steps)]
        elif spacing == "quadratic":
            roots = np.sqrt(np.linspace(0, self.timesteps**2, steps)) if steps > 1 else np.zeros(1)
            grid = [last - min(int(root), last) for root in roots][::-1]
        else:
            raise ValueError(f"spacing: got {spacing!r}, expected uniform, leading or quadratic")
        if len(set(grid)) < steps:
            raise ValueError(f"{spacing} spacing repeats timesteps at {steps} steps; take fewer, or spacing=uniform")
        descending = grid[::-1]
        return list(zip(descending, [*descending[1:], -1], strict=True))

    def add_noise(self, x: Image, t: int, eps: Image) -> Image:
        """x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps."""
        abar = self.abar(t)
        return math.sqrt(abar) * x + math.sqrt(1.0 - abar) * eps

    def ddpm_step(
        self,
        x_t: Image,
        x0_hat: Image,
        t: int,
        s: int,
        z: Image,
        variance: Variance = "fixed_small",
        var_fraction: Tensor | None = None,
    ) -> Image:
        """One ancestral step x_t -> x_s; no noise is added when s = -1.

        Args:
            z: standard normal draws.
            variance: `fixed_small` is the posterior variance beta~, `fixed_large` is beta'; `learned_range`
                interpolates their logarithms by var_fraction (1 gives beta'). `auto` is `learned_range` where there
                is a var_fraction, and `fixed_small` where there is none.
            var_fraction: what a learned-variance prior predicts, mapped to [0, 1], or None.
        Raises:
            ValueError: `learned_range` without var_fraction.
        """
        abar_t, abar_s = self.abar(t), self.abar(s)
        alpha = abar_t / abar_s
        mean = (math.sqrt(abar_s) * (1 - alpha) * x0_hat + math.sqrt(alpha) * (1 - abar_s) * x_t) / (1 - abar_t)
        if s == -1:
            return mean
        return mean + self._ddpm_sd(t, s, variance, var_fraction) * z

    def _ddpm_sd(self, t: int, s: int, variance: Variance, var_fraction: Tensor | None) -> float | Tensor:
        abar_t, abar_s = self.abar(t), self.abar(s)
        if variance == "auto":
            variance = "fixed_small" if var_fraction is None else "learned_range"
        large = 1.0 - abar_t / abar_s
        small = large * (1.0 - abar_s) / (1.0 - abar_t)
        if variance == "fixed_small":
            return math.sqrt(small)
        if variance == "fixed_large":
            return math.sqrt(large)
        if var_fraction is None:
            raise ValueError(
                "variance=learned_range, but this prior predicts no variance; use variance=fixed_small or fixed_large"
            )
        return (0.5 * (var_fraction * math.log(large) + (1 - var_fraction) * math.log(small))).exp()

    def ddim_coefficients(self, t: int, s: int, eta: float) -> tuple[float, float]:
        """(c1, c2) of the DDIM step: weights of fresh noise z and of eps_hat, c1^2 + c2^2 = 1 - abar_s."""
        abar_t, abar_s = self.abar(t), self.abar(s)
        c1 = eta * math.sqrt((1 - abar_t / abar_s) * (1 - abar_s) / (1 - abar_t))
        return c1, math.sqrt(max(1 - abar_s - c1**2, 0.0))

    def ddim_step(self, x0_hat: Image, eps_hat: Image, t: int, s: int, eta: float, z: Image) -> Image:
        """x_s = sqrt(abar_s) x0_hat + c1 z + c2 eps_hat. eta = 0 is deterministic, eta = 1 is DDPM with fixed_small."""
        c1, c2 = self.ddim_coefficients(t, s, eta)
        return math.sqrt(self.abar(s)) * x0_hat + c1 * z + c2 * eps_hat
