"""What SaFaRI's psi makes of the posterior it targets, under the Gaussian prior and with nothing drawn.

The likelihood exp(-||psi(y) - psi(A x)||^2 / 2 gamma^2), ||psi(r)||^2 = r^T M r, is that of noise with covariance
gamma^2 M^{-1}. Under the prior N(mu, C) the target is N(mu + K_psi (y - A mu), Cov_psi) with

    K_psi = C A^T (A C A^T + gamma^2 M^{-1})^{-1},    Cov_psi = C - K_psi A C.

y itself has noise sigma_y^2 I, so that the truth is the same with M / gamma^2 = I / sigma_y^2, and over all y the two
means differ by a Gaussian of covariance D = (K_psi - K) (A C A^T + sigma_y^2 I) (K_psi - K)^T.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from safari_bench.exact.bound import gram, units
from safari_bench.exact.marginals import in_waves, multiplicity, radius
from safari_bench.exact.trial import Trial
from safari_bench.fidelity import Fidelity
from safari_bench.priors.gaussian import GaussianPrior

__all__ = ["Target", "psi_target"]

#: z of a central 90 % interval
_Z = 1.6448536269514722
#: border between low and high waves, fraction of Nyquist
_CUTOFF = 0.25


class Target(NamedTuple):
    """Scores of the distribution that psi targets against p(x | y), over y from the model.

    Attributes:
        scale: "as weighed", gamma = sigma_y, or "same strength", gamma such that M / gamma^2 has the trace of
            I / sigma_y^2: then only the shape of M is left.
        gamma: on the [-1, 1] scale.
        mean_error_sd: RMS over y and pixels of the difference of the means, relative to the posterior's sd.
        sd_ratio: RMS over pixels of the target's sd relative to the posterior's.
        coverage: how often the target's central 90 % intervals hold the pixel that made y, mean over pixels.
        w2: root of the mean squared Wasserstein-2 distance over y, relative to sqrt(tr Cov[x | y]).
        sd_low, sd_high: sd below and above a quarter of Nyquist relative to the posterior's.
    """

    scale: str
    gamma: float
    mean_error_sd: float
    sd_ratio: float
    coverage: float
    w2: float
    sd_low: float
    sd_high: float


def psi_target(trial: Trial, fidelity: Fidelity) -> list[Target]:
    """Both scales, with A, C and psi as matrices: for small images.

    Raises:
        ValueError: psi is not injective, so that part of y would be ignored.
    """
    if not fidelity.injective:
        raise ValueError(
            "SaFaRI's target: got a psi that is not injective; weigh the pixel or spatial part, or both bands"
        )
    prior, sigma_y = trial.prior, trial.sigma_y
    assert isinstance(prior, GaussianPrior)
    operator, n = trial.operators(1, torch.float64), math.prod(trial.shape)
    rows = torch.cat([operator.adjoint(e[None]) for e in units(trial.y)])
    seen = rows.flatten(1).any(1)  # psi acts on what is observed; the rest is 0 on both sides
    A, M = rows[seen].flatten(1), gram(fidelity, trial.y)[seen][:, seen]
    identity = torch.eye(len(A), dtype=torch.float64)
    C = prior.covariance(torch.eye(n, dtype=torch.float64).reshape(n, *trial.shape)).flatten(1)
    S = A @ C @ A.T
    truth = _conditioned(C, A, S + sigma_y**2 * identity)
    spread_y = S + sigma_y**2 * identity
    found = []
    for scale, gamma in (
        ("as weighed", sigma_y),
        ("same strength", sigma_y * math.sqrt(float(M.diagonal().mean()))),
    ):
        K, cov = _conditioned(C, A, S + gamma**2 * torch.linalg.inv(M))
        apart = K - truth[0]
        found.append(Target(scale, gamma, *_scores(trial, cov, truth[1], apart @ spread_y @ apart.T)))
    return found


def _conditioned(C: Tensor, A: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """The gain K and the covariance of x given a measurement of covariance S."""
    CA = C @ A.T
    K = torch.linalg.solve(S, CA.T).T
    return K, C - K @ CA.T


def _scores(trial: Trial, cov: Tensor, truth: Tensor, D: Tensor) -> tuple[float, float, float, float, float, float]:
    var, exact, bias2 = cov.diagonal(), truth.diagonal(), D.diagonal().clamp(min=0)
    held = 2 * torch.special.ndtr(_Z * (var / (exact + bias2)).sqrt()) - 1
    root = _root(truth)
    values = torch.linalg.eigvalsh(root @ cov @ root).clamp(min=0)
    w2 = bias2.sum() + var.sum() + exact.sum() - 2 * values.sqrt().sum()
    bands = [math.sqrt(a / b) for a, b in zip(_bands(trial, cov), _bands(trial, truth), strict=True)]
    return (
        math.sqrt(float((bias2 / exact).mean())),
        math.sqrt(float((var / exact).mean())),
        float(held.mean()),
        math.sqrt(max(float(w2 / exact.sum()), 0.0)),
        bands[0],
        bands[1],
    )


def _bands(trial: Trial, cov: Tensor) -> tuple[float, float]:
    """Total variance in low and in high waves."""
    prior, (height, width) = trial.prior, trial.shape[1:]
    assert isinstance(prior, GaussianPrior)
    waves = in_waves(prior, _root(cov).reshape(-1, *trial.shape)).abs().square().sum(0) * multiplicity(width)
    low = radius(height, width) < _CUTOFF
    return float(waves[:, low].sum()), float(waves[:, ~low].sum())


def _root(cov: Tensor) -> Tensor:
    values, Q = torch.linalg.eigh((cov + cov.T) / 2)
    root: Tensor = (Q * values.clamp(min=0).sqrt()) @ Q.T
    return root
