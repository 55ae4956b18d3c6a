"""An independent float64 numpy account of DDRM, DDNM and ILVR under a Gaussian prior.

Every step of the three is x_s = P x0_hat + Q eps_hat + c + R z + R' z', with dense matrices from A's dense SVD. The
same matrices run a trajectory and give the exact mean and covariance of the output. Nothing here calls the package.
"""

import math
from typing import NamedTuple

import numpy as np

from exact import ABAR, ancestral_sd, grid


class Step(NamedTuple):
    """x_s = P x0_hat + Q eps_hat + c + sum of R[purpose] z[purpose]."""

    P: np.ndarray
    Q: np.ndarray
    c: np.ndarray
    R: dict[str, np.ndarray]


def leading(steps: int) -> list[tuple[int, int]]:
    times = [i * (1000 // steps) for i in range(steps)][::-1]
    return list(zip(times, [*times[1:], -1], strict=True))


GRIDS = {"uniform": grid, "leading": leading}


def sigma(t: int) -> float:
    return math.sqrt((1.0 - ABAR[t]) / ABAR[t])


class Spectral:
    """V, the singular values with those that carry no digits at zero, and S^+ U^T y."""

    def __init__(self, A: np.ndarray, y: np.ndarray) -> None:
        U, s, Vt = np.linalg.svd(A)
        s = np.append(s, np.zeros(len(Vt) - len(s)))
        self.V, self.s = Vt.T, np.where(s < 1e-6 * s.max(), 0, s)
        coefficients = np.append(U.T @ y, np.zeros(max(0, len(Vt) - len(y))))[: len(Vt)]
        self.ybar = np.array([u / s if s else 0.0 for u, s in zip(coefficients, self.s, strict=True)])

    def matrix(self, per_direction: list[float]) -> np.ndarray:
        return (self.V * np.array(per_direction)) @ self.V.T


def ddrm_start(spectral, sigma_y, T, start):
    """(c, R) of x_T = c + R z."""
    means, sds = [], []
    for s, y in zip(spectral.s, spectral.ybar, strict=True):
        informed = s > 0 and sigma(T) >= sigma_y / s
        means.append(y if informed else 0.0)
        sds.append(math.sqrt(sigma(T) ** 2 - (sigma_y / s) ** 2) if informed else sigma(T))
    scale = {"sqrt_abar": math.sqrt(ABAR[T]), "inverse_sigma": 1 / sigma(T)}[start]
    return scale * spectral.V @ np.array(means), scale * spectral.matrix(sds)


def ddrm_step(spectral, sigma_y, s, eta, eta_b, at_equality):
    """One coefficient at a time: weights of x0_hat, eps_hat, 1 and z. Also returns which rules were met."""
    rows, met, sg = [], set(), sigma(s)
    for s_i, y in zip(spectral.s, spectral.ybar, strict=True):
        if s_i == 0 or (at_equality == "prior" and sg == sigma_y / s_i):
            met.add("unseen" if s_i == 0 else "equal")
            rows.append((1.0, math.sqrt(1 - eta**2) * sg, 0.0, eta * sg))
        elif sg < sigma_y / s_i:
            met.add("noisier")
            pull = math.sqrt(1 - eta**2) * sg * s_i / sigma_y
            rows.append((1.0 - pull, 0.0, pull * y, eta * sg))
        else:
            met.add("cleaner")
            rows.append((1 - eta_b, 0.0, eta_b * y, math.sqrt(max(sg**2 - (eta_b * sigma_y / s_i) ** 2, 0.0))))
    P, Q, c, R = (math.sqrt(ABAR[s]) * np.array(column) for column in zip(*rows, strict=True))
    return Step(spectral.matrix(P), spectral.matrix(Q), spectral.V @ c, {"step": spectral.matrix(R)}), met


def ddnm_step(spectral, sigma_y, s, eta):
    a, st, kept = math.sqrt(ABAR[s]), math.sqrt(1 - ABAR[s]), math.sqrt(1 - eta**2)
    rows = []
    for s_i, y in zip(spectral.s, spectral.ybar, strict=True):
        if s_i == 0:
            rows.append((a, st * kept, 0.0, st * eta))
        elif sigma_y == 0:
            rows.append((0.0, st * kept, a * y, st * eta))
        elif st >= a * sigma_y / s_i:
            rows.append((0.0, 0.0, a * y, math.sqrt(st**2 - (a * sigma_y / s_i) ** 2)))
        else:
            weight = st * kept / (a * sigma_y / s_i)
            rows.append((a * (1 - weight), 0.0, a * weight * y, st * eta))
    P, Q, c, R = (np.array(column) for column in zip(*rows, strict=True))
    return Step(spectral.matrix(P), spectral.matrix(Q), spectral.V @ c, {"step": spectral.matrix(R)})


def cubic(n_out: int, n_in: int) -> np.ndarray:
    """(n_out, n_in): Keys' cubic with a = -1/2, widened when it shrinks, weights renormalised at the border."""
    scale = n_in / n_out
    rows = np.zeros((n_out, n_in))
    for i in range(n_out):
        for j in range(n_in):
            d = abs((j + 0.5) - (i + 0.5) * scale) / max(scale, 1.0)
            if d < 1:
                rows[i, j] = 1.5 * d**3 - 2.5 * d**2 + 1
            elif d < 2:
                rows[i, j] = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return rows / rows.sum(1, keepdims=True)


def resizers(shape: tuple[int, int, int], factor: int) -> tuple[np.ndarray, np.ndarray]:
    """(down, up) as dense matrices on flattened images."""
    c, h, w = shape
    down = np.kron(np.eye(c), np.kron(cubic(h // factor, h), cubic(w // factor, w)))
    up = np.kron(np.eye(c), np.kron(cubic(h, h // factor), cubic(w, w // factor)))
    return down, up


def ilvr_step(projector, reference, t, s, level, corrected, var_fraction=None):
    """projector: phi, or A^+ A; reference: what it makes of the noiseless reference x_ref, up(y) or A^+ y."""
    a, b, n = ABAR[t], ABAR[s], len(reference)
    of_x0 = math.sqrt(b) * (1 - a / b) / (1 - a)
    of_xt = math.sqrt(a / b) * (1 - b) / (1 - a)
    weights = of_x0 + of_xt * math.sqrt(a), of_xt * math.sqrt(1 - a), ancestral_sd(t, s, var_fraction)
    if not corrected:
        P, Q, R = (weight * np.eye(n) for weight in weights)
        return Step(P, Q, np.zeros(n), {"step": R})
    P, Q, R = (weight * (np.eye(n) - projector) for weight in weights)
    abar = ABAR[{"next": s, "current": t}[level]]
    return Step(P, Q, math.sqrt(abar) * reference, {"step": R, "reference": math.sqrt(1 - abar) * projector})


def run(truth, pairs, start, steps, noise, clip=False):
    """The end of one image's trajectory. start: (c, R) of x_T; noise: purpose -> one vector per draw."""
    draws = {purpose: iter(vectors) for purpose, vectors in noise.items()}
    x = start[0] + start[1] @ next(draws["x_T"])
    for (t, _), step in zip(pairs, steps, strict=True):
        G, k = truth.affine(t)
        x0 = np.clip(G @ x + k, -1, 1) if clip else G @ x + k
        eps = (x - math.sqrt(ABAR[t]) * x0) / math.sqrt(1 - ABAR[t])
        x = step.P @ x0 + step.Q @ eps + step.c + sum(R @ next(draws[purpose]) for purpose, R in step.R.items())
    return x


def moments(truth, pairs, start, steps):
    """Exact mean and covariance of the output for one y."""
    m, C = start[0], start[1] @ start[1].T
    for (t, _), step in zip(pairs, steps, strict=True):
        G, k = truth.affine(t)
        a, n = ABAR[t], len(k)
        F = step.P @ G + step.Q @ (np.eye(n) - math.sqrt(a) * G) / math.sqrt(1 - a)
        m = F @ m + step.P @ k - step.Q @ k * math.sqrt(a / (1 - a)) + step.c
        C = F @ C @ F.T + sum(R @ R.T for R in step.R.values())
    return m, C
