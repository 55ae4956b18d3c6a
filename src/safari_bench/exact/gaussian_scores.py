"""How far a sampler's draws are from the exact posterior under the Gaussian prior.

Draws come in pairs, image i of the first half of a batch with image i of the second. With u the middles and d the half
differences of P pairs, var = s^2(u) + mean d^2 is unbiased whether the halves are independent or mirrored, because in
law nothing changes when a pair is swapped. What the middles scatter, s^2(u) / P, is taken off the squared error of the
mean, and standard deviations of few degrees of freedom are divided by their c4 where they enter linearly.
"""

import math
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.stats import t as student
from torch import Tensor

from safari_bench.exact.gaussian_posterior import GaussianPosterior
from safari_bench.exact.marginals import Marginals, diagonal_in_waves, in_waves, marginals, multiplicity, radius
from safari_bench.exact.mirrored import Mirrored
from safari_bench.exact.trial import Trial
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.rng import Streams
from safari_bench.shapes import Image

__all__ = ["GaussianTruth"]

_LEVEL = 0.90
#: border between low and high waves, fraction of Nyquist: that of psi's bands
_CUTOFF = 0.25


#: one image per pair
_Pairs = Float[Tensor, "p c h w"]


class _Moments(NamedTuple):
    """What the draws say of a sampler, pixel by pixel."""

    bias2: Image  # squared error of the mean, (1, c, h, w), unbiased: negative where there is none
    noise2: Image  # what was taken off it
    centre: Image  # mean of the draws
    variance: Image
    pairs: int
    dof: float  # degrees of freedom of the variance
    spread: float  # share of the variance that the middles of the pairs have: 0 if affine and mirrored


class GaussianTruth:
    """The exact posterior of one trial, and scores against it.

    Args:
        trial: its prior is a `GaussianPrior`.
        pixels: score what needs exact marginals on so many pixels, chosen at random; None is on all, which is for
            64 px and less unless A is shift-invariant.
        exact_draws: where marginals are known on some pixels alone, W2 takes the variances of so many exact draws, over
            all pixels and waves: sums over them, unbiased, say more than few pixels do.
    """

    #: draws come in mirrored pairs
    mirrored = True

    def __init__(self, trial: Trial, pixels: int | None = None, exact_draws: int = 16) -> None:
        assert isinstance(trial.prior, GaussianPrior)
        self.trial, self.prior = trial, trial.prior
        operator = trial.operators(1, torch.float64)
        self.posterior = GaussianPosterior(self.prior, operator, trial.y, trial.sigma_y)
        self.mean = self.posterior.mean
        n = math.prod(trial.shape)
        self._diagonal = diagonal_in_waves(operator, trial.y)
        if self._diagonal or pixels is None:
            self._places, self._dof = torch.arange(n), math.inf
            self._marginals = marginals(self.prior, operator, trial.y, trial.sigma_y)
            self._sd = self._marginals.pixels.flatten().sqrt()
        else:
            (generator,) = trial.streams("places").generators("places")
            self._places, self._dof = torch.from_numpy(generator.permutation(n)[:pixels]), float(exact_draws)
            self._marginals = self._of_draws("marginals", exact_draws)
            self._sd = self.posterior.std(self._places)[0]

    def _of_draws(self, name: str, count: int) -> Marginals:
        """Mean squares of exact draws about the exact mean."""
        apart = self._draws(name, count, Streams) - self.mean
        waves = torch.stack([in_waves(self.prior, one[None])[0].abs().square() for one in apart])
        return Marginals(apart.square().mean(0), waves.mean(0))

    def draws(self, samples: int) -> Image:
        """Exact ones, mirrored as samplers' are."""
        return self._draws("exact", samples, Mirrored)

    def _draws(self, name: str, samples: int, kind: type[Streams]) -> Image:
        trial = self.trial
        copies, y = trial.operators(samples, torch.float64), trial.y.expand(samples, *trial.y.shape[1:]).contiguous()
        posterior = GaussianPosterior(self.prior, copies, y, trial.sigma_y)
        one = trial.streams(name)
        ids = [f"{one.ids[0]} {i}" for i in range(samples)]
        return posterior.sample(kind(one.seed, one.dataset, ids, dtype=torch.float64))

    def score(self, x_hat: Image) -> dict[str, float | str]:
        """Scores of a batch of draws; "sd" below is the exact posterior's, per pixel.

        Returns:
            mean_error: RMS over pixels of E[x_hat] - E[x | y], on the [-1, 1] scale;
            mean_error_sd, mean_noise_sd: the same relative to sd, and the RMS Monte-Carlo error that was taken off it;
            sd_ratio, sd_ratio_se: root mean square over pixels of the sampler's standard deviation relative to sd, and
            its standard error;
            coverage: what the sampler's central 90 % intervals hold of the exact posterior, mean over pixels;
            w2, w2_kind: Wasserstein-2 distance between the Gaussians of these moments relative to sqrt(tr Cov[x | y]),
            "exact" where both covariances are diagonal in waves, else a lower "bound": the larger of those that the
            marginals over waves and over pixels give;
            sd_low, sd_high: standard deviation in the waves below and above a quarter of Nyquist relative to the exact.
            NaN where they are not known.
        Raises:
            ValueError: fewer than two pairs.
        """
        if len(x_hat) < 4 or len(x_hat) % 2:
            raise ValueError(f"got {len(x_hat)} draws, expected an even number of at least 4")
        u, d = _pairs(x_hat)
        m = self._moments(u, d)
        ratio2 = self._relative(m.variance)
        w2, kind, low, high = self._wasserstein(u, d, m)
        return {
            "mean_error": _root(m.bias2.mean()),
            "mean_error_sd": _root(self._relative(m.bias2)),
            "mean_noise_sd": _root(self._relative(m.noise2)),
            "sd_ratio": math.sqrt(ratio2),
            "sd_ratio_se": self._ratio_se(u, d, math.sqrt(ratio2)),
            "coverage": self._coverage(m),
            "w2": w2,
            "w2_kind": kind,
            "sd_low": low,
            "sd_high": high,
        }

    def _relative(self, squares: Image) -> float:
        """Mean over the pixels of squares relative to the posterior's variance."""
        return float((squares.flatten()[self._places] / self._sd**2).mean())

    def _moments(self, u: _Pairs, d: _Pairs) -> _Moments:
        P = len(u)
        middles, halves = u.var(0, keepdim=True), d.square().mean(0, keepdim=True)
        noise2, centre = middles / P, u.mean(0, keepdim=True)
        total = float((middles + halves).sum())
        f = float(middles.sum()) / total if total > 0 else 0.0
        dof = 1 / (f**2 / (P - 1) + (1 - f) ** 2 / P)  # Satterthwaite
        return _Moments((centre - self.mean).square() - noise2, noise2, centre, middles + halves, P, dof, f)

    def _ratio_se(self, u: _Pairs, d: _Pairs, ratio: float) -> float:
        P = len(u)
        each = d.square() + (u - u.mean(0)).square() * P / (P - 1)
        per_pair = (each.flatten(1)[:, self._places] / self._sd**2).mean(1)
        return float(per_pair.std()) / math.sqrt(P) / (2 * ratio) if ratio > 0 else 0.0

    def _coverage(self, m: _Moments) -> float:
        """The interval is the one that holds a new draw of the sampler with 90 %, were it Gaussian: Student's."""
        half = float(student.ppf((1 + _LEVEL) / 2, m.dof)) * math.sqrt(1 + m.spread / m.pairs)
        centre, mean, s = (v.flatten()[self._places] for v in (m.centre, self.mean, m.variance.sqrt()))
        upper, lower = (centre + half * s - mean) / self._sd, (centre - half * s - mean) / self._sd
        return float((torch.special.ndtr(upper) - torch.special.ndtr(lower)).mean())

    def _wasserstein(self, u: _Pairs, d: _Pairs, m: _Moments) -> tuple[float, str, float, float]:
        power = _power(in_waves(self.prior, u), in_waves(self.prior, d))
        over_pixels, over_waves = self._squares(m, power)
        times, waves = multiplicity(u.shape[-1]), self._marginals.waves
        bands = [
            math.sqrt(float((times * power)[:, band].sum() / (times * waves)[:, band].sum()))
            for band in (radius(*u.shape[-2:]) < _CUTOFF, radius(*u.shape[-2:]) >= _CUTOFF)
        ]
        best = over_waves if self._diagonal else max(over_waves, over_pixels)
        return _root(best), "exact" if self._diagonal else "bound", bands[0], bands[1]

    def _squares(self, m: _Moments, power: Tensor) -> tuple[float, float]:
        """Squared Wasserstein-2 distances of the marginals over pixels and over waves, relative to the variance."""
        exact, waves = self._marginals
        height, width = self.trial.shape[1:]
        parts = torch.full((height, width // 2 + 1), 2.0, dtype=torch.float64)  # of a complex number
        for i, j in product((0, height // 2), (0, width // 2)):
            if 2 * i in (0, height) and 2 * j in (0, width):  # its own conjugate: real
                parts[i, j] = 1
        times = multiplicity(width)
        over_pixels = _apart(m.variance[0], m.dof, exact, self._dof).sum()
        over_waves = (times * _apart(power, parts * m.dof, waves, parts * self._dof)).sum()
        bias2, total = m.bias2.sum(), exact.sum()
        return float((bias2 + over_pixels) / total), float((bias2 + over_waves) / total)


def _pairs(x_hat: Image) -> tuple[_Pairs, _Pairs]:
    first, second = x_hat.double().chunk(2)
    return (first + second) / 2, (first - second) / 2


def _power(U: Tensor, D: Tensor) -> Tensor:
    """Variances of waves, from those of the pairs' middles and half differences."""
    return (U - U.mean(0)).abs().square().sum(0) / (len(U) - 1) + D.abs().square().mean(0)


def _apart(
    ours: Float[Tensor, "*shape"], our_dof: Tensor | float, exact: Float[Tensor, "*shape"], exact_dof: Tensor | float
) -> Float[Tensor, "*shape"]:
    """(s - sd)^2 of standard deviations from independent estimates of their squares, unbiased."""
    return ours - 2 * (ours * exact).sqrt() / (_c4(our_dof) * _c4(exact_dof)) + exact


def _c4(dof: Tensor | float) -> Tensor:
    """E[s] / sigma for a standard deviation s of Gaussian numbers with so many degrees of freedom, 1 for inf."""
    dof = torch.as_tensor(dof, dtype=torch.float64)
    finite = dof.clamp(max=1e4)  # differences of lgamma lose digits above
    c4: Tensor = (2 / finite).sqrt() * (torch.lgamma((finite + 1) / 2) - torch.lgamma(finite / 2)).exp()
    return torch.where(dof.isinf(), 1.0, c4)


def _root(square: Tensor | float) -> float:
    """Square root of an estimate of a square, which may fall below zero by chance."""
    return math.sqrt(max(float(square), 0.0))
