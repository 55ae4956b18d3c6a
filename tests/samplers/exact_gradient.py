"""An independent float64 numpy account of PiGDM, MMPS and MCG under a Gaussian prior.

Affine updates x_s = F x_t + c + sum of R[purpose] z[purpose] are made of dense matrices; the same matrices run a
trajectory, give the exact mean and covariance of the output, and tell how fast these tend to the posterior's.
Nothing here calls the package.
"""

import math
from typing import NamedTuple

import numpy as np

from exact import ABAR, ancestral_mean, ancestral_sd, grid


class Affine(NamedTuple):
    """x_s = F x_t + c + sum of R[purpose] z[purpose]."""

    F: np.ndarray
    c: np.ndarray
    R: dict[str, np.ndarray]


class Diffusion:
    """Noise levels of a schedule with T steps, and the prior's (G, k) of x0_hat = G x_t + k at each.

    T = 1000 has DDPM's betas. Another T stretches the same function of t / T over it, so that T = steps -> infinity is
    the continuous diffusion; `longer` multiplies its length, so that less of the image is left at its end.
    """

    def __init__(self, mean, covariance, T=1000, longer=1.0) -> None:
        self.mean, self.covariance = mean, covariance
        betas = np.linspace(1e-4, 2e-2, T) * 1000 / T * longer
        self.abar = ABAR if T == 1000 and longer == 1 else np.append(np.cumprod(1 - betas), 1.0)
        self.values, self.vectors = np.linalg.eigh(covariance)

    def prior(self, t):
        a = self.abar[t]
        G = (self.vectors * (math.sqrt(a) * self.values / (a * self.values + 1 - a))) @ self.vectors.T
        return G, self.mean - math.sqrt(a) * G @ self.mean


def leading(steps):
    times = [i * (1000 // steps) for i in range(steps)][::-1]
    return list(zip(times, [*times[1:], -1], strict=True))


GRIDS = {"uniform": grid, "leading": leading}


def pinv(A):
    return np.linalg.pinv(A, rcond=1e-6)


def damped(A, c):
    """A^T (A A^T + c I)^-1, A^+ at c = 0."""
    return A.T @ np.linalg.inv(A @ A.T + c * np.eye(len(A))) if c else pinv(A)


def ddim(x, x0, a, b, eta):
    """(mean, sd) of the DDIM step from abar a to abar b; x and x0 may be matrices that act on x_t."""
    c1 = eta * math.sqrt((1 - a / b) * (1 - b) / (1 - a))
    eps = (x - math.sqrt(a) * x0) / math.sqrt(1 - a)
    return math.sqrt(b) * x0 + math.sqrt(max(1 - b - c1**2, 0)) * eps, c1


def pigdm_start(diffusion, A, y, sigma_y, T, coefficient):
    a = diffusion.abar[T]
    mean = damped(A, 0 if coefficient == "author_code" else sigma_y**2) @ y
    return math.sqrt(a) * mean, math.sqrt(1 - a) * np.eye(len(mean))


def pigdm_step(diffusion, A, y, sigma_y, t, s, eta, coefficient):
    """The score's coefficient comes from where it should: both x0_hat and eps_hat of the conditional score."""
    a, b, n = diffusion.abar[t], diffusion.abar[s], A.shape[1]
    G, k = diffusion.prior(t)
    sigma_y = 0 if coefficient == "author_code" else sigma_y
    K = G.T @ damped(A, sigma_y**2 / (1 - a)) / (1 - a)  # g = K (y - A x0_hat)
    g_F, g_c = -K @ A @ G, K @ (y - A @ k)
    if coefficient == "score":
        gamma = (1 - a) / math.sqrt(a)
        F, sd = ddim(np.eye(n), G + gamma * g_F, a, b, eta)
        c, _ = ddim(np.zeros(n), k + gamma * g_c, a, b, eta)
    else:
        scale = math.sqrt(a) * (1 - a) * {"paper": 1, "author_code": math.sqrt(b)}[coefficient]
        F, sd = ddim(np.eye(n), G, a, b, eta)
        c, _ = ddim(np.zeros(n), k, a, b, eta)
        F, c = F + scale * g_F, c + scale * g_c
    return Affine(F, c, {"step": sd * np.eye(n)})


def posterior_covariance(diffusion, t):
    """Cov(x_0 | x_t) from Bayes' rule, not from the denoiser's Jacobian."""
    a, C = diffusion.abar[t], diffusion.covariance
    return C - a * C @ np.linalg.solve(a * C + (1 - a) * np.eye(len(C)), C)


def mmps_step(diffusion, A, y, sigma_y, t, s, eta):
    """With the inner problem solved."""
    a, b, n = diffusion.abar[t], diffusion.abar[s], A.shape[1]
    G, k = diffusion.prior(t)
    V = posterior_covariance(diffusion, t)
    K = V @ A.T @ np.linalg.inv(A @ V @ A.T + sigma_y**2 * np.eye(len(A)))
    F, sd = ddim(np.eye(n), G - K @ A @ G, a, b, eta)
    c, _ = ddim(np.zeros(n), k + K @ (y - A @ k), a, b, eta)
    return Affine(F, c, {"step": sd * np.eye(n)})


def truncated_cg(M, b, iterations, rtol):
    """The best vector of the Krylov space in the energy norm, by a least-squares problem per size of the space."""
    u, basis = np.zeros_like(b), []
    for _ in range(iterations):
        r = b - M @ u
        if np.linalg.norm(r) <= rtol * np.linalg.norm(b):
            break
        for v in basis * 2:
            r = r - (r @ v) * v
        basis.append(r / np.linalg.norm(r))
        Q = np.stack(basis, 1)
        u = Q @ np.linalg.solve(Q.T @ M @ Q, Q.T @ b)
    return u


def mmps_truncated(diffusion, A, y, sigma_y, noise, pairs, eta, iterations, rtol):
    """Truncated conjugate gradients are not linear in their right-hand side: one trajectory."""
    x = noise["x_T"][0]
    for (t, s), z in zip(pairs, noise["step"], strict=True):
        G, k = diffusion.prior(t)
        x0 = G @ x + k
        V = posterior_covariance(diffusion, t)
        u = truncated_cg(A @ V @ A.T + sigma_y**2 * np.eye(len(A)), y - A @ x0, iterations, rtol)
        mean, sd = ddim(x, x0 + V @ A.T @ u, diffusion.abar[t], diffusion.abar[s], eta)
        x = mean + sd * z
    return x


def mcg_step(diffusion, A, y, t, s, zeta, level, damping):
    """The squared norm, for any linear map in place of A^+."""
    n, B = A.shape[1], damped(A, damping)
    G, k = diffusion.prior(t)
    pull = 2 * zeta * G.T @ A.T @ B.T @ B
    F = ancestral_mean(np.eye(n), G, t, s) - pull @ A @ G
    c = ancestral_mean(0, k, t, s) + pull @ (y - A @ k)
    a, unseen = diffusion.abar[s if level == "next" else t], np.eye(n) - B @ A
    R = {"step": ancestral_sd(t, s) * unseen, "reference": math.sqrt(1 - a) * B @ A}
    return Affine(unseen @ F, unseen @ c + math.sqrt(a) * B @ y, R)


def mcg_normalised(diffusion, A, y, noise, pairs, zeta, level, clip=False):
    """As the official code does it: the gradient and the step where A is blind, the noised measurement elsewhere."""
    x, inverse = noise["x_T"][0], pinv(A)
    seen = inverse @ A
    blind = np.eye(len(x)) - seen
    for (t, s), z, e in zip(pairs, noise["step"], noise["reference"], strict=True):
        G, k = diffusion.prior(t)
        x0 = G @ x + k
        inside = np.abs(x0) <= 1 if clip else np.ones_like(x0)
        x0 = np.clip(x0, -1, 1) if clip else x0
        error = inverse @ (y - A @ x0)
        norm = np.linalg.norm(error)
        grad = -G.T @ (inside * (A.T @ (inverse.T @ error))) / norm if norm > 0 else np.zeros_like(x)
        step = ancestral_mean(x, x0, t, s) + ancestral_sd(t, s) * z
        a = diffusion.abar[s if level == "next" else t]
        x = blind @ step - zeta * blind @ grad + seen @ (math.sqrt(a) * inverse @ y + math.sqrt(1 - a) * e)
    return x


def run(start, steps, noise):
    c, R = start
    x = c + R @ noise["x_T"][0]
    for i, step in enumerate(steps):
        x = step.F @ x + step.c + sum(R @ noise[purpose][i] for purpose, R in step.R.items())
    return x


def moments(start, steps):
    """Exact mean and covariance of the output."""
    m, C = start[0], start[1] @ start[1].T
    for step in steps:
        m, C = step.F @ m + step.c, step.F @ C @ step.F.T + sum(R @ R.T for R in step.R.values())
    return m, C


def posterior(diffusion, A, y, sigma_y):
    """Mean and covariance of p(x | y)."""
    C = diffusion.covariance
    K = C @ A.T @ np.linalg.inv(A @ C @ A.T + sigma_y**2 * np.eye(len(A)))
    return diffusion.mean + K @ (y - A @ diffusion.mean), C - K @ A @ C


def errors(moments, posterior):
    """Errors of mean and covariance, each relative to the size of the posterior's."""
    (m, C), (mean, covariance) = moments, posterior
    return (
        np.linalg.norm(m - mean) / math.sqrt(np.trace(covariance)),
        np.linalg.norm(C - covariance) / np.linalg.norm(covariance),
    )
