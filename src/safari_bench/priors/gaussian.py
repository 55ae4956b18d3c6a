"""A stationary Gaussian image prior: closed-form x0_hat, any size, no weights to download.

Images are N(mu, C). mu is one colour; C is diagonal in the Fourier basis crossed with a fixed orthonormal colour basis
Q (the eigenvectors of the colour covariance), with one radial power spectrum per axis of Q. Boundaries are periodic.

E[x | x_t] = mu + sqrt(abar) C (abar C + (1 - abar) I)^{-1} (x_t - sqrt(abar) mu): one FFT pair and one 3x3 mix.

The shipped spectrum, gaussian_photos.json, is fitted by `fit` on the train photographs alone
(`python -m recipes.fit gaussian`).
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safari_bench.diffusion import Prediction, Schedule, from_x0
from safari_bench.shapes import Image

__all__ = ["GaussianPrior", "Spectrum", "fit", "load"]

_BINS = 14
_REMEDY = "in a checkout of the repository, python -m recipes.fit gaussian FILE writes one"


@dataclass(frozen=True)
class Spectrum:
    """Mean colour, colour basis and radial power of a stationary Gaussian.

    Attributes:
        mean: (c,) mean colour on [-1, 1].
        basis: (c, c), columns are the colour axes Q.
        mean_variance: (c,) variance, over images, of an image's mean along each axis of Q. It is all but independent of
            the image's size, unlike the value a power law would take at frequency zero, so it is kept apart from it.
        frequency: (k,) increasing radial frequencies, cycles per pixel, > 0.
        power: (c, k) E|F z|^2 of each axis for an orthonormal DFT F; independent of the image's size.
    """

    mean: tuple[float, ...]
    basis: tuple[tuple[float, ...], ...]
    mean_variance: tuple[float, ...]
    frequency: tuple[float, ...]
    power: tuple[tuple[float, ...], ...]

    def on_grid(self, height: int, width: int) -> NDArray[np.float64]:
        """Power at the frequencies of rfft2, (c, h, w // 2 + 1).

        Linear in log-log, continued by its end slopes; the zero frequency is that of `mean_variance`.
        """
        f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
        f[0, 0] = 1.0  # a place holder: a power law has no value at zero
        knots, log_f = np.log(self.frequency), np.log(f)
        power = np.stack([np.exp(_interpolate(log_f, knots, np.log(p))) for p in self.power])
        power[:, 0, 0] = height * width * np.array(self.mean_variance)
        return power


def _interpolate(
    x: NDArray[np.float64], knots: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Piecewise linear through (knots, values), continued linearly at both ends; constant if there is one knot."""
    if len(knots) == 1:
        return np.full_like(x, values[0])
    segment = np.clip(np.searchsorted(knots, x) - 1, 0, len(knots) - 2)
    slope = np.diff(values) / np.diff(knots)
    return values[segment] + slope[segment] * (x - knots[segment])


class GaussianPrior:
    """The Denoiser of a `Spectrum`.

    Attributes:
        sha256: digest of the spectrum; enters the run id.
    """

    def __init__(self, spectrum: Spectrum, schedule: Schedule | None = None) -> None:
        self.spectrum = spectrum
        self.schedule = schedule or Schedule()
        self.sha256 = hashlib.sha256(json.dumps(asdict(spectrum)).encode()).hexdigest()
        self._power: dict[tuple[int, int], Tensor] = {}

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        """See `Denoiser.predict`. Exact: x0_hat is E[x | x_t].

        Raises:
            ValueError: the image has another number of channels than the spectrum.
        """
        mean, _, _ = self._tensors(x_t)
        abar = self.schedule.abar(t)
        centred = x_t - math.sqrt(abar) * mean
        x0_hat = mean + self.filter(centred, lambda power: math.sqrt(abar) * power / (abar * power + (1 - abar)))
        return from_x0(self.schedule, x_t, x0_hat, t, None, clip)

    def mean(self, like: Image) -> Image:
        """mu, of the shape, type and device of like."""
        return self._tensors(like)[0].expand_as(like)

    def covariance(self, x: Image) -> Image:
        """C x, (b, c, h, w)."""
        return self.filter(x, lambda power: power)

    def filter(self, v: Image, function: Callable[[Tensor], Tensor]) -> Image:
        """f(C) v for a function f of C's eigenvalues: C itself, its inverse, a resolvent.

        Args:
            function: of the eigenvalues, (c, h, w // 2 + 1): one per axis of Q and frequency of rfft2. What it returns
                broadcasts against (b, c, h, w // 2 + 1).
        """
        _, basis, power = self._tensors(v)
        along = torch.einsum("cd,bchw->bdhw", basis, v)
        filtered = torch.fft.irfft2(function(power) * torch.fft.rfft2(along), s=v.shape[-2:])
        return torch.einsum("cd,bdhw->bchw", basis, filtered)

    def sample(self, z: Image) -> Image:
        """Exact draws from the prior, from standard normal z, (b, c, h, w)."""
        mean, basis, power = self._tensors(z)
        coloured = torch.fft.irfft2(power.sqrt() * torch.fft.rfft2(z), s=z.shape[-2:])
        return mean + torch.einsum("cd,bdhw->bchw", basis, coloured)

    def check(self, image_shape: Sequence[int]) -> None:
        """Refuse images that the spectrum says nothing about.

        Args:
            image_shape: (c, h, w).
        Raises:
            ValueError: another number of channels than the spectrum's.
        """
        if image_shape[0] != len(self.spectrum.mean):
            raise ValueError(
                f"the Gaussian prior is fitted for {len(self.spectrum.mean)} channels, got images of {image_shape[0]}; "
                "use a dataset with as many channels, or fit another spectrum"
            )

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.check(like.shape[1:])
        _, height, width = like.shape[1:]
        if (height, width) not in self._power:
            self._power[height, width] = torch.from_numpy(self.spectrum.on_grid(height, width))
        mean = torch.tensor(self.spectrum.mean, dtype=like.dtype, device=like.device)[:, None, None]
        basis = torch.tensor(self.spectrum.basis, dtype=like.dtype, device=like.device)
        return mean, basis, self._power[height, width].to(like)


def fit(images: Sequence[NDArray[np.float64]]) -> Spectrum:
    """Fit mean colour, colour basis and radial power to photographs.

    Args:
        images: (c, h, w) arrays on [-1, 1], square or not, any sizes; frequencies are in cycles per pixel.
    Returns:
        the spectrum, with power averaged over images in logarithmic bins. A Hann window keeps the jump between opposite
        borders, which a periodic prior cannot have, out of the high frequencies. It smears each image's mean over one
        frequency step, so the lowest two steps of every image are left out.
    """
    from scipy.signal.windows import hann  # slow to import, and only a fit needs it

    pixels = np.concatenate([image.reshape(image.shape[0], -1) for image in images], axis=1)
    mean = pixels.mean(1)
    basis = np.linalg.eigh(np.cov(pixels))[1][:, ::-1]
    edges = np.geomspace(2 / max(max(image.shape[1:]) for image in images), math.sqrt(0.5) * 1.001, _BINS + 1)
    total, count, radius = np.zeros((len(mean), _BINS)), np.zeros(_BINS), np.zeros(_BINS)
    for image in images:
        height, width = image.shape[1:]
        window = np.outer(hann(height, sym=False), hann(width, sym=False))
        window /= np.sqrt((window**2).mean())
        axes = np.tensordot(basis.T, image - mean[:, None, None], axes=1)
        power = np.abs(np.fft.fft2(axes * window, norm="ortho")) ** 2
        f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
        place = np.digitize(f.ravel(), edges) - 1
        inside = (place >= 0) & (f.ravel() >= 2 / min(height, width))
        count += np.bincount(place[inside], minlength=_BINS)
        radius += np.bincount(place[inside], np.log(f.ravel()[inside]), minlength=_BINS)
        for axis in range(len(mean)):
            total[axis] += np.bincount(place[inside], power[axis].ravel()[inside], minlength=_BINS)
    filled = count > 0
    return Spectrum(
        mean=_rounded(mean),
        basis=tuple(_rounded(row) for row in basis),
        mean_variance=_rounded(np.var([basis.T @ image.mean((1, 2)) for image in images], axis=0)),
        frequency=_rounded(np.exp(radius[filled] / count[filled])),
        power=tuple(_rounded(row[filled] / count[filled]) for row in total),
    )


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Nine digits, so that the file does not depend on the last bits of a linear algebra library."""
    return tuple(float(f"{v:.9g}") for v in values)


def load(checkpoint: str | None = None, *, schedule: Schedule | None = None) -> GaussianPrior:
    """The shipped prior, or the one in the JSON file `checkpoint`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a spectrum.
    """
    source = Path(checkpoint) if checkpoint else resources.files("safari_bench.priors").joinpath("gaussian_photos.json")
    try:
        fields = json.loads(source.read_text(encoding="utf-8"))
        spectrum = Spectrum(
            mean=tuple(fields["mean"]),
            basis=tuple(map(tuple, fields["basis"])),
            mean_variance=tuple(fields["mean_variance"]),
            frequency=tuple(fields["frequency"]),
            power=tuple(map(tuple, fields["power"])),
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(f"prior.checkpoint: no file {source}; {_REMEDY}") from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"prior.checkpoint: {source} is not a fitted spectrum ({error}); {_REMEDY}") from error
    return GaussianPrior(spectrum, schedule)
