"""An independent float64 numpy account of RED-diff, DAPS, DiffPIR and PnP-ADMM under a Gaussian prior.

Nothing here calls the package's schedule, prior or samplers. Matrices act on images flattened to (c, h, w); noise is a
dict of lists of such vectors. Grids are lists of (t, s), s = -1 last.
"""

import functools
import math
from itertools import pairwise

import numpy as np

from exact import ABAR

SIGMA = np.sqrt((1 - ABAR[:1000]) / ABAR[:1000])


def leading(steps):
    return _pairs([i * (1000 // steps) for i in range(steps)][::-1])


def quadratic(steps):
    """The loop of DiffPIR's code counts places in a list of noise levels from the largest, so t = 999 - place."""
    places = [int(i) for i in np.sqrt(np.linspace(0, 1000**2, steps))]
    places[-1] -= 1
    return _pairs([999 - place for place in places])


def nearest(sigma):
    return int(np.argmin(np.abs(SIGMA - sigma)))


def poly(start, end, n, power=7):
    """n + 1 timesteps nearest to EDM's levels."""
    r = np.arange(n + 1) / n
    return [nearest((start ** (1 / power) + x * (end ** (1 / power) - start ** (1 / power))) ** power) for x in r]


class Linear:
    """x -> A x, and the transposed Jacobian at x applied to r."""

    def __init__(self, A):
        self.A = A

    def __call__(self, x):
        return self.A @ x

    def pull(self, x, r):
        return self.A.T @ r


class Clipped:
    """x -> clip(2 x, -1, 1)."""

    def __call__(self, x):
        return np.clip(2 * x, -1, 1)

    def pull(self, x, r):
        return 2 * r * (np.abs(2 * x) <= 1)


class Magnitude:
    """x -> |F P (x + 1) / 2| with a dense F: each channel is padded by a quarter of its sides before the DFT."""

    def __init__(self, shape):
        c, h, w = shape
        H, W = h + 2 * (h // 4), w + 2 * (w // 4)
        F = []
        for n, size in ((h, H), (w, W)):
            frequency = np.arange(size) - size // 2
            F.append(np.exp(-2j * np.pi * np.outer(frequency, np.arange(n) + n // 4) / size) / math.sqrt(size))
        self.F = np.kron(np.eye(c), np.kron(*F))

    def __call__(self, x):
        return np.abs(self.F @ ((x + 1) / 2))

    def pull(self, x, r):
        z = self.F @ ((x + 1) / 2)
        return (self.F.conj().T @ (z / np.abs(z) * r)).real / 2


def reddiff(truth, model, y, start, m, noise, pairs, lam, lr):
    """Adam written out (Kingma and Ba, Algorithm 1)."""
    mu, first, second = start.copy(), 0.0, 0.0
    for k, ((t, _), eps) in enumerate(zip(pairs, noise["step"], strict=True), 1):
        x_t = math.sqrt(ABAR[t]) * mu + math.sqrt(1 - ABAR[t]) * eps
        G, c = _affine(truth, t)
        eps_hat = (x_t - math.sqrt(ABAR[t]) * (G @ x_t + c)) / math.sqrt(1 - ABAR[t])
        grad = model.pull(mu, model(mu) - y) / m + lam * SIGMA[t] * (eps_hat - eps) / len(mu)
        first, second = 0.9 * first + 0.1 * grad, 0.99 * second + 0.01 * grad**2
        mu = mu - lr * first / (1 - 0.9**k) / (np.sqrt(second / (1 - 0.99**k)) + 1e-8)
    return mu


def truncated_pinv(A, y, tolerance):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    keep = s > tolerance
    return Vt[keep].T @ ((U[:, keep].T @ y) / s[keep])


def probability_flow(truth, t, ode_steps, end):
    """(F, c) of x at level sigma_t -> x0_hat: Euler's method for dx / dsigma = (x - D(x; sigma)) / sigma."""
    times = poly(SIGMA[t], end, ode_steps)
    n = len(truth.mean)
    F, c = np.eye(n), np.zeros(n)
    for u, v in pairwise(times):
        G, k = _affine(truth, u)
        share = (SIGMA[v] - SIGMA[u]) / SIGMA[u]
        step = (1 + share) * np.eye(n) - share * math.sqrt(ABAR[u]) * G
        F, c = step @ F, step @ c - share * k
    return F, c


def daps_levels(steps, sigma_max=100.0, sigma_min=0.1):
    """(t, sigma of the next level, factor of the step size)."""
    times = poly(sigma_max, sigma_min, steps)[:-1]
    sigmas = [*SIGMA[times[1:]], 0.0]
    return [(t, sigma, 1 - 0.99 * k / (steps + 1)) for k, (t, sigma) in enumerate(zip(times, sigmas, strict=True))]


def daps(truth, model, y, noise, steps, ode_steps, langevin_steps, lr, tau, doubled=False):
    """The official code's trajectory with doubled=True: its data term lacks the factor 1/2."""
    levels = daps_levels(steps)
    x = SIGMA[levels[0][0]] * noise["x_T"]
    kicks = iter(noise["langevin"])
    for (t, sigma_next, factor), z in zip(levels, noise["step"], strict=True):
        F, c = probability_flow(truth, t, ode_steps, 0.01)
        x0_hat = F @ x + c
        x0, h = x0_hat, lr * factor
        for _ in range(langevin_steps):
            data = model.pull(x0, model(x0) - y) / tau**2 * (2 if doubled else 1)
            x0 = x0 - h * (data + (x0 - x0_hat) / SIGMA[t] ** 2) + math.sqrt(2 * h) * next(kicks)
        x = x0 + sigma_next * z
    return x


def daps_moments(truth, A, y, steps, ode_steps, langevin_steps, lr, tau):
    levels, eye = daps_levels(steps), np.eye(A.shape[1])
    m, C = np.zeros(len(eye)), SIGMA[levels[0][0]] ** 2 * eye
    for t, sigma_next, factor in levels:
        F, c = probability_flow(truth, t, ode_steps, 0.01)
        h = lr * factor
        drift = eye - h * (A.T @ A / tau**2 + eye / SIGMA[t] ** 2)
        L, k, Q = eye, np.zeros(len(eye)), np.zeros_like(eye)  # x0 = L x0_hat + k + N(0, Q)
        for _ in range(langevin_steps):
            L = drift @ L + h / SIGMA[t] ** 2 * eye
            k, Q = drift @ k + h * A.T @ y / tau**2, drift @ Q @ drift.T + 2 * h * eye
        F, c = L @ F, L @ c + k
        m, C = F @ m + c, F @ C @ F.T + Q + sigma_next**2 * eye
    return m, C


def prox(A, y, x, rho):
    return np.linalg.solve(A.T @ A + rho * np.eye(len(x)), A.T @ y + rho * x)


def diffpir_step(truth, A, y, t, s, sigma_y, lam, zeta):
    """x_s = F x_t + c + sd z."""
    n = len(truth.mean)
    rho = lam * sigma_y**2 / SIGMA[t] ** 2
    G, k = _affine(truth, t)
    pull = np.linalg.inv(A.T @ A + rho * np.eye(n))
    F0, c0 = rho * pull @ G, pull @ (A.T @ y + rho * k)
    ratio = math.sqrt((1 - ABAR[s]) * (1 - zeta) / (1 - ABAR[t]))
    keep = math.sqrt(ABAR[s]) - ratio * math.sqrt(ABAR[t])
    return keep * F0 + ratio * np.eye(n), keep * c0, math.sqrt((1 - ABAR[s]) * zeta)


def diffpir(truth, A, y, noise, pairs, sigma_y, lam, zeta, clip=False):
    x = noise["x_T"]
    for (t, s), z in zip(pairs, noise["step"], strict=True):
        G, k = _affine(truth, t)
        x0_hat = np.clip(G @ x + k, -1, 1) if clip else G @ x + k
        x0 = prox(A, y, x0_hat, lam * sigma_y**2 / SIGMA[t] ** 2)
        eps_hat = (x - math.sqrt(ABAR[t]) * x0) / math.sqrt(1 - ABAR[t])
        fresh = math.sqrt(1 - zeta) * eps_hat + math.sqrt(zeta) * z
        x = math.sqrt(ABAR[s]) * x0 + math.sqrt(1 - ABAR[s]) * fresh
    return x


def diffpir_moments(truth, A, y, pairs, sigma_y, lam, zeta):
    m, C = np.zeros(A.shape[1]), np.eye(A.shape[1])
    for t, s in pairs:
        F, c, sd = diffpir_step(truth, A, y, t, s, sigma_y, lam, zeta)
        m, C = F @ m + c, F @ C @ F.T + sd**2 * np.eye(len(m))
    return m, C


def pnp_admm(truth, A, y, start, sigmas, rhos, clip=False):
    """For all columns of y and start. rhos(sigma_t) is the penalty at a level, moved to its timestep first."""
    z, u, rho = start, np.zeros_like(start), None
    for sigma in sigmas:
        t = nearest(sigma)
        rho = rhos(SIGMA[t])
        x = prox(A, y, z - u, rho)
        G, k = _affine(truth, t)
        z = G @ (math.sqrt(ABAR[t]) * (x + u)) + k[:, None]
        z = np.clip(z, -1, 1) if clip else z
        u = u + x - z
    return prox(A, y, z - u, rho)


@functools.cache
def _affine(truth, t):
    return truth.affine(t)


def _pairs(times):
    return list(zip(times, [*times[1:], -1], strict=True))
