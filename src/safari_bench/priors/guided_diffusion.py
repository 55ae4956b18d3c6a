"""Checkpoints of the guided-diffusion family (.pt), the networks of the papers that are compared.

Dhariwal and Nichol, NeurIPS 2021 (arXiv 2105.05233), official repository openai/guided-diffusion; the FFHQ network of
DPS (Chung et al., ICLR 2023) is of the same kind. The network that runs is diffusers' UNet2DModel, the weights are
converted on load. Noise prediction on the linear schedule of 1000 steps.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from safari_bench.diffusion import EpsDenoiser, Schedule
from safari_bench.priors import sanity
from safari_bench.priors.files import PriorError, named, require, sha256_of, torch_weights
from safari_bench.priors.guided_network import convert, read
from safari_bench.priors.unet import Folded, UNetPrior

if TYPE_CHECKING:
    from diffusers import UNet2DModel  # slow to import: where a network is made, not before

__all__ = ["load"]


def load(
    checkpoint: str,
    sha256: str | None = None,
    *,
    image_size: int = 256,
    num_channels: int | None = None,
    num_res_blocks: int | None = None,
    channel_mult: list[int] | None = None,
    attention_resolutions: list[int] | None = None,
    learn_sigma: bool | None = None,
    use_scale_shift_norm: bool | None = None,
    resblock_updown: bool | None = None,
    num_heads: int | None = None,
    num_head_channels: int | None = 64,
    use_new_attention_order: bool = False,
    noise_schedule: str = "linear",
    source: str = "",
    sanity_check: bool = True,
) -> UNetPrior:
    """Read a checkpoint, which holds nothing but weights. The flags have the names of the official scripts.

    Args:
        checkpoint: the .pt file.
        sha256: of the file; None takes any.
        image_size: side in pixels of the pictures it was trained on.
        num_channels, num_res_blocks, channel_mult, attention_resolutions, learn_sigma, use_scale_shift_norm,
        resblock_updown: what the weights should turn out to be; None takes what they are.
            attention_resolutions are sides of feature maps in pixels.
        num_heads: attention heads of every layer, used where num_head_channels is None.
        num_head_channels: channels per attention head, or None. It wins over num_heads, as in the official code. The
            weights do not tell; 64 in the networks of the paper.
        use_new_attention_order: which of two layouts the attention weights have; the weights do not tell either.
        noise_schedule: linear is the one that is known.
        source: where to get the file, for the messages that say it is missing or not the right one.
        sanity_check: refuse a network that does not denoise, see `sanity.check`; one call at image_size.
    Raises:
        PriorError: the file is missing, damaged, not only weights, another network than the flags say, or random.
    """
    if noise_schedule != "linear":
        raise PriorError(f"prior.noise_schedule: got {noise_schedule}, expected linear, the one that samplers know")
    num_heads = None if num_head_channels is not None else num_heads  # as in the official code
    heads = _heads(num_heads, num_head_channels)
    path = Path(checkpoint)
    expected = {
        "num_channels": num_channels,
        "num_res_blocks": num_res_blocks,
        "channel_mult": channel_mult,
        "attention_resolutions": attention_resolutions and sorted(attention_resolutions, reverse=True),
        "learn_sigma": learn_sigma,
        "use_scale_shift_norm": use_scale_shift_norm,
        "resblock_updown": resblock_updown,
    }
    require(path, source)
    with named(path, source):
        digest = sha256_of(path, sha256)
        state = torch_weights(path)
        architecture = read(state, checkpoint)
        _compare(architecture.flags(image_size), expected, checkpoint)
        # With num_heads the 32 holds a place: it divides the channels of every layer, and `_set_heads` follows.
        config = architecture.unet_config(image_size, num_head_channels or 32)
        weights = convert(state, architecture, heads, use_new_attention_order, checkpoint)
        network = Folded(_unet(config, weights, checkpoint))
    if num_heads is not None:
        _set_heads(network.unet, num_heads)
    network.eval().requires_grad_(False)
    settings = {
        "num_heads": num_heads,
        "num_head_channels": num_head_channels,
        "use_new_attention_order": use_new_attention_order,
    }
    prior = UNetPrior(network, EpsDenoiser(network, Schedule()), digest, settings)
    if sanity_check:
        with named(path, source):
            sanity.check(prior, network.side, checkpoint)
    return prior


def _heads(number: int | None, channels: int | None) -> Callable[[int], int]:
    """The number of attention heads as a function of the number of channels."""
    if number is None and channels is None:
        raise PriorError("prior.num_heads and prior.num_head_channels are both null; expected a number for one of them")

    def heads(width: int) -> int:
        count = number or width // (channels or 1)
        if count < 1 or width % count or (channels and width % channels):
            given = f"num_heads={number}" if number else f"num_head_channels={channels}"
            raise PriorError(f"prior.{given} does not divide the {width} channels of an attention layer")
        return count

    return heads


def _compare(found: Mapping[str, Any], expected: Mapping[str, Any], name: str) -> None:
    differences = [
        f"{key}: the weights have {found[key]}, the configuration says {value}"
        for key, value in expected.items()
        if value is not None and value != found[key]
    ]
    if differences:
        raise PriorError(
            f"{name}: weights of another network than the configuration describes\n  "
            + "\n  ".join(differences)
            + "\ntake the checkpoint that the configuration is for; prior=guided_diffusion takes any of the family"
        )


def _unet(config: Mapping[str, Any], weights: Mapping[str, Tensor], name: str) -> "UNet2DModel":
    from diffusers import UNet2DModel

    with torch.device("meta"):  # no memory and no random weights: every weight comes from the file, or it is an error
        unet = UNet2DModel.from_config(config)
    try:
        unet.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:  # names every key that is missing, too many or of another shape
        said = " ".join(str(error).split())
        raise PriorError(f"{name}: the weights do not fit together ({said}); fetch the file again") from error
    return unet


def _set_heads(unet: "UNet2DModel", number: int) -> None:
    """The same number of heads in every layer, which diffusers' configuration cannot say."""
    from diffusers.models.attention_processor import Attention

    for layer in unet.modules():
        if isinstance(layer, Attention):
            layer.scale = (layer.inner_dim / number) ** -0.5
            layer.heads = number
