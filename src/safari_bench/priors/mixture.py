"""A Gaussian mixture image prior: closed-form x0_hat, several modes, and a posterior known exactly (room `study`).

With probability pi_k an image is N(mu_k, W_k W_k^T + s_k^2 I), W_k of low rank. All mu_k and W_k are held in one
orthonormal basis B of a space that contains them, mu_k = B^T m_k and W_k = B^T C_k, so that an image is projected once
and not once per component.

x_t is a mixture too: component k has mean sqrt(abar) mu_k and covariance abar (W_k W_k^T + s_k^2 I) + (1 - abar) I, and

    E[x | x_t] = sum_k p(k | x_t) E[x | x_t, k],

each term a linear filter along the principal axes of W_k and a plain shrinkage across them.

Small spaces are made from arrays with `Mixture.of`; the mixture for photographs of 64 px is in mixture_file.py.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from numpy import float64
from numpy.typing import NDArray
from torch import Tensor

from safari_bench.diffusion import Prediction, Schedule, from_x0
from safari_bench.shapes import Image, PerImage

__all__ = ["Mixture", "MixturePrior"]


@dataclass(frozen=True, eq=False)
class Mixture:
    """K Gaussians N(B^T m_k, B^T C_k C_k^T B + s_k^2 I) on images of one size. Tensors are float64, on the CPU.

    Attributes:
        weights: (K,) pi_k > 0, sum 1.
        basis: (R, c, h, w), orthonormal: B.
        means: (K, R): m_k.
        factors: (K, R, r): C_k.
        sd: (K,) s_k > 0.
    Raises:
        ValueError: weights are not positive with sum 1, or an s_k is not positive.
    """

    weights: Tensor
    basis: Tensor
    means: Tensor
    factors: Tensor
    sd: Tensor

    def __post_init__(self) -> None:
        if not (self.weights > 0).all() or abs(float(self.weights.sum()) - 1) > 1e-9:
            raise ValueError(f"mixture: weights must be positive with sum 1, got {self.weights.tolist()}")
        if not (self.sd > 0).all():
            raise ValueError(f"mixture: the standard deviations s_k must be positive, got {self.sd.tolist()}")

    @classmethod
    def of(
        cls,
        weights: NDArray[float64],
        means: NDArray[float64],
        factors: NDArray[float64],
        sd: NDArray[float64],
    ) -> "Mixture":
        """From images: means mu_k (K, c, h, w) and factors W_k (K, r, c, h, w), whose r images are the columns."""
        mu, W = torch.from_numpy(means).double(), torch.from_numpy(factors).double()
        vectors = torch.cat([mu.flatten(1), W.flatten(0, 1).flatten(1)])
        _, s, Vt = torch.linalg.svd(vectors, full_matrices=False)
        span = Vt[s > s.max() * 1e-12]  # everything the vectors need, to the last digit they have
        basis = span.reshape(-1, *mu.shape[1:])
        coordinates = W.flatten(2) @ span.T
        return cls(
            torch.from_numpy(weights).double(),
            basis,
            mu.flatten(1) @ span.T,
            coordinates.mT.contiguous(),
            torch.from_numpy(sd).double(),
        )

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(c, h, w)."""
        return tuple(self.basis.shape[1:])

    @property
    def rank(self) -> int:
        """Columns of each C_k."""
        return self.factors.shape[2]

    def digest(self) -> str:
        """SHA-256 of the numbers, in hex."""
        tensors = (self.weights, self.basis, self.means, self.factors, self.sd)
        return hashlib.sha256(b"".join(x.contiguous().numpy().tobytes() for x in tensors)).hexdigest()


class _Axes(NamedTuple):
    """A mixture by principal axes: C_k C_k^T = U_k diag(power_k) U_k^T."""

    log_weights: Tensor
    basis: Tensor  # (R, c h w)
    means: Tensor
    U: Tensor  # (K, R, r)
    power: Tensor  # (K, r)
    var: Tensor  # (K,) s_k^2


class _Noised(NamedTuple):
    """x_t as every component sees it."""

    log_joint: Tensor  # (b, K)
    centred: Tensor  # (b, K, R): B x_t - sqrt(abar) m_k
    along: Tensor  # (b, K, r): its part along U_k
    across: Tensor  # (b, c h w): what of x_t the basis does not span
    signal: Tensor  # (K, r): variance of x_t along U_k
    noise: Tensor  # (K,): variance of x_t across U_k


class MixturePrior:
    """The Denoiser of a `Mixture`.

    Everything is computed in float64 whatever the images are: the log weights are differences of sums over all pixels,
    and in float32 their rounding error alone could choose the component.

    Args:
        mixture: the distribution of clean images.
        schedule: noise levels.
        sha256: digest of the file the mixture was read from; by default that of its numbers.
    """

    def __init__(self, mixture: Mixture, schedule: Schedule | None = None, sha256: str | None = None) -> None:
        self.mixture = mixture
        self.schedule = schedule or Schedule()
        self.sha256 = sha256 or mixture.digest()
        U, scale, _ = torch.linalg.svd(mixture.factors, full_matrices=False)
        basis = mixture.basis.flatten(1)
        axes = _Axes(mixture.weights.log(), basis, mixture.means, U, scale**2, mixture.sd**2)
        self._devices = {torch.device("cpu"): axes}

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        """See `Denoiser.predict`. Exact: x0_hat is E[x | x_t].

        Raises:
            ValueError: images of another shape than the mixture's.
        """
        seen, axes, root = self._noised(x_t, t), self._on(x_t.device), math.sqrt(self.schedule.abar(t))
        weights = seen.log_joint.softmax(1)
        across = root * axes.var / seen.noise
        along = root * (axes.power + axes.var[:, None]) / seen.signal
        # E[x | x_t, k] in coordinates: shrunk by `across`, and by `along` instead along U_k
        turned = torch.einsum("krj,bkj->bkr", axes.U, (along - across[:, None]) * seen.along)
        inside = axes.means + across[:, None] * seen.centred + turned
        x0_hat = (weights[..., None] * inside).sum(1) @ axes.basis + (weights @ across)[:, None] * seen.across
        return from_x0(self.schedule, x_t, x0_hat.reshape(x_t.shape).to(x_t.dtype), t, None, clip)

    def log_joint(self, x_t: Image, t: int) -> Float[Tensor, "b k"]:
        """log pi_k + log p(x_t | k), float64, differentiable; t = -1 is the clean image.

        Its logsumexp over k is log p_t(x_t), its softmax p(k | x_t).

        Raises:
            ValueError: images of another shape than the mixture's.
        """
        return self._noised(x_t, t).log_joint

    def sample(self, u: PerImage, a: Float[Tensor, "b r"], z: Image) -> Image:
        """Exact draws from the prior.

        Args:
            u: uniform on [0, 1); picks the component.
            a: standard normal, one per column of C_k (`mixture.rank`).
            z: standard normal images.
        """
        self.check(z.shape[1:])
        axes = self._on(z.device)
        factors, sd = self.mixture.factors.to(z.device), axes.var.sqrt()
        k = torch.searchsorted(axes.log_weights.exp().cumsum(0), u.double(), right=True).clamp(max=len(sd) - 1)
        inside = axes.means[k] + torch.einsum("brj,bj->br", factors[k], a.double())
        x = (inside @ axes.basis).reshape(z.shape) + sd[k][:, None, None, None] * z.double()
        return x.to(z.dtype)

    def _noised(self, x_t: Image, t: int) -> _Noised:
        self.check(x_t.shape[1:])
        axes, abar = self._on(x_t.device), self.schedule.abar(t)
        pixels = x_t.double().flatten(1)
        coordinates = pixels @ axes.basis.T
        across = pixels - coordinates @ axes.basis
        centred = coordinates[:, None] - math.sqrt(abar) * axes.means
        along = torch.einsum("krj,bkr->bkj", axes.U, centred)
        noise = abar * axes.var + 1 - abar
        signal = abar * axes.power + noise[:, None]
        n, r = pixels.shape[1], along.shape[2]
        left = centred.square().sum(-1) - along.square().sum(-1) + across.square().sum(-1, keepdim=True)
        squares = left / noise + (along.square() / signal).sum(-1)
        log_det = signal.log().sum(-1) + (n - r) * noise.log()
        log_joint = axes.log_weights - 0.5 * (squares + log_det + n * math.log(2 * math.pi))
        return _Noised(log_joint, centred, along, across, signal, noise)

    def _on(self, device: torch.device) -> _Axes:
        if device not in self._devices:
            self._devices[device] = _Axes(*(x.to(device) for x in self._devices[torch.device("cpu")]))
        return self._devices[device]

    @property
    def side(self) -> int:
        """Side of its images, px."""
        return self.mixture.image_shape[-1]

    @property
    def stride(self) -> int:
        """The same: it knows no other size."""
        return self.side

    def check(self, image_shape: Sequence[int]) -> None:
        """Refuse images that the mixture says nothing about.

        Args:
            image_shape: (c, h, w).
        Raises:
            ValueError: it is not the mixture's.
        """
        expected = self.mixture.image_shape
        if tuple(image_shape) != expected:
            got, wanted = ("x".join(map(str, shape)) for shape in (image_shape, expected))
            raise ValueError(
                f"the mixture prior is a distribution of images of {wanted} (channels x height x width), got {got}; "
                f"set dataset.size={expected[1]}, or take a prior of any size such as prior=gaussian"
            )
