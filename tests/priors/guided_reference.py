"""The guided-diffusion UNet a second time, as the paper and the layout of its checkpoints describe it, for tests only.

It shares no code with the loader: torch layers alone, attention written out, weights under the original names.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    def __init__(self, c_in: int, c_out: int, c_time: int, film: bool, resample: str = "") -> None:
        super().__init__()
        self.film, self.resample = film, resample
        self.in_layers = nn.Sequential(nn.GroupNorm(32, c_in), nn.SiLU(), nn.Conv2d(c_in, c_out, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(c_time, c_out * (2 if film else 1)))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, c_out), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(c_out, c_out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            b, c, h, w = x.shape
            return x.reshape(b, c, h // 2, 2, w // 2, 2).mean((3, 5))
        if self.resample == "up":
            return x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return x

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        norm, act, conv = self.in_layers
        h = conv(self._resampled(act(norm(x))))
        modulation = self.emb_layers(time)[:, :, None, None]
        norm, act, drop, conv = self.out_layers
        if self.film:
            scale, shift = modulation.split(h.shape[1], dim=1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + modulation)
        return self.skip_connection(self._resampled(x)) + conv(drop(act(h)))


class SelfAttention(nn.Module):
    def __init__(self, channels: int, heads: int, new_order: bool) -> None:
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = nn.GroupNorm(32, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        c = x.shape[1]
        d = c // self.heads
        flat = x.flatten(2)
        qkv = self.qkv(self.norm(flat))
        found = []
        for head in range(self.heads):
            if self.new_order:  # all heads of q, then all of k, then all of v
                q, k, v = (qkv[:, part * c + head * d : part * c + (head + 1) * d] for part in range(3))
            else:  # q, k and v of the first head, then of the second, ...
                q, k, v = (qkv[:, (3 * head + part) * d : (3 * head + part + 1) * d] for part in range(3))
            weight = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(d), dim=2)  # (b, queries, keys)
            found.append(v @ weight.transpose(1, 2))
        return (flat + self.proj_out(torch.cat(found, 1))).reshape(x.shape)


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class GuidedUNet(nn.Module):
    """The flags have the names of the official scripts; attention_resolutions are sides of feature maps."""

    def __init__(
        self,
        *,
        image_size: int,
        num_channels: int,
        num_res_blocks: int,
        channel_mult: list[int],
        attention_resolutions: list[int],
        learn_sigma: bool = True,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        num_heads: int | None = None,
        num_head_channels: int | None = None,
        use_new_attention_order: bool = False,
    ) -> None:
        super().__init__()
        c_time, film, self.c_first = 4 * num_channels, use_scale_shift_norm, num_channels

        def residual(c_in: int, c_out: int, resample: str = "") -> Residual:
            return Residual(c_in, c_out, c_time, film, resample)

        def attention(c: int) -> SelfAttention:
            return SelfAttention(c, num_heads or c // num_head_channels, use_new_attention_order)

        self.time_embed = nn.Sequential(nn.Linear(num_channels, c_time), nn.SiLU(), nn.Linear(c_time, c_time))
        widths = [num_channels * mult for mult in channel_mult]
        blocks: list[list[nn.Module]] = [[nn.Conv2d(3, num_channels, 3, padding=1)]]
        c, side, skips = num_channels, image_size, [num_channels]
        for level, width in enumerate(widths):
            for _ in range(num_res_blocks):
                blocks.append([residual(c, width), *([attention(width)] if side in attention_resolutions else [])])
                c = width
                skips.append(c)
            if level + 1 < len(widths):
                blocks.append([residual(c, c, "down") if resblock_updown else Downsample(c)])
                skips.append(c)
                side //= 2
        self.input_blocks = nn.ModuleList(nn.ModuleList(block) for block in blocks)
        self.middle_block = nn.ModuleList([residual(c, c), attention(c), residual(c, c)])
        blocks = []
        for level, width in reversed(list(enumerate(widths))):
            for last in [False] * num_res_blocks + [True]:
                block: list[nn.Module] = [residual(c + skips.pop(), width)]
                c = width
                if side in attention_resolutions:
                    block.append(attention(c))
                if last and level:
                    block.append(residual(c, c, "up") if resblock_updown else Upsample(c))
                    side *= 2
                blocks.append(block)
        self.output_blocks = nn.ModuleList(nn.ModuleList(block) for block in blocks)
        self.out = nn.Sequential(nn.GroupNorm(32, c), nn.SiLU(), nn.Conv2d(c, 6 if learn_sigma else 3, 3, padding=1))

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        half = self.c_first // 2
        angle = timesteps[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        time = self.time_embed(torch.cat([angle.cos(), angle.sin()], 1).to(x.dtype))
        seen = []
        (first,), *rest = self.input_blocks
        x = first(x)
        seen.append(x)
        for block in rest:
            for layer in block:
                x = layer(x, time)
            seen.append(x)
        for layer in self.middle_block:
            x = layer(x, time)
        for block in self.output_blocks:
            x = torch.cat([x, seen.pop()], 1)
            for layer in block:
                x = layer(x, time)
        return self.out(x)


def random_unet(seed: int = 0, **flags) -> GuidedUNet:
    """Every weight is random, those of the norms too, so that none can be left out unnoticed."""
    torch.manual_seed(seed)
    unet = GuidedUNet(**flags).eval()
    with torch.no_grad():
        for weight in unet.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
    return unet


def half_torso(unet: GuidedUNet) -> dict[str, Tensor]:
    """The weights as the official code saves them with use_fp16: convolutions of the blocks in half precision."""
    state = unet.state_dict()
    for name, module in unet.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d) and "block" in name:
            for kind in ("weight", "bias"):
                state[f"{name}.{kind}"] = state[f"{name}.{kind}"].half()
    return state
