"""Data fidelity terms: how far A x0_hat is from y, as a person would judge it.

SaFaRI (Lee, Lee, Kang, arXiv 2401.17629) replaces the pixel residual of DPS by psi(y) - psi(A x0_hat), psi stacking a
spatial part (bicubic upsampling) and a frequency part (Fourier low-pass and high-pass). Every part is linear, so the
terms here take the residual r = y - A x0_hat and return squared norms, one per image.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from safari_bench.operators.contract import Operator, Unsupported
from safari_bench.ranges import NonNegative, Range, expect
from safari_bench.shapes import Measurement, PerImage

__all__ = ["Fidelity", "Perceptual", "frequency", "low_pass_power", "pixel", "spatial"]


@runtime_checkable
class Fidelity(Protocol):
    """L(r) = ||psi(y) - psi(A x0_hat)||^2 for the residual r."""

    @property
    def injective(self) -> bool:
        """Whether L = 0 only for r = 0."""
        ...

    def check(self, operator: Operator) -> None:
        """Raise Unsupported if psi makes no sense of this operator's measurements."""
        ...

    def __call__(self, r: Measurement) -> PerImage: ...


def pixel(r: Measurement) -> PerImage:
    """||r||^2, (b,)."""
    squares: Tensor = r.square().flatten(1).sum(1)
    return squares


def spatial(r: Measurement, factor: int) -> PerImage:
    """||U_k r||^2 / k^2 with U_k bicubic upsampling (a = -0.5) by k: each residual is judged with its neighbours."""
    rows, columns = (_upsampling_gram(n, factor).to(r) for n in r.shape[-2:])
    inner: Tensor = (r * (rows @ r @ columns)).flatten(1).sum(1)
    return inner / factor**2


@lru_cache(maxsize=64)
def _upsampling_gram(n: int, factor: int) -> Tensor:
    """W^T W, (n, n) float64, of torch's antialiased bicubic upsampling W of n samples by `factor`.

    U_k is separable, so ||U_k r||^2 = <r, W_h^T W_h r W_w^T W_w>: the upsampled residual need never be made.
    """
    identity = torch.eye(n, dtype=torch.float64)[None, None]
    W = F.interpolate(identity, size=(factor * n, n), mode="bicubic", antialias=True)[0, 0]
    return W.mT @ W


def frequency(r: Measurement, low: float, high: float, cutoff: float) -> PerImage:
    """low ||M_low F r||^2 + high ||M_high F r||^2 with F the orthonormal 2-D DFT and M_low^2 + M_high^2 = 1."""
    height, width = r.shape[-2:]
    mask = low_pass_power(height, width, cutoff)[:, : width // 2 + 1]
    twice = torch.full((width // 2 + 1,), 2.0)  # r is real: every column stands for its conjugate too,
    twice[0] = 1.0  # but for the zero frequency
    if width % 2 == 0:
        twice[-1] = 1.0  # and Nyquist
    spectrum = torch.fft.rfft2(r, norm="ortho")
    power = spectrum.real.square() + spectrum.imag.square()
    total: Tensor = ((twice * (low * mask + high * (1 - mask))).to(r) * power).flatten(1).sum(1)
    return total


@lru_cache(maxsize=64)
def low_pass_power(height: int, width: int, cutoff: float) -> Tensor:
    """M_low^2 on the grid of fft2, (h, w): 1 below the cutoff, 0 above, half a cosine period of one octave between.

    Args:
        cutoff: radial frequency of half power, as a fraction of Nyquist.
    """
    f = torch.hypot(torch.fft.fftfreq(height)[:, None].double(), torch.fft.fftfreq(width)[None, :].double()) / 0.5
    octaves = torch.log2(f.clamp_min(1e-12) / cutoff)
    return 0.5 * (1 + torch.cos(math.pi * (octaves + 0.5).clamp(0, 1)))


@dataclass(frozen=True, kw_only=True)
class Perceptual:
    """The weighted sum L = w_pix ||r||^2 + w_spa ||U_k r||^2 / k^2 + w_low ||M_low F r||^2 + w_high ||M_high F r||^2.

    With masked measurements, r is zero in the hole, and U_k and F act on that masked image.
    pixel = 1 and the rest 0 is DPS to the last bit; low = high = 1 and the rest 0 is DPS to rounding.

    Args:
        pixel: w_pix >= 0.
        spatial: w_spa >= 0.
        low: w_low >= 0.
        high: w_high >= 0.
        cutoff: border between low and high, fraction of Nyquist, in (0, sqrt(2)).
        factor: k, the upsampling factor of the spatial part, 2 to 64.
    Raises:
        ValueError: a weight is negative or not finite, or cutoff or factor are out of range.
    """

    pixel: NonNegative = 0.0
    spatial: NonNegative = 0.0
    low: NonNegative = 0.0
    high: NonNegative = 0.0
    cutoff: Annotated[float, Range(0, math.sqrt(2), above=True, below=True)] = 0.25
    factor: Annotated[int, Range(2, 64)] = 2

    def __post_init__(self) -> None:
        expect(self)

    @property
    def injective(self) -> bool:
        """Whether psi keeps all of r: a pixel or spatial part, or both bands."""
        return self.pixel > 0 or self.spatial > 0 or (self.low > 0 and self.high > 0)

    def check(self, operator: Operator) -> None:
        if not operator.image_like and (self.spatial > 0 or self.low > 0 or self.high > 0):
            raise Unsupported(
                f"{type(operator).__name__} does not measure a picture, so its residual cannot be resized or "
                "Fourier-filtered; use guidance=pixel"
            )

    def __call__(self, r: Measurement) -> PerImage:
        terms = []
        if self.pixel > 0:
            terms.append(self.pixel * pixel(r))
        if self.spatial > 0:
            terms.append(self.spatial * spatial(r, self.factor))
        if self.low > 0 or self.high > 0:
            terms.append(frequency(r, self.low, self.high, self.cutoff))
        if not terms:
            return 0 * pixel(r)  # no guidance: unconditional sampling
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total
