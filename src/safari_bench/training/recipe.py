"""Training a v-prediction UNet: Salimans and Ho (ICLR 2022) on the linear schedule, with EMA weights.

A run is a folder: checkpoint.pt (everything a resumed run needs), loss.csv, and at the end the prior in diffusers'
layout. Batches are functions of the step, so that a resumed run repeats what an uninterrupted one would have done.
"""

import csv
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from safari_bench.diffusion import Schedule
from safari_bench.priors.unet import Folded, save
from safari_bench.training.mixture import Batch, Mixture

if TYPE_CHECKING:  # slow to import
    from diffusers import UNet2DModel
    from diffusers.training_utils import EMAModel

__all__ = ["Recipe", "TrainingError", "train"]

_CHECKPOINT = "checkpoint.pt"


class TrainingError(Exception):
    """Training cannot start or go on."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything but network and data.

    Attributes:
        learning_rate: peak of the cosine, after `warmup` steps from 0.
        ema_decay: of the averaged weights that are shipped; the average warms up as 1 - (1 + step)^(-3/4).
        clip_norm: greatest norm of the gradient.
        time_power: timesteps are T u^power with u uniform: above 1 prefers low noise.
        bf16: autocast to bfloat16.
        workers: processes that make batches ahead; 0 makes them in between.
        checkpoint_minutes: time between checkpoints.
    """

    learning_rate: float = 4e-4
    weight_decay: float = 0.0
    warmup: int = 200
    ema_decay: float = 0.999
    clip_norm: float = 1.0
    time_power: float = 1.5
    bf16: bool = True
    workers: int = 1
    checkpoint_minutes: float = 5.0


@dataclass
class _State:
    """What a checkpoint holds, live."""

    network: Folded
    ema: "EMAModel"
    optimizer: torch.optim.Optimizer
    learning_rate: torch.optim.lr_scheduler.LRScheduler
    losses: list[float]
    seconds: float = 0.0

    @property
    def step(self) -> int:
        return len(self.losses)

    def save(self, path: Path) -> None:
        """Write beside and rename, so that a run killed here keeps the checkpoint before."""
        values = {
            "network": self.network.unet.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "learning_rate": self.learning_rate.state_dict(),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "seconds": self.seconds,
        }
        values["learning_rate"].pop("lr_lambdas", None)
        beside = path.with_suffix(".partial")
        torch.save(values, beside)
        os.replace(beside, path)

    def load(self, path: Path, device: torch.device) -> None:
        try:
            values: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            self.network.unet.load_state_dict(values["network"])
            self.ema.load_state_dict(values["ema"])
            self.ema.to(device)
            self.optimizer.load_state_dict(values["optimizer"])
            self.learning_rate.load_state_dict({**values["learning_rate"], "lr_lambdas": [None]})
            self.losses[:] = values["losses"].tolist()
            self.seconds = values["seconds"]
        except Exception as error:  # whatever unpickling stumbles on
            raise TrainingError(
                f"{path}: not a checkpoint of this network ({type(error).__name__}: {str(error)[:200]}); resume with "
                "the network it was trained with, or move the folder away to start anew"
            ) from error


def train(
    unet: "UNet2DModel",
    data: Mixture,
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    stop: Callable[[], bool] = lambda: False,
) -> str | None:
    """Train to len(data) steps, from the checkpoint in folder if there is one.

    Args:
        stop: asked after every step; True writes a checkpoint and returns.
    Returns:
        sha256 of the exported weights (in folder/prior), or None if stopped before the end.
    Raises:
        TrainingError: the loss is not finite, or the checkpoint does not fit.
    """
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.training_utils import EMAModel

    folder.mkdir(parents=True, exist_ok=True)
    schedule = Schedule()
    network = Folded(unet).to(device).train()
    ema = EMAModel(unet.parameters(), decay=recipe.ema_decay, use_ema_warmup=True, power=3 / 4, foreach=True)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    cosine = get_cosine_schedule_with_warmup(optimizer, recipe.warmup, len(data))
    state = _State(network, ema, optimizer, cosine, [])
    if (folder / _CHECKPOINT).exists():
        state.load(folder / _CHECKPOINT, device)
    batches = DataLoader(
        data,
        batch_size=None,
        sampler=range(state.step, len(data)),
        num_workers=recipe.workers,
        prefetch_factor=8 if recipe.workers else None,
        pin_memory=device.type == "cuda",
    )
    finished = _loop(state, batches, schedule, recipe, folder, device, stop)
    _write_losses(folder / "loss.csv", state.losses)
    if not finished:
        return None
    ema.copy_to(unet.parameters())
    return save(unet, schedule, "v_prediction", folder / "prior")


def _loop(
    state: _State,
    batches: DataLoader[Batch],
    schedule: Schedule,
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    stop: Callable[[], bool],
) -> bool:
    """Whether the last step was reached."""
    abar = torch.tensor([schedule.abar(t) for t in range(schedule.timesteps)], device=device)
    begun = saved = time.monotonic()
    before = state.seconds
    with tqdm(total=state.step + len(batches), initial=state.step, desc="training", unit="step") as bar:
        for batch in batches:
            loss = _step(state, Batch(*(part.to(device, non_blocking=True) for part in batch)), abar, recipe)
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"loss is {loss.item()} at step {state.step + 1}; the checkpoint before it is in {folder}: "
                    "resume with a smaller training.recipe.learning_rate"
                )
            state.losses.append(loss.item())
            recent = state.losses[-100:]
            bar.set_postfix(loss=f"{sum(recent) / len(recent):.4f}", lr=f"{state.learning_rate.get_last_lr()[0]:.1e}")
            bar.update()
            state.seconds = before + time.monotonic() - begun
            if stopped := stop():
                break
            if time.monotonic() - saved > 60 * recipe.checkpoint_minutes:
                state.save(folder / _CHECKPOINT)
                _write_losses(folder / "loss.csv", state.losses)
                saved = time.monotonic()
        else:
            stopped = False
    state.save(folder / _CHECKPOINT)
    return not stopped


def _step(state: _State, batch: Batch, abar: Tensor, recipe: Recipe) -> Tensor:
    """One step on E || v_theta(x_t, t) - v ||^2, v = sqrt(abar_t) eps - sqrt(1 - abar_t) x."""
    t = (len(abar) * batch.u**recipe.time_power).long()
    signal, noise = abar[t].sqrt().view(-1, 1, 1, 1), (1 - abar[t]).sqrt().view(-1, 1, 1, 1)
    with torch.autocast(batch.x.device.type, torch.bfloat16, enabled=recipe.bf16):
        v_hat = state.network(signal * batch.x + noise * batch.eps, t)
    loss = F.mse_loss(v_hat.float(), signal * batch.eps - noise * batch.x)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip_norm)
    state.optimizer.step()
    state.learning_rate.step()
    state.ema.step(state.network.unet.parameters())
    return loss.detach()


def _write_losses(path: Path, losses: list[float]) -> None:
    beside = path.with_suffix(".partial")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        writer.writerows((step, f"{loss:.6f}") for step, loss in enumerate(losses, 1))
    os.replace(beside, path)
