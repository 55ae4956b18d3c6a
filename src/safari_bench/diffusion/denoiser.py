"""What samplers see of a prior, whatever its network predicts.

An adapter turns a network's output (eps or v, with or without a learned variance) into a `Prediction`; `Counted` counts
prior calls and backward passes through it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from safari_bench.diffusion.schedule import Schedule
from safari_bench.errors import NotFinite
from safari_bench.shapes import Image

__all__ = [
    "Contained",
    "Counted",
    "Denoiser",
    "EpsDenoiser",
    "Network",
    "NotFinite",
    "Prediction",
    "VDenoiser",
    "check_finite",
    "from_x0",
]

#: (x_t, timesteps (b,)) -> output with c channels, or 2c when the variance is learned.
Network = Callable[[Tensor, Tensor], Tensor]


class Prediction(NamedTuple):
    """What a prior says about x_t.

    Attributes:
        x0_hat: estimate of E[x | x_t], (b, c, h, w).
        eps_hat: the noise it implies, always (x_t - sqrt(abar_t) x0_hat) / sqrt(1 - abar_t).
        var_fraction: position of the learned log variance between beta~ (0) and beta' (1), or None. The variance itself
            depends on the next timestep, which only the sampler knows.
    """

    x0_hat: Image
    eps_hat: Image
    var_fraction: Tensor | None = None


@runtime_checkable
class Denoiser(Protocol):
    """The only thing samplers know of a prior."""

    schedule: Schedule

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        """Predict the clean image and the noise in x_t, differentiably.

        Args:
            clip: clip x0_hat to [-1, 1] and derive eps_hat from the clipped image, as guided-diffusion does; without
                that, "eta = 1 equals DDPM" does not hold for clipped predictions.
        """
        ...


def from_x0(
    schedule: Schedule, x_t: Image, x0_hat: Image, t: int, var_fraction: Tensor | None, clip: bool
) -> Prediction:
    """The prediction that an x0_hat implies."""
    if clip:
        x0_hat = x0_hat.clamp(-1, 1)
    abar = schedule.abar(t)
    eps_hat = (x_t - math.sqrt(abar) * x0_hat) / math.sqrt(1 - abar)
    return Prediction(x0_hat, eps_hat, var_fraction)


@dataclass(frozen=True)
class _NetworkDenoiser(ABC):
    """A network with its schedule; subclasses say what its output means."""

    network: Network
    schedule: Schedule

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        timesteps = torch.full((x_t.shape[0],), t, device=x_t.device, dtype=torch.long)
        output = self.network(x_t, timesteps)
        channels = x_t.shape[1]
        if output.shape[1] not in (channels, 2 * channels):
            raise ValueError(
                f"the prior's network returned {output.shape[1]} channels for images of {channels}; expected "
                f"{channels}, or {2 * channels} with a learned variance. Check the prior's config and checkpoint"
            )
        var_fraction = None
        if output.shape[1] == 2 * channels:
            # Nichol and Dhariwal 2021, eq. 15; the network's v lies in [-1, 1].
            var_fraction = (output[:, channels:].detach() + 1) / 2
        x0_hat = self._x0(x_t, output[:, :channels], self.schedule.abar(t))
        return from_x0(self.schedule, x_t, x0_hat, t, var_fraction, clip)

    @abstractmethod
    def _x0(self, x_t: Tensor, output: Tensor, abar: float) -> Tensor: ...


class EpsDenoiser(_NetworkDenoiser):
    """A network that predicts the noise: x0_hat = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)."""

    def _x0(self, x_t: Tensor, output: Tensor, abar: float) -> Tensor:
        return (x_t - math.sqrt(1 - abar) * output) / math.sqrt(abar)


class VDenoiser(_NetworkDenoiser):
    """A network that predicts v = sqrt(abar_t) eps - sqrt(1 - abar_t) x (Salimans and Ho, ICLR 2022)."""

    def _x0(self, x_t: Tensor, output: Tensor, abar: float) -> Tensor:
        return math.sqrt(abar) * x_t - math.sqrt(1 - abar) * output


def check_finite(x: Image, where: str) -> None:
    """Raise NotFinite naming the images of the batch that hold NaN or infinity."""
    bad = ~torch.isfinite(x).flatten(1).all(1)
    if bad.any():
        raise NotFinite(bad.nonzero().flatten().tolist(), where)


class Counted:
    """A denoiser that counts what it is asked for, and stops a sampler whose iterate is no longer finite.

    Attributes:
        nfe: calls of the prior.
        n_backward: backward passes through the prior.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        self.schedule = denoiser.schedule
        self.nfe = 0
        self.n_backward = 0

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        self.nfe += 1
        check_finite(x_t, f"step {self.nfe} (t = {t})")
        if x_t.requires_grad:
            x_t = x_t.view_as(x_t)  # a node of its own: its hook fires once per backward pass through this call
            x_t.register_hook(self._count_backward)  # type: ignore[no-untyped-call]
        return self.denoiser.predict(x_t, t, clip=clip)

    def _count_backward(self, gradient: Tensor) -> None:
        self.n_backward += 1


class Contained:
    """A denoiser under which a run goes on for the other images of a batch when one is no longer finite.

    The prior is called with zeros in that image's place: as often as configured, whichever images share the batch.

    Attributes:
        lost: images that were not finite at some call, (b,).
    """

    def __init__(self, denoiser: Denoiser, batch: int) -> None:
        self.denoiser = denoiser
        self.schedule = denoiser.schedule
        self.lost = torch.zeros(batch, dtype=torch.bool)

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        bad = ~torch.isfinite(x_t).flatten(1).all(1)
        self.lost = self.lost.to(bad.device) | bad
        if bad.any():
            x_t = torch.where(bad[:, None, None, None], 0, x_t)
        return self.denoiser.predict(x_t, t, clip=clip)
