"""An independent float64 numpy account of samplers under a Gaussian prior, and streams that feed chosen noise.

Nothing here calls the package's schedule, prior, fidelity or samplers. Matrices act on images flattened to (c, h, w).
"""

import math

import numpy as np
import torch
from PIL import Image as Pillow

from safari_bench.rng import Streams

ABAR = np.append(np.cumprod(1 - np.linspace(1e-4, 2e-2, 1000)), 1.0)  # ABAR[-1] = 1


class Chosen(Streams):
    """Streams that return given arrays: noise[purpose] is a list of (b, c, h, w), one per call."""

    def __init__(self, noise: dict[str, list[np.ndarray]]) -> None:
        first = next(iter(noise.values()))[0]
        super().__init__(0, "chosen", [str(i) for i in range(len(first))], dtype=torch.float64)
        self.noise = {purpose: iter(draws) for purpose, draws in noise.items()}

    def normal(self, purpose, shape):
        draw = torch.from_numpy(next(self.noise[purpose]))
        assert draw.shape[1:] == tuple(shape)
        return draw


def grid(steps: int) -> list[tuple[int, int]]:
    times = [round(i * 999 / (steps - 1)) for i in range(steps)][::-1] if steps > 1 else [999]
    return list(zip(times, [*times[1:], -1], strict=True))


class GaussianTruth:
    """x0_hat = k_t + G_t x_t for N(mean, covariance)."""

    def __init__(self, mean: np.ndarray, covariance: np.ndarray) -> None:
        self.mean, self.covariance = mean, covariance

    def affine(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        a = ABAR[t]
        G = math.sqrt(a) * self.covariance @ np.linalg.inv(a * self.covariance + (1 - a) * np.eye(len(self.mean)))
        return G, self.mean - G @ self.mean * math.sqrt(a)


def psi_matrix(
    shape: tuple[int, int, int], pixel=0.0, spatial=0.0, low=0.0, high=0.0, cutoff=0.25, factor=2
) -> np.ndarray:
    """M with L = r^T M r, for measurements of `shape`."""
    c, h, w = shape
    M = pixel * np.eye(h * w)
    if spatial:
        columns = [
            np.asarray(
                Pillow.fromarray(e.reshape(h, w).astype(np.float32)).resize(
                    (w * factor, h * factor), Pillow.Resampling.BICUBIC
                )
            ).ravel()
            for e in np.eye(h * w)
        ]
        up = np.stack(columns, 1).astype(np.float64)
        M = M + spatial * up.T @ up / factor**2
    if low or high:
        f = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None, :]) / 0.5
        with np.errstate(divide="ignore"):
            place = np.clip(np.log2(f / cutoff) + 0.5, 0, 1)
        mask = (np.cos(np.pi * place / 2) ** 2).ravel()
        dft = np.kron(np.fft.fft(np.eye(h), norm="ortho"), np.fft.fft(np.eye(w), norm="ortho"))
        M = M + (dft.conj().T @ np.diag(low * mask + high * (1 - mask)) @ dft).real
    return np.kron(np.eye(c), M)


def dps(truth, A, y, M, zeta, rule, noise, steps, clip=False, var_fraction=None):
    """Trajectory end of x_s = DDPM(x_t) - zeta grad sqrt(L) (or grad L), for one image.

    Clipping x0_hat stops the gradient where it bites. var_fraction interpolates the log variances beta~ and beta'.
    """
    x = noise["x_T"]
    for (t, s), z in zip(grid(steps), noise["step"], strict=True):
        G, k = truth.affine(t)
        x0 = G @ x + k
        inside = np.abs(x0) <= 1 if clip else np.ones_like(x0)
        x0 = np.clip(x0, -1, 1) if clip else x0
        r = y - A @ x0
        L = r @ M @ r
        grad = -2 * G.T @ (inside * (A.T @ (M @ r)))
        scale = zeta if rule == "constant" else (zeta / (2 * math.sqrt(L)) if L > 0 else 0.0)
        x = ancestral_mean(x, x0, t, s) + ancestral_sd(t, s, var_fraction) * z - scale * grad
    return x


def ddim(truth, eta, noise, steps, clip=False):
    x = noise["x_T"]
    for (t, s), z in zip(grid(steps), noise["step"], strict=True):
        G, k = truth.affine(t)
        x0 = np.clip(G @ x + k, -1, 1) if clip else G @ x + k
        eps = (x - math.sqrt(ABAR[t]) * x0) / math.sqrt(1 - ABAR[t])
        sd = eta * math.sqrt((1 - ABAR[t] / ABAR[s]) * (1 - ABAR[s]) / (1 - ABAR[t]))
        x = math.sqrt(ABAR[s]) * x0 + sd * z + math.sqrt(1 - ABAR[s] - sd**2) * eps
    return x


def ancestral_mean(x, x0, t, s):
    a, b = ABAR[t], ABAR[s]
    return math.sqrt(b) * (1 - a / b) / (1 - a) * x0 + math.sqrt(a / b) * (1 - b) / (1 - a) * x


def ancestral_sd(t, s, var_fraction=None):
    a, b = ABAR[t], ABAR[s]
    large, small = 1 - a / b, (1 - a / b) * (1 - b) / (1 - a)
    if var_fraction is None or s == -1:
        return math.sqrt(small)
    return math.sqrt(large**var_fraction * small ** (1 - var_fraction))


def propagate(truth, step, n, steps):
    """Exact mean and covariance of the output, given the affine step (F, c, sd) at each (t, s)."""
    m, C = np.zeros(n), np.eye(n)
    for t, s in grid(steps):
        F, c, sd = step(truth, t, s)
        m, C = F @ m + c, F @ C @ F.T + sd**2 * np.eye(n)
    return m, C


def dps_step(A, y, M, zeta):
    """The constant-step rule as an affine map."""

    def step(truth, t, s):
        G, k = truth.affine(t)
        n = len(k)
        pull = 2 * zeta * G.T @ A.T @ M
        F = ancestral_mean(np.eye(n), G, t, s) - pull @ A @ G
        c = ancestral_mean(0, k, t, s) + pull @ (y - A @ k)
        return F, c, ancestral_sd(t, s)

    return step


def ddim_step(eta):
    def step(truth, t, s):
        G, k = truth.affine(t)
        sd = eta * math.sqrt((1 - ABAR[t] / ABAR[s]) * (1 - ABAR[s]) / (1 - ABAR[t]))
        c2 = math.sqrt(1 - ABAR[s] - sd**2) / math.sqrt(1 - ABAR[t])
        shrink = math.sqrt(ABAR[s]) - c2 * math.sqrt(ABAR[t])
        return shrink * G + c2 * np.eye(len(k)), shrink * k, sd

    return step
