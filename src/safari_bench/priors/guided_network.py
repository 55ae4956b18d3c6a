"""The guided-diffusion UNet as its weights describe it, and the same network under diffusers' names.

Dhariwal and Nichol, NeurIPS 2021 (arXiv 2105.05233), official repository openai/guided-diffusion. Its weights are named
by position: input_blocks.I.J, middle_block.J, output_blocks.I.J, where J counts what follows one another in a block, a
residual layer, then perhaps attention, then perhaps an upsampler. With n residual layers per level, each level takes
n + 1 input blocks, the first of level 0 being a plain convolution and that of the others a downsampler, and n + 1
output blocks, the last of which ends in an upsampler.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from safari_bench.priors.files import PriorError

__all__ = ["Architecture", "convert", "read"]

_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",  # where the number of channels changes
}
_ATTENTION = {"norm": "group_norm", "qkv": "to_", "proj_out": "to_out.0"}
_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


@dataclass(frozen=True)
class Architecture:
    """What the weights say about their network; the names are those of the official flags.

    Attributes:
        attention_levels: those with attention, 0 being the finest; the middle has it always.
    """

    num_channels: int
    num_res_blocks: int
    channel_mult: tuple[int, ...]
    attention_levels: tuple[int, ...]
    learn_sigma: bool
    use_scale_shift_norm: bool
    resblock_updown: bool

    def flags(self, image_size: int) -> dict[str, Any]:
        """The official flags; attention is named by the side of the feature map, for pictures of image_size."""
        return {
            "num_channels": self.num_channels,
            "num_res_blocks": self.num_res_blocks,
            "channel_mult": list(self.channel_mult),
            "attention_resolutions": [image_size >> level for level in self.attention_levels],
            "learn_sigma": self.learn_sigma,
            "use_scale_shift_norm": self.use_scale_shift_norm,
            "resblock_updown": self.resblock_updown,
        }

    def unet_config(self, image_size: int, head_channels: int) -> dict[str, Any]:
        """Arguments of diffusers' UNet2DModel for the same network."""
        plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")
        plain = plain if self.resblock_updown else ("DownBlock2D", "UpBlock2D")
        levels = range(len(self.channel_mult))
        down, up = (
            [kind if level in self.attention_levels else other for level in levels]
            for kind, other in zip(("AttnDownBlock2D", "AttnUpBlock2D"), plain, strict=True)
        )
        resample = "resnet" if self.resblock_updown else "conv"
        return {
            "sample_size": image_size,
            "in_channels": 3,
            "out_channels": 6 if self.learn_sigma else 3,
            "block_out_channels": [self.num_channels * mult for mult in self.channel_mult],
            "layers_per_block": self.num_res_blocks,
            "down_block_types": down,
            "up_block_types": up[::-1],
            "downsample_type": resample,
            "upsample_type": resample,
            "attention_head_dim": head_channels,
            "norm_num_groups": 32,
            "attn_norm_num_groups": 32,
            "resnet_time_scale_shift": "scale_shift" if self.use_scale_shift_norm else "default",
            "flip_sin_to_cos": True,
            "freq_shift": 0,
        }

    def layers(self) -> Iterator[tuple[str, str]]:
        """Every layer with weights: its name in the checkpoint and in diffusers. That of q, k and v ends in `to_`."""
        yield from _ENDS.items()
        yield from _within("middle_block.0", "mid_block.resnets.0", _RESIDUAL)
        yield from _within("middle_block.1", "mid_block.attentions.0", _ATTENTION)
        yield from _within("middle_block.2", "mid_block.resnets.1", _RESIDUAL)
        levels, n = len(self.channel_mult), self.num_res_blocks
        for level in range(levels):
            attention = level in self.attention_levels
            new = f"down_blocks.{level}"
            for j in range(n):
                yield from _block(f"input_blocks.{level * (n + 1) + 1 + j}", new, j, attention)
            if level < levels - 1:
                yield from self._resampler(f"input_blocks.{(level + 1) * (n + 1)}.0", f"{new}.downsamplers.0", "op")
            up = levels - 1 - level
            old, new = f"output_blocks.{up * (n + 1)}", f"up_blocks.{up}"
            for j in range(n + 1):
                old = f"output_blocks.{up * (n + 1) + j}"
                yield from _block(old, new, j, attention)
            if level:
                yield from self._resampler(f"{old}.{1 + attention}", f"{new}.upsamplers.0", "conv")

    def _resampler(self, old: str, new: str, convolution: str) -> Iterator[tuple[str, str]]:
        if self.resblock_updown:
            yield from _within(old, new, _RESIDUAL)
        else:
            yield f"{old}.{convolution}", f"{new}.conv"


def _within(old: str, new: str, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for ours, theirs in names.items():
        yield f"{old}.{ours}", f"{new}.{theirs}"


def _block(old: str, new: str, place: int, attention: bool) -> Iterator[tuple[str, str]]:
    yield from _within(f"{old}.0", f"{new}.resnets.{place}", _RESIDUAL)
    if attention:
        yield from _within(f"{old}.1", f"{new}.attentions.{place}", _ATTENTION)


def read(state: Mapping[str, Tensor], name: str) -> Architecture:
    """The architecture that a checkpoint's names and shapes imply.

    Args:
        name: of the file, for messages.
    Raises:
        PriorError: not the weights of an unconditional guided-diffusion UNet for pictures.
    """
    _refuse_others(state, name)
    inputs, outputs = _blocks(state, "input_blocks"), _blocks(state, "output_blocks")
    ups = [i for i, kinds in enumerate(outputs) if kinds[1:] and kinds[-1] in ("residual", "upsampler")]
    n, levels = (ups[0] if ups else len(outputs) - 1), len(ups) + 1
    if len(inputs) != levels * (n + 1) or len(outputs) != len(inputs):
        raise PriorError(
            f"{name}: got {len(inputs)} input and {len(outputs)} output blocks with {len(ups)} upsamplers, which make "
            "no UNet; the file is incomplete: fetch it again"
        )
    first = [level * (n + 1) + 1 for level in range(levels)]
    width = state["input_blocks.0.0.weight"].shape[0]
    try:
        channels = [state[f"input_blocks.{i}.0.in_layers.2.weight"].shape[0] for i in first]
    except KeyError as error:
        raise PriorError(f"{name}: no {error}; the file is incomplete: fetch it again") from error
    if state["time_embed.0.weight"].shape[1] != width or any(c % width for c in channels):
        raise PriorError(f"{name}: channels {channels} with {width} in the first layer; expected whole multiples of it")
    return Architecture(
        num_channels=width,
        num_res_blocks=n,
        channel_mult=tuple(c // width for c in channels),
        attention_levels=tuple(level for level, i in enumerate(first) if "attention" in inputs[i]),
        learn_sigma=state["out.2.weight"].shape[0] == 6,
        use_scale_shift_norm=state[f"input_blocks.{first[0]}.0.emb_layers.1.weight"].shape[0] == 2 * channels[0],
        resblock_updown=not ups or outputs[ups[0]][-1] == "residual",
    )


def _refuse_others(state: Mapping[str, Tensor], name: str) -> None:
    needed = {*_ENDS, "input_blocks.1.0.in_layers.2", "input_blocks.1.0.emb_layers.1"}
    missing = sorted(f"{layer}.weight" for layer in needed if f"{layer}.weight" not in state)
    if missing:
        raise PriorError(
            f"{name}: not the weights of a guided-diffusion UNet: no {missing[0]} among {len(state)} names such as "
            f"{', '.join(list(state)[:3])}; a folder in diffusers' layout is prior=diffusers"
        )
    if "label_emb.weight" in state:
        raise PriorError(f"{name}: this network wants a class label; the samplers need an unconditional checkpoint")
    seen, given = state["input_blocks.0.0.weight"].shape[1], state["out.2.weight"].shape[0]
    if seen != 3 or given not in (3, 6):
        raise PriorError(
            f"{name}: this network takes {seen} channels and gives {given}; expected 3, and 3 or, with a learned "
            "variance, 6: upsamplers and networks for other than RGB pictures cannot be used"
        )


def _blocks(state: Mapping[str, Tensor], part: str) -> list[list[str]]:
    """What follows one another in each block of a part, by what its weights are called."""
    marks = {"in_layers": "residual", "qkv": "attention", "op": "downsampler", "conv": "upsampler", "weight": "plain"}
    found: dict[int, dict[int, str]] = {}
    for key in state:
        words = key.split(".")
        if words[0] == part and len(words) > 3 and words[1].isdigit() and words[2].isdigit() and words[3] in marks:
            found.setdefault(int(words[1]), {})[int(words[2])] = marks[words[3]]
    return [[kind for _, kind in sorted(found[i].items())] for i in sorted(found)]


def convert(
    state: dict[str, Tensor], architecture: Architecture, heads: Callable[[int], int], new_order: bool, name: str
) -> dict[str, Tensor]:
    """The weights under diffusers' names, in float32.

    Args:
        state: the checkpoint's; emptied on the way, so that not two copies of every weight are held.
        heads: number of attention heads for a number of channels.
        new_order: how an attention layer's 3 c outputs are laid out: (3, heads, c / heads), the "new attention order",
            or (heads, 3, c / heads), the legacy one.
        name: of the file, for messages.
    Raises:
        PriorError: a weight is missing, or one is left that the network has no place for.
    """
    converted: dict[str, Tensor] = {}
    missing = []
    for old, new in architecture.layers():
        for kind in ("weight", "bias"):
            if f"{old}.{kind}" not in state:
                if not old.endswith(".skip_connection"):  # the network refuses what lacks where it is needed
                    missing.append(f"{old}.{kind}")
                continue
            value = state.pop(f"{old}.{kind}").float()
            if old.endswith((".qkv", ".proj_out")) and kind == "weight":
                value = value.flatten(1)  # a 1 x 1 convolution is a linear layer in diffusers
            if old.endswith(".qkv"):
                parts = _q_k_v(value, heads(len(value) // 3), new_order)
                converted |= {f"{new}{letter}.{kind}": part for letter, part in zip("qkv", parts, strict=True)}
            else:
                converted[f"{new}.{kind}"] = value
    if missing or state:
        raise PriorError(
            f"{name}: {len(missing)} weights are missing ({', '.join(missing[:4]) or 'none'}) and {len(state)} left "
            f"over ({', '.join(list(state)[:4]) or 'none'}); the file is incomplete or of another network"
        )
    return converted


def _q_k_v(value: Tensor, heads: int, new_order: bool) -> list[Tensor]:
    """The rows of a qkv layer's weight or bias that give q, those that give k and those that give v."""
    if new_order:
        return list(value.chunk(3))
    per_head = value.reshape(heads, 3, len(value) // (3 * heads), *value.shape[1:])
    return [part.flatten(0, 1) for part in per_head.unbind(1)]
