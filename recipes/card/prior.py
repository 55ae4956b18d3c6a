"""The prior that a command's keys choose."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli.compose import device_of, limit, prior_of
from safari_bench.cli.schema import check, register, root
from safari_bench.errors import ConfigError

__all__ = ["Chosen", "chosen"]

_AT_ONCE = 12  # images, where compute.batch_size=0 leaves it open


@dataclass(frozen=True)
class Chosen:
    """A prior and how to run it.

    Attributes:
        name: of the option, such as photos64.
        prior: a Denoiser.
        losses: loss.csv of its training, if it lies beside the weights.
        output: folder of results.
        shared: device and batch_size.
    """

    name: str
    prior: Any
    losses: Path | None
    output: Path
    seed: int
    shared: dict[str, Any]


def chosen(words: Sequence[str]) -> Chosen:
    """Compose the configuration of safari-bench with these keys and load its prior.

    Raises:
        ConfigError: keys that make no configuration, or values that are refused.
        PriorError: the weights cannot be used.
    """
    register()
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
            values = check(hydra.compose("config", overrides=list(words)))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from error
    limit(values["compute"])
    name, prior = prior_of(json.dumps(values["prior"]))
    losses = Path(values["prior"].get("checkpoint") or "").parent / "loss.csv"
    shared = {
        "device": device_of(values["compute"]["device"]),
        "batch_size": values["compute"]["batch_size"] or _AT_ONCE,
    }
    output = Path(values["output"])
    return Chosen(name, prior, losses if losses.is_file() else None, output, values["seed"], shared)
