"""The arithmetic of a run: which floating type the network computes in, and how its memory lies."""

from collections.abc import Mapping
from typing import Any

import torch

from safari_bench import machine
from safari_bench.cli.schema import ConfigError
from safari_bench.priors.unet import UNetPrior

__all__ = ["set_layout", "set_precision"]

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def set_precision(prior: Any, precision: str, device: torch.device) -> None:
    """Make a prior's network compute as asked, images and sampler in float32 or float64 around it.

    Args:
        precision: fp32, tf32, bf16, fp16 or fp64. fp32 is fp32 on GPUs too, where torch's convolutions would be TF32.
    Raises:
        ConfigError: the device, or a prior without a network, has no such arithmetic.
    """
    if precision in _HALF and not isinstance(prior, UNetPrior):
        raise ConfigError(f"precision={precision} needs a network prior, and this one has none; say precision=fp32")
    if precision in ("tf32", "fp16") and device.type != "cuda":
        raise ConfigError(f"precision={precision} needs a GPU, and this device is {device.type}; say precision=fp32")
    if precision == "bf16" and not machine.has_bf16(device):
        raise ConfigError(f"precision=bf16: this {device.type} has no bfloat16 arithmetic; say precision=fp32")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if isinstance(prior, UNetPrior):
        prior.network.autocast = _HALF.get(precision)


def set_layout(prior: Any, compute: Mapping[str, Any]) -> None:
    """Apply compute.compile and compute.channels_last to a prior's network, if it has one."""
    if isinstance(prior, UNetPrior):
        prior.network.lay_out(compile_it=compute["compile"], channels_last=compute["channels_last"])
