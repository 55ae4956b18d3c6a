"""`safari-bench train`: a configuration's training node turned into a run of the recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel
from hydra.utils import instantiate
from omegaconf import DictConfig

from safari_bench.cli.compose import device_of, limit, refused
from safari_bench.cli.schema import ConfigError, check
from safari_bench.rng import seed_torch
from safari_bench.training import train

__all__ = ["train_prior"]


def train_prior(cfg: DictConfig, stop: Callable[[], bool]) -> bool:
    """Train, or go on training, in results/<name>.

    Returns:
        whether the last step was reached.

    Raises:
        ConfigError: see `schema.check`; also a network that diffusers or the priors refuse.
        TrainingError, PriorError: see `training.train`.
    """
    values = check(cfg)
    training = values["training"]
    if not training:
        raise ConfigError("nothing to train: no training node; safari-bench train experiments=train_prior has one")
    limit(values["compute"])
    folder = Path(values["output"]) / values["name"]
    data = refused("training.data", lambda: instantiate(training["data"], _convert_="all"))
    recipe = refused("training.recipe", lambda: instantiate(training["recipe"], _convert_="all"))
    seed_torch(values["seed"])
    unet = _network(training["network"])
    count = sum(parameter.numel() for parameter in unet.parameters())
    device = device_of(values["compute"]["device"])
    print(f"{count / 1e6:.2f} M parameters, {len(data)} steps of {data.batch_size} pictures, {device}, in {folder}")
    sha256 = train(unet, data, recipe, folder, device, stop)
    if sha256 is None:
        return False
    print(f"prior in {folder / 'prior'}, sha256 {sha256}")
    print(f"use it with prior=photos64 prior.checkpoint={folder / 'prior'} prior.sha256=null")
    return True


def _network(node: dict[str, Any]) -> UNet2DModel:
    try:
        return UNet2DModel(**node)
    except (TypeError, ValueError, AttributeError) as error:  # diffusers has no one way to refuse
        raise ConfigError(f"training.network: {error}") from error
