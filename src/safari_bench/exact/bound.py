"""The bound of SaFaRI's theorem (arXiv 2401.17629) under the Gaussian prior, where nothing in it is estimated.

With p_psi(y | x_0) = exp(-||psi(y) - psi(A x_0)||^2 / 2 gamma^2) / Z_psi, whose mean over p(x_0 | x_t) is p_psi,t,

    |p_psi,t(y | x_t) - p_psi(y | x0_hat)| <= L_psi ||A|| m_1 / (e^{1/2} Z_psi gamma),    m_1 = E||x_0 - x0_hat||.

Here psi is linear, ||psi(r)||^2 = r^T M r, and x_0 | x_t ~ N(x0_hat, V_t): the mean is a Gaussian integral, L_psi the
root of M's largest eigenvalue, and Z_psi = (2 pi gamma^2)^{m/2} det(M)^{-1/2}. Densities of many measurements leave the
range of floating-point numbers, so everything is held as logarithms.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from safari_bench.exact.marginals import multiplicity
from safari_bench.exact.trial import Trial
from safari_bench.fidelity import Fidelity
from safari_bench.operators import LinearOperator
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.shapes import Image, Measurement

__all__ = ["Bound", "expected_norm", "gram", "psi_bound", "units"]

_LN10 = math.log(10)


class Bound(NamedTuple):
    """Both sides at one t, as decimal logarithms.

    Attributes:
        gamma: the likelihood's scale.
        log10_left: of |p_psi,t(y | x_t) - p_psi(y | x0_hat)|, median over draws of x_t.
        log10_right: of L_psi ||A|| m_1 / (e^{1/2} Z_psi gamma), which does not depend on x_t.
        log10_ratio: of left over right, the largest over draws of x_t: the bound holds where it is not positive.
        log10_z: of Z_psi, which both sides are divided by.
    """

    gamma: float
    t: int
    sigma_t: float
    m_1: float
    log10_left: float
    log10_right: float
    log10_ratio: float
    log10_z: float


def psi_bound(
    trial: Trial, fidelity: Fidelity, times: Iterable[int], draws: int, gamma: float | None = None
) -> list[Bound]:
    """The bound along t for the trial's y, with A and psi as matrices: for small images.

    Args:
        draws: of x_t, from x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps with the x that made y.
        gamma: the likelihood's scale; None is the noise's own, sigma_y.
    Raises:
        ValueError: psi is not injective, so that Z_psi is infinite.
    """
    prior, gamma = trial.prior, gamma or trial.sigma_y
    assert isinstance(prior, GaussianPrior)
    if not fidelity.injective:
        raise ValueError("SaFaRI's bound: got a psi that is not injective, so Z_psi is infinite; weigh both bands")
    operator = trial.operators(1, torch.float64)
    M = gram(fidelity, trial.y)
    root = _square_root(M)
    rows = torch.cat([operator.adjoint(e[None]) for e in units(trial.y)])  # (m, c, h, w)
    norm_A = float(torch.linalg.matrix_norm(rows.flatten(1), 2))
    L_psi = math.sqrt(float(torch.linalg.eigvalsh(M)[-1]))
    m = len(rows)
    log_Z = 0.5 * m * math.log(2 * math.pi * gamma**2) - 0.5 * float(torch.linalg.slogdet(M).logabsdet)
    streams = trial.streams("bound")
    bounds = []
    for t in times:
        abar = prior.schedule.abar(t)
        T = root @ _measured_covariance(prior, operator, rows, abar) @ root
        tau, Q = torch.linalg.eigh((T + T.T) / 2)
        tau = tau.clamp(min=0)
        m_1 = expected_norm(_variances(prior, trial.shape, abar))
        log_right = math.log(L_psi * norm_A * m_1) - 0.5 - math.log(gamma) - log_Z
        left = []
        for _ in range(draws):
            x_t = prior.schedule.add_noise(trial.x, t, streams.normal("x_t", trial.shape))
            r = (trial.y - operator.A(prior.predict(x_t, t).x0_hat)).flatten()
            b2 = (Q.T @ (root @ r)).square()
            mean = -0.5 * float((torch.log1p(tau / gamma**2) + b2 / (gamma**2 + tau)).sum())
            at_x0_hat = -0.5 * float(b2.sum()) / gamma**2
            left.append(_log_difference(mean, at_x0_hat) - log_Z)
        bounds.append(
            Bound(
                gamma,
                t,
                prior.schedule.sigma(t),
                m_1,
                float(np.median(left)) / _LN10,
                log_right / _LN10,
                (max(left) - log_right) / _LN10,
                log_Z / _LN10,
            )
        )
    return bounds


def expected_norm(variances: NDArray[np.float64]) -> float:
    """E||x|| for x ~ N(0, diag(variances)).

    With Q = ||x||^2, E sqrt(Q) = integral of s^{-3/2} (1 - E e^{-sQ}) ds / (2 sqrt(pi)) over s > 0, and
    E e^{-sQ} = prod (1 + 2 s v)^{-1/2}. The integrand decays exponentially in log s, where the trapezoidal rule is
    accurate to rounding.
    """
    scale = float(variances.sum())
    log_s = np.linspace(-80, 80, 2001)
    log_mean = -0.5 * np.array([np.log1p(2 * math.exp(v) * variances / scale).sum() for v in log_s])
    integrand = -np.expm1(log_mean) * np.exp(-log_s / 2)
    return math.sqrt(scale / math.pi) / 2 * float(integrand.sum() * (log_s[1] - log_s[0]))


def _variances(prior: GaussianPrior, shape: tuple[int, ...], abar: float) -> NDArray[np.float64]:
    """Eigenvalues of V_t, as often as they occur."""
    power = prior.spectrum.on_grid(*shape[1:])
    times = multiplicity(shape[2]).numpy().astype(int)
    V_t: NDArray[np.float64] = np.repeat((1 - abar) * power / (abar * power + 1 - abar), times, axis=2).ravel()
    return V_t


def _measured_covariance(prior: GaussianPrior, operator: LinearOperator, rows: Image, abar: float) -> Tensor:
    """A V_t A^T, (m, m)."""
    V_rows = prior.filter(rows, lambda power: (1 - abar) * power / (abar * power + 1 - abar))
    return torch.cat([operator.A(v[None]).flatten()[None] for v in V_rows])


def units(y: Measurement) -> Tensor:
    """Unit vectors of the shape of one measurement, (m, *m)."""
    return torch.eye(y[0].numel(), dtype=y.dtype).reshape(-1, *y.shape[1:])


def gram(fidelity: Fidelity, y: Measurement) -> Float[Tensor, "m m"]:
    """M of fidelity(r) = r^T M r, from the gradients 2 M e at unit vectors."""
    e = units(y).requires_grad_()
    (gradients,) = torch.autograd.grad(fidelity(e).sum(), e)
    M: Tensor = gradients.flatten(1) / 2
    return (M + M.T) / 2


def _square_root(M: Tensor) -> Tensor:
    values, Q = torch.linalg.eigh(M)
    root: Tensor = (Q * values.clamp(min=0).sqrt()) @ Q.T
    return root


def _log_difference(a: float, b: float) -> float:
    """log|e^a - e^b|."""
    return max(a, b) + math.log(-math.expm1(-abs(a - b))) if a != b else -math.inf
