"""Diffusion UNets in diffusers' folder layout: config.json, scheduler_config.json, weights as safetensors.

The prior that ships and checkpoints at paper scale come through this one door.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from safari_bench.diffusion import EpsDenoiser, Prediction, Schedule, VDenoiser
from safari_bench.shapes import Image

__all__ = ["Folded", "PriorError", "UNetPrior", "load", "save"]

_CONFIG, _SCHEDULER, _WEIGHTS = "config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors"
_ADAPTERS: dict[str, type[EpsDenoiser | VDenoiser]] = {"epsilon": EpsDenoiser, "v_prediction": VDenoiser}


class PriorError(Exception):
    """A prior's files are missing, damaged, or not what was asked for."""


class Folded(nn.Module):
    """A UNet that sees pictures with f x f neighbouring pixels folded into channels.

    Folding by 2 makes a network of given width about four times cheaper (Shi et al., CVPR 2016, the reverse of
    sub-pixel convolution). f follows from the network's input channels, 3 f^2; f = 1 is the plain network.
    """

    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        channels = unet.config.in_channels
        self.fold = math.isqrt(channels // 3)
        if channels != 3 * self.fold**2:
            raise PriorError(f"network with {channels} input channels; expected 3 f^2 for RGB: 3, 12, 27, ...")
        self.unet = unet
        #: sides of pictures must be multiples of this
        self.stride = self.fold * 2 ** (len(unet.config.block_out_channels) - 1)

    def forward(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """The network's output in picture form, (b, 3 or 6, h, w).

        Raises:
            ValueError: sides that are not multiples of `stride`.
        """
        h, w = x_t.shape[-2:]
        if h % self.stride or w % self.stride:
            raise ValueError(
                f"image of {h} x {w}: this prior's network halves its input, so sides must be multiples of "
                f"{self.stride}; choose another dataset.size, or prior=gaussian, which takes any"
            )
        output: Tensor = self.unet(F.pixel_unshuffle(x_t, self.fold), timesteps).sample
        return F.pixel_shuffle(output, self.fold)


class UNetPrior:
    """A checkpoint as a Denoiser.

    Attributes:
        sha256: of the weights file.
        network: takes (x_t, timesteps); its parameters do not require gradients.
    """

    def __init__(self, network: Folded, adapter: EpsDenoiser | VDenoiser, sha256: str) -> None:
        self.network = network
        self.schedule = adapter.schedule
        self.sha256 = sha256
        self._adapter = adapter

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        """See `Denoiser.predict`. The network moves to the device and the floating type of x_t."""
        self.network.to(x_t.device, x_t.dtype)
        return self._adapter.predict(x_t, t, clip=clip)


def load(checkpoint: str, sha256: str | None = None) -> UNetPrior:
    """Read a folder written by diffusers or by `save`.

    Args:
        checkpoint: the folder; a name without a slash that does not exist here is looked for among those that ship.
        sha256: of the weights file; None takes any.
    Raises:
        PriorError: a file is missing or damaged, the hash differs, the weights do not fit the network, or the schedule
            or kind of prediction is one the samplers do not know.
    """
    folder = Path(checkpoint)
    shipped = Path(__file__).parent / checkpoint
    if not folder.is_dir() and "/" not in checkpoint and shipped.is_dir():
        folder = shipped
    config, scheduler = _json(folder / _CONFIG), _json(folder / _SCHEDULER)
    digest = _verified(folder / _WEIGHTS, sha256)
    kind = scheduler.get("prediction_type", "epsilon")
    if kind not in _ADAPTERS or scheduler.get("beta_schedule") != "linear":
        raise PriorError(
            f"{folder / _SCHEDULER}: got prediction_type {kind!r} with beta_schedule "
            f"{scheduler.get('beta_schedule')!r}; expected one of {', '.join(_ADAPTERS)} with linear"
        )
    schedule = Schedule(
        timesteps=scheduler["num_train_timesteps"],
        beta_start=scheduler["beta_start"],
        beta_end=scheduler["beta_end"],
    )
    network = Folded(_unet(folder, config)).eval().requires_grad_(False)
    return UNetPrior(network, _ADAPTERS[kind](network, schedule), digest)


def _unet(folder: Path, config: dict[str, Any]) -> UNet2DModel:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    unet = UNet2DModel.from_config(config)
    try:
        unet.load_state_dict(load_file(folder / _WEIGHTS))
    except (RuntimeError, SafetensorError) as error:  # load_state_dict names every key that is missing or too many
        raise PriorError(
            f"{folder / _WEIGHTS}: the weights do not fit {_CONFIG} beside them ({error}); fetch both files again "
            "from one source"
        ) from error
    return unet


def _json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PriorError(
            f"prior.checkpoint: no file {path} ({error.strerror}); expected a diffusers folder with {_CONFIG}, "
            f"{_SCHEDULER} and {_WEIGHTS}: give its path with prior.checkpoint=..."
        ) from error
    except ValueError as error:
        raise PriorError(f"{path}: not JSON ({error}); fetch the file again") from error
    return values


def _verified(path: Path, expected: str | None) -> str:
    if not path.is_file():
        raise PriorError(f"prior.checkpoint: no file {path}; expected the weights as {_WEIGHTS}: fetch or export them")
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and got != expected:
        raise PriorError(
            f"{path}: sha256 is {got}, expected {expected}; the file is damaged or another checkpoint: fetch it again, "
            "or say prior.sha256=null to take it as it is"
        )
    return got


def save(unet: UNet2DModel, schedule: Schedule, prediction_type: str, folder: Path) -> str:
    """Write a folder that `load` and diffusers read, weights in half precision.

    Returns:
        sha256 of the weights file.
    """
    from diffusers import DDPMScheduler
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    unet.save_config(folder)
    DDPMScheduler(
        num_train_timesteps=schedule.timesteps,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule="linear",
        prediction_type=prediction_type,
        clip_sample=False,
    ).save_config(folder)
    weights = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in unet.state_dict().items()}
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    return _verified(folder / _WEIGHTS, None)
