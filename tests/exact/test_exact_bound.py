"""The bound of SaFaRI's theorem, and the distribution that psi targets, against draws and dense matrices."""

import itertools
import math

import numpy as np
import pytest
import torch
from exact_cases import PRIOR, SIGMA_Y, gaussian_trial
from scipy.linalg import sqrtm
from scipy.stats import norm

from safari_bench.exact.bound import expected_norm, psi_bound
from safari_bench.exact.psi_target import psi_target
from safari_bench.fidelity import Perceptual

TINY = (3, 4, 4)
PSI = {"pixel": Perceptual(pixel=1.0), "full": Perceptual(spatial=1.0, low=1.0, high=0.5)}


def test_the_mean_norm_of_a_gaussian():
    assert expected_norm(np.array([4.0])) == pytest.approx(2 * math.sqrt(2 / math.pi), rel=1e-9)
    n = 7
    chi = math.sqrt(2) * math.gamma((n + 1) / 2) / math.gamma(n / 2)
    assert expected_norm(np.full(n, 0.09)) == pytest.approx(0.3 * chi, rel=1e-9)
    v = np.array([1e-6, 0.1, 3.0, 50.0])
    drawn = np.sqrt((np.random.default_rng(0).normal(size=(200_000, 4)) ** 2 * v).sum(1))
    assert abs(expected_norm(v) - drawn.mean()) < 5 * drawn.std() / math.sqrt(len(drawn))  # 1 in 10^6


@pytest.mark.parametrize("psi", PSI)
def test_the_bound_against_monte_carlo(psi):
    """Left side, m_1 and Z_psi from draws and quadrature that share nothing with the closed forms."""
    gamma, t = 0.4, 300
    trial = gaussian_trial("avgpool", shape=TINY)
    (found,) = psi_bound(trial, PSI[psi], [t], 1, gamma)
    operator, abar = trial.operators(1, torch.float64), PRIOR.schedule.abar(t)

    x_t = PRIOR.schedule.add_noise(trial.x, t, trial.streams("bound").normal("x_t", TINY))
    x0_hat = PRIOR.predict(x_t, t).x0_hat
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(100_000, *TINY)))
    x_0 = x0_hat + PRIOR.filter(z, lambda power: ((1 - abar) * power / (abar * power + 1 - abar)).sqrt())
    assert float((x_0 - x0_hat).flatten(1).norm(dim=1).mean()) == pytest.approx(found.m_1, rel=0.01)

    def likelihood(x: torch.Tensor) -> torch.Tensor:
        return (-PSI[psi](trial.y - operator.A(x)) / (2 * gamma**2)).exp()

    means = likelihood(x_0)
    left = float(means.mean() - likelihood(x0_hat))
    error = 5 * float(means.std()) / math.sqrt(len(means))  # 1 in 10^6
    assert abs(abs(left) - 10 ** (found.log10_left + found.log10_z)) < error
    assert abs(left) > 2 * error  # there was something to see

    side = torch.linspace(-6, 6, 61, dtype=torch.float64) * gamma
    r = torch.cartesian_prod(side, side, side).reshape(-1, *trial.y.shape[1:])
    Z = float((-PSI[psi](r) / (2 * gamma**2)).exp().sum()) * float(side[1] - side[0]) ** 3
    assert 10**found.log10_z == pytest.approx(Z, rel=1e-3)
    assert found.log10_ratio == pytest.approx(found.log10_left - found.log10_right)


def test_the_bound_holds_and_needs_an_injective_psi():
    for psi, task in itertools.product(PSI.values(), ("avgpool", "denoising")):
        found = psi_bound(gaussian_trial(task, shape=(3, 8, 8)), psi, [0, 50, 400, 999], 4)
        assert all(b.log10_ratio <= 0 for b in found)
        assert [b.m_1 for b in found] == sorted(b.m_1 for b in found)
    with pytest.raises(ValueError, match="not injective"):
        psi_bound(gaussian_trial("avgpool"), Perceptual(low=1.0), [10], 1)


@pytest.mark.parametrize("task", ["avgpool", "random"])
@pytest.mark.parametrize("psi", PSI)
def test_what_psi_targets_against_matrices(task, psi):
    """Precision matrices and the means of every unit y, where the study has gains and covariances."""
    trial = gaussian_trial(task, shape=TINY)
    operator, n, m = trial.operators(1, torch.float64), math.prod(TINY), trial.y.numel()
    A = torch.cat([operator.A(e[None]).flatten()[None] for e in torch.eye(n).double().reshape(n, *TINY)]).T.numpy()
    units = torch.eye(m).double().reshape(m, *trial.y.shape[1:])
    single = np.array([float(PSI[psi](e[None])) for e in units])
    pairs = np.array([[float(PSI[psi]((a + b)[None])) for b in units] for a in units])
    M = (pairs - single[:, None] - single) / 2
    C = PRIOR.covariance(torch.eye(n).double().reshape(n, *TINY)).flatten(1).numpy()
    seen = A.any(1)
    truth = np.linalg.inv(np.linalg.inv(C) + A.T @ A / SIGMA_Y**2)
    for found in psi_target(trial, PSI[psi]):
        W = np.where(seen[:, None] & seen, M, 0) / found.gamma**2
        if found.scale == "same strength":
            assert np.trace(W) == pytest.approx(seen.sum() / SIGMA_Y**2)
        target = np.linalg.inv(np.linalg.inv(C) + A.T @ W @ A)
        apart = target @ A.T @ W - truth @ A.T / SIGMA_Y**2
        D = apart @ (A @ C @ A.T + SIGMA_Y**2 * np.diag(seen)) @ apart.T
        inside = norm.cdf(norm.ppf(0.95) * np.sqrt(np.diag(target) / np.diag(truth + D)))
        squared = np.trace(D + target + truth - 2 * sqrtm(sqrtm(truth) @ target @ sqrtm(truth)).real)
        expected = {
            "mean_error_sd": np.sqrt((np.diag(D) / np.diag(truth)).mean()),
            "sd_ratio": np.sqrt((np.diag(target) / np.diag(truth)).mean()),
            "coverage": (2 * inside - 1).mean(),
            "w2": np.sqrt(max(squared, 0) / np.trace(truth)),
        }
        for name, value in expected.items():
            assert getattr(found, name) == pytest.approx(value, rel=1e-4, abs=1e-5)
        if psi == "pixel":
            assert (found.sd_low, found.sd_high) == pytest.approx((1, 1))


def test_psi_that_ignores_a_band_has_no_target():
    with pytest.raises(ValueError, match="not injective"):
        psi_target(gaussian_trial("avgpool", shape=TINY), Perceptual(low=1.0))
