"""Diffusion UNets as diffusers keeps them: config.json, scheduler_config.json, weights as safetensors.

The prior that ships and checkpoints at paper scale become the same adapter, `UNetPrior`, here.
"""

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from safari_bench.diffusion import EpsDenoiser, Prediction, Schedule, VDenoiser
from safari_bench.priors import sanity
from safari_bench.priors.files import PriorError, sha256_of
from safari_bench.priors.folder import CONFIG, WEIGHTS, Folder, locate, read_json
from safari_bench.shapes import Image

if TYPE_CHECKING:
    from diffusers import UNet2DModel  # slow to import: where a network is made, not before

__all__ = ["Folded", "PriorError", "UNetPrior", "load", "save"]

_ADAPTERS: dict[str, type[EpsDenoiser | VDenoiser]] = {"epsilon": EpsDenoiser, "v_prediction": VDenoiser}
#: gradients inside a float16 network are multiplied by this: small ones would be zero (Micikevicius et al., ICLR 2018)
_GRADIENT_SCALE = 1024.0
#: names that attention layers had in checkpoints of 2022, such as google/ddpm-*
_FORMER_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


class Folded(nn.Module):
    """A UNet that sees pictures with f x f neighbouring pixels folded into channels.

    Folding by 2 makes a network of given width about four times cheaper (Shi et al., CVPR 2016, the reverse of
    sub-pixel convolution). f follows from the network's input channels, 3 f^2; f = 1 is the plain network.
    """

    def __init__(self, unet: "UNet2DModel") -> None:
        super().__init__()
        channels = unet.config.in_channels
        self.fold = math.isqrt(channels // 3)
        if channels != 3 * self.fold**2:
            raise PriorError(f"network with {channels} input channels; expected 3 f^2 for RGB: 3, 12, 27, ...")
        self.unet = unet
        #: sides of pictures must be multiples of this
        self.stride = self.fold * 2 ** (len(unet.config.block_out_channels) - 1)
        trained = self.fold * unet.config.sample_size if isinstance(unet.config.sample_size, int) else 64
        #: side of the pictures it was trained on, 64 where the network does not say; a multiple of `stride`
        self.side = max(1, trained // self.stride) * self.stride
        #: floating type that the UNet computes in, or None for that of its input
        self.autocast: torch.dtype | None = None
        self._compiled: Callable[..., Any] | None = None

    def lay_out(self, *, compile_it: bool, channels_last: bool) -> None:
        """Choose how the UNet is executed; what it computes stays the same up to rounding."""
        self.unet.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        if not compile_it:
            self._compiled = None
        elif self._compiled is None:
            # MMPS goes back through one call several times, which donated buffers rule out. The tag keeps torch from
            # code on disk that was compiled with them: it loads that in silence, and the second gradient is wrong.
            torch._functorch.config.donated_buffer = False
            torch.compiler.config.cache_key_tag = "safari_bench without donated buffers"
            self._compiled = torch.compile(self.unet.forward)

    def check(self, h: int, w: int) -> None:
        """Refuse pictures of h x w pixels that cannot be halved often enough.

        Raises:
            ValueError: sides that are not multiples of `stride`.
        """
        if h % self.stride or w % self.stride:
            raise ValueError(
                f"image of {h} x {w}: this prior's network halves its input, so sides must be multiples of "
                f"{self.stride}; choose another dataset.size, or prior=gaussian, which takes any"
            )

    def forward(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """The network's output in picture form, (b, 3 or 6, h, w).

        Raises:
            ValueError: sides that are not multiples of `stride`.
        """
        self.check(*x_t.shape[-2:])
        call: Callable[..., Any] = self._compiled or self.unet
        x = F.pixel_unshuffle(x_t, self.fold)
        output: Tensor
        if self.autocast is None:
            output = call(x, timesteps).sample
            return F.pixel_shuffle(output, self.fold)
        scale = _GRADIENT_SCALE if self.autocast is torch.float16 else 1.0
        with torch.autocast(x.device.type, self.autocast):
            output = call(_scale_gradient(x, 1 / scale), timesteps).sample
        return F.pixel_shuffle(_scale_gradient(output.to(x_t.dtype), scale), self.fold)


def _scale_gradient(x: Tensor, factor: float) -> Tensor:
    """x itself, with a gradient that is multiplied by factor on its way back."""
    if factor != 1.0 and x.requires_grad:
        x = x.view_as(x)
        x.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
    return x


class UNetPrior:
    """A checkpoint as a Denoiser.

    Attributes:
        sha256: of the weights file.
        settings: what decides the network's output and is not in the weights; part of the run id.
        network: takes (x_t, timesteps); its parameters do not require gradients.
    """

    def __init__(
        self,
        network: Folded,
        adapter: EpsDenoiser | VDenoiser,
        sha256: str,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.schedule = adapter.schedule
        self.sha256 = sha256
        self.settings = dict(settings or {})
        self._adapter = adapter

    @property
    def side(self) -> int:
        """Side of the pictures it was trained on, px."""
        return int(self.network.side)

    @property
    def stride(self) -> int:
        """Sides of pictures must be multiples of this."""
        return int(self.network.stride)

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        """See `Denoiser.predict`. The network moves to the device and the floating type of x_t."""
        self.network.to(x_t.device, x_t.dtype)
        return self._adapter.predict(x_t, t, clip=clip)

    def check(self, image_shape: Sequence[int]) -> None:
        """Warn of images that are not of the size the network was trained on, (c, h, w).

        Raises:
            ValueError: sides that the network cannot take at all.
        """
        h, w = image_shape[-2:]
        self.network.check(h, w)
        if (h, w) != (self.network.side, self.network.side):
            warnings.warn(
                f"images of {h} x {w}: this prior was trained on {self.network.side} x {self.network.side} and knows "
                "nothing of other sizes; prior=gaussian takes any, prior=ffhq256 and imagenet256 are for 256",
                stacklevel=2,
            )


def load(checkpoint: str, sha256: str | None = None, sanity_check: bool = True) -> UNetPrior:
    """Read a checkpoint written by diffusers or by `save`.

    Args:
        checkpoint: a folder, one that ships, or a repository on the Hugging Face Hub, see `folder.locate`.
        sha256: of the weights file; None takes any.
        sanity_check: refuse a network that does not denoise, see `sanity.check`; one call of the network.
    Raises:
        PriorError: a file is missing or damaged, the hash differs, the weights do not fit the network or are random, or
            the schedule or kind of prediction is one the samplers do not know.
    """
    folder = locate(checkpoint)
    config, scheduler = read_json(folder.config), read_json(folder.scheduler)
    if not folder.weights.is_file():
        raise PriorError(f"prior.checkpoint: no file {folder.weights}; expected the weights as {WEIGHTS}: fetch them")
    digest = sha256_of(folder.weights, sha256)
    adapter, schedule = _convention(folder.scheduler, scheduler)
    network = Folded(_unet(folder, config)).eval().requires_grad_(False)
    prior = UNetPrior(network, adapter(network, schedule), digest)
    if sanity_check:
        sanity.check(prior, network.side, str(folder.weights))
    return prior


def _convention(path: Path, scheduler: Mapping[str, Any]) -> tuple[type[EpsDenoiser | VDenoiser], Schedule]:
    """What the network predicts and at which noise levels, or a refusal."""
    kind = scheduler.get("prediction_type", "epsilon")
    if kind not in _ADAPTERS or scheduler.get("beta_schedule") != "linear":
        raise PriorError(
            f"{path}: got prediction_type {kind!r} with beta_schedule {scheduler.get('beta_schedule')!r}; expected one "
            f"of {', '.join(_ADAPTERS)} with linear"
        )
    for key in ("trained_betas", "rescale_betas_zero_snr"):
        if scheduler.get(key):
            raise PriorError(f"{path}: got {key}, which is another noise schedule than linear; choose another prior")
    try:
        steps, first, last = (scheduler[key] for key in ("num_train_timesteps", "beta_start", "beta_end"))
    except KeyError as error:
        raise PriorError(f"{path}: no {error}, which the noise schedule needs; fetch the file again") from error
    return _ADAPTERS[kind], Schedule(timesteps=steps, beta_start=first, beta_end=last)


def _unet(folder: Folder, config: dict[str, Any]) -> "UNet2DModel":
    from diffusers import UNet2DModel
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise PriorError(f"{folder.config}: got a {kind}, expected UNet2DModel, which takes pixels and no prompt")
    try:
        unet = UNet2DModel.from_config(config)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise PriorError(f"{folder.config}: diffusers cannot build this network ({error})") from error
    try:
        weights = load_file(folder.weights)
        unet.load_state_dict({_current_name(name): value for name, value in weights.items()})
    except (RuntimeError, SafetensorError) as error:  # load_state_dict names every key that is missing or too many
        said = " ".join(str(error).split())
        raise PriorError(
            f"{folder.weights}: the weights do not fit {CONFIG} beside them ({said}); fetch both files again from one "
            "source"
        ) from error
    return unet


def _current_name(name: str) -> str:
    if ".attentions." in name:
        for former, current in _FORMER_NAMES.items():
            name = name.replace(former, current)
    return name


def save(unet: "UNet2DModel", schedule: Schedule, prediction_type: str, folder: Path) -> str:
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
    partial = folder / f".{WEIGHTS}.partial"
    save_file(weights, partial, metadata={"format": "pt"})
    os.replace(partial, folder / WEIGHTS)  # a process killed here leaves the old weights or the new ones
    return sha256_of(folder / WEIGHTS, None)
