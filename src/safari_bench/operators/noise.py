"""Measurement noise, with typed units.

A law takes the noiseless y on the [-1, 1] scale and returns the noisy one. It draws from the streams' purpose
"measurement", per image, and leaves y untouched where it is not observed: zeros in a hole stay exactly zero.
``sigma_y`` is the standard deviation on [-1, 1] that samplers are told: exact for Gaussian noise and none, for the
other laws the nominal value their class documents.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from safari_bench.operators.contract import Operator, Unsupported
from safari_bench.rng import Streams
from safari_bench.shapes import Measurement

__all__ = ["Gaussian", "NoNoise", "Noise", "Poisson", "Range", "SaltPepper", "Speckle", "expect"]

#: the image scale a sigma is stated on: [-1, 1] (DPS, DAPS, InverseBench) or [0, 1] (DDRM, DiffPIR, RED-diff).
Range = Literal["minus_one_one", "zero_one"]

_WIDTH = {"minus_one_one": 2.0, "zero_one": 1.0}


def expect(noise: "Noise", name: str, holds: bool, expected: str) -> None:
    """Raise ValueError unless the law's field of that name is what is expected."""
    if not holds:
        raise ValueError(f"{type(noise).__name__} noise: got {name} {getattr(noise, name)!r}; expected {expected}.")


class Noise(ABC):
    """What is added to, or done to, the noiseless measurement."""

    #: whether the law speaks of intensities, so that y must be a picture on [-1, 1].
    needs_picture: ClassVar[bool] = True

    @property
    @abstractmethod
    def sigma_y(self) -> float:
        """Standard deviation on the [-1, 1] scale that samplers are told, >= 0."""

    @abstractmethod
    def _corrupt(self, y: Measurement, streams: Streams) -> Measurement:
        """y with noise everywhere, same shape."""

    def __call__(self, y: Measurement, streams: Streams, observed: Tensor | None = None) -> Measurement:
        """y with noise where ``observed`` (broadcastable to y; None: everywhere) is 1, unchanged elsewhere."""
        noisy = self._corrupt(y, streams)
        return noisy if observed is None else torch.where(observed > 0, noisy, y)

    def check(self, operator: Operator) -> None:
        """Raise Unsupported if the law makes no sense of this operator's measurements."""
        if self.needs_picture and not operator.image_like:
            raise Unsupported(
                f"{type(self).__name__} noise needs a picture; {type(operator).__name__} does not measure one"
            )


@dataclass(frozen=True)
class NoNoise(Noise):
    """y as it is."""

    needs_picture: ClassVar[bool] = False

    @property
    def sigma_y(self) -> float:
        """0."""
        return 0.0

    def _corrupt(self, y: Measurement, streams: Streams) -> Measurement:
        return y


@dataclass(frozen=True)
class _Scaled(Noise):
    """A law with a standard deviation, stated on the scale ``range`` names.

    Raises:
        ValueError: sigma is outside [0, 100], or range is unknown.
    """

    sigma: float
    range: Range

    def __post_init__(self) -> None:
        expect(self, "sigma", 0 <= self.sigma <= 100, "a number in [0, 100]; for no noise choose the law none")
        expect(self, "range", self.range in _WIDTH, f"one of {', '.join(_WIDTH)}: the image scale sigma is stated on")

    @property
    def scaled_sigma(self) -> float:
        """sigma on the [-1, 1] scale; the only place where the unit is converted."""
        return self.sigma * _WIDTH["minus_one_one"] / _WIDTH[self.range]


@dataclass(frozen=True)
class Gaussian(_Scaled):
    """y + sigma z. ``sigma_y`` is exact: sigma 0.05 with range zero_one is 0.1."""

    needs_picture: ClassVar[bool] = False

    @property
    def sigma_y(self) -> float:
        """sigma on the [-1, 1] scale."""
        return self.scaled_sigma

    def _corrupt(self, y: Measurement, streams: Streams) -> Measurement:
        return y + self.sigma_y * streams.normal("measurement", y.shape[1:])


@dataclass(frozen=True)
class Speckle(_Scaled):
    """y + u sigma z with u = (y + 1) / 2 the intensity on [0, 1]: noise in proportion to the intensity.

    sigma is the standard deviation at white; ``sigma_y`` is that at mid grey, half of it.
    """

    @property
    def sigma_y(self) -> float:
        """The standard deviation at mid grey, half of that at white."""
        return self.scaled_sigma / 2

    def _corrupt(self, y: Measurement, streams: Streams) -> Measurement:
        return y + (y + 1) / 2 * self.scaled_sigma * streams.normal("measurement", y.shape[1:])


@dataclass(frozen=True)
class Poisson(Noise):
    """Photon counts: u = (y + 1) / 2 becomes Poisson(255 rate u) / (255 rate), 255 rate photons at white as in DPS.

    Intensities below 0 count as 0; the result is not clipped, so that it stays unbiased (DPS clips it to [-1, 1]).
    ``sigma_y`` is the standard deviation at mid grey, sqrt(2 / (255 rate)).

    Raises:
        ValueError: rate is outside [1e-6, 1e6].
    """

    rate: float

    def __post_init__(self) -> None:
        expect(self, "rate", 1e-6 <= self.rate <= 1e6, "a number in [1e-6, 1e6]; 255 rate photons make white")

    @property
    def sigma_y(self) -> float:
        """The standard deviation at mid grey."""
        return math.sqrt(2 / (255 * self.rate))

    def _corrupt(self, y: Measurement, streams: Streams) -> Measurement:
        photons = 255 * self.rate
        means = (photons * (y.detach().cpu().double() + 1) / 2).clamp_min(0).numpy()
        counts = np.stack([g.poisson(m) for g, m in zip(streams.generators("measurement"), means, strict=True)])
        return torch.from_numpy(2 * counts / photons - 1).to(y)


@dataclass(frozen=True)
class SaltPepper(Noise):
    """Each entry, channels apart, becomes -1 or 1 with probability fraction / 2 each.

    ``sigma_y`` is the root mean square error at mid grey, sqrt(fraction).

    Raises:
        ValueError: fraction is outside [0, 1].
    """

    fraction: float

    def __post_init__(self) -> None:
        expect(self, "fraction", 0 <= self.fraction <= 1, "a number in [0, 1], the share of entries that is replaced")

    @property
    def sigma_y(self) -> float:
        """The root mean square error at mid grey."""
        return math.sqrt(self.fraction)

    def _corrupt(self, y: Measurement, streams: Streams) -> Measurement:
        u = streams.uniform("measurement", y.shape[1:])
        return torch.where(u < self.fraction / 2, -1, torch.where(u < self.fraction, 1, y))
