"""Train the 64 px prior that ships, or go on training it.

    python -m recipes.photographs --into photographs                 # once: 460 MB of Debian packages become 23 MB
    python -m recipes.train_prior --photographs photographs --into run

v-prediction on the linear schedule (Salimans and Ho, ICLR 2022), constant learning rate after a warm-up, averaged (EMA)
weights. Any moment is a good one to stop (Ctrl-C or SIGTERM); the same command goes on from run/checkpoint.pt. Without
it, --from run/prior starts from the averaged weights, which are written with every checkpoint in diffusers' layout:
prior=photos64 prior.checkpoint=run/prior prior.sha256=null.

On a GPU of which there are nine minutes (photographs.zip is 23 MB):

    python -m recipes.train_prior --photographs photographs --into run --from none --network large \\
        --batch 256 --rate 4e-4 --average 0.999 --workers 14 --minutes 8.5
    python -m recipes.pieces split run/prior/diffusion_pytorch_model.safetensors --into "$OUT"
"""

import argparse
import hashlib
import io
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipes.mixture import Batch, Mixture
from recipes.photographs import PACK
from safari_bench.diffusion import Schedule
from safari_bench.errors import ConfigError, SafariBenchError
from safari_bench.ledger import exclusive, make_folder, write_atomic
from safari_bench.priors.unet import Folded, load, save
from safari_bench.rng import seed_torch

__all__ = ["NETWORKS", "Run", "train"]

_SHARED = dict(in_channels=12, out_channels=12, layers_per_block=1, attention_head_dim=32, sample_size=32)
#: arguments of diffusers.UNet2DModel; 12 channels are 3 colours of 2 x 2 folded pixels
NETWORKS: dict[str, dict[str, Any]] = {
    "base": _SHARED  # 5.4 M parameters
    | dict(
        block_out_channels=[64, 96, 128, 128],
        norm_num_groups=16,
        down_block_types=["DownBlock2D"] * 3 + ["AttnDownBlock2D"],
        up_block_types=["AttnUpBlock2D"] + ["UpBlock2D"] * 3,
    ),
    "large": _SHARED  # for a GPU
    | dict(
        block_out_channels=[64, 128, 192, 256],
        norm_num_groups=32,
        down_block_types=["DownBlock2D"] * 2 + ["AttnDownBlock2D"] * 2,
        up_block_types=["AttnUpBlock2D"] * 2 + ["UpBlock2D"] * 2,
    ),
}
_CHECKPOINT = "checkpoint.pt"
_TIME_POWER = 1.5  # timesteps are T u^1.5: more of them at low noise
_WARMUP = 300  # steps


@dataclass
class Run:
    """A network under training; `save` and `resume` hold everything.

    Attributes:
        images: training pictures seen, those of earlier runs not counted.
        seconds: spent training.
        settings: what a run that goes on must agree with, by the names of the command's options.
    """

    unet: UNet2DModel
    ema: EMAModel
    optimizer: torch.optim.Optimizer
    rate: float
    losses: list[float] = field(default_factory=list)
    images: int = 0
    seconds: float = 0.0
    settings: dict[str, str | float] = field(default_factory=dict)

    @property
    def step(self) -> int:
        return len(self.losses)

    def save(self, folder: Path) -> None:
        """Checkpoint, losses and averaged weights; a run killed here keeps the checkpoint before."""
        values = {
            "network": self.unet.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "losses": torch.tensor(self.losses),
            "images": self.images,
            "seconds": self.seconds,
            "settings": self.settings,
        }
        packed, lines = io.BytesIO(), [f"{step},{loss:.6f}\n" for step, loss in enumerate(self.losses, 1)]
        torch.save(values, packed)
        write_atomic(folder / _CHECKPOINT, packed.getvalue())
        write_atomic(folder / "loss.csv", "".join(["step,loss\n", *lines]).encode())
        self.ema.store(self.unet.parameters())
        self.ema.copy_to(self.unet.parameters())
        save(self.unet, Schedule(), "v_prediction", folder / "prior")
        self.ema.restore(self.unet.parameters())

    def resume(self, path: Path, device: torch.device) -> None:
        """Go on from a checkpoint.

        Raises:
            ConfigError: it was made with other settings. Checkpoints of earlier versions do not say theirs.
        """
        values = torch.load(path, map_location=device, weights_only=True)
        held = values.get("settings", {})
        if differing := sorted(key for key in held if held[key] != self.settings.get(key)):
            said = ", ".join(f"{key} {held[key]}, now {self.settings.get(key)}" for key in differing)
            raise ConfigError(
                f"{path} was made with {said}; say the same, or begin another run: --into FOLDER --from "
                f"{path.parent / 'prior'}"
            )
        self.unet.load_state_dict(values["network"])
        self.ema.load_state_dict(values["ema"])
        self.ema.to(device)
        self.optimizer.load_state_dict(values["optimizer"])
        self.losses[:] = values["losses"].tolist()
        self.images, self.seconds = values["images"], values["seconds"]


def train(
    run: Run, data: Mixture, folder: Path, device: torch.device, until: float, cooldown: int = 0, workers: int = 1
) -> None:
    """Train until the clock (time.monotonic) shows `until`, the data end, or a signal asks to stop.

    Args:
        cooldown: the last steps of `data`, over which the learning rate falls to 0.
    Raises:
        RuntimeError: the loss is not finite; the checkpoint before it is kept.
    """
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: stopped.append(n))
    folded = Folded(run.unet).train()
    abar = torch.tensor([Schedule().abar(t) for t in range(1000)], device=device)
    batches = DataLoader(data, batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None)
    begun, before, saved = time.monotonic(), run.seconds, time.monotonic()
    for batch in batches:
        left = data.last - run.step
        rate = run.rate * min(1.0, (run.step + 1) / _WARMUP, left / cooldown if cooldown else 1.0)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        loss = _step(run, folded, Batch(*(part.to(device, non_blocking=True) for part in batch)), abar)
        run.losses.append(loss)
        run.images += len(batch[0])
        run.seconds = before + time.monotonic() - begun
        if loss != loss:
            raise RuntimeError(f"the loss is not finite at step {run.step}; start again with a smaller --rate")
        if run.step % 100 == 0:
            recent = sum(run.losses[-1000:]) / len(run.losses[-1000:])
            print(f"step {run.step}, {run.images} images, {run.seconds / 60:.1f} min, loss {recent:.5f}", flush=True)
        if stopped or time.monotonic() > until:
            break
        if time.monotonic() - saved > 300:
            run.save(folder)
            saved = time.monotonic()
    run.save(folder)


def _step(run: Run, folded: Folded, batch: Batch, abar: Tensor) -> float:
    """One step on E || v_theta(x_t, t) - v ||^2, v = sqrt(abar_t) eps - sqrt(1 - abar_t) x."""
    t = (len(abar) * batch.u**_TIME_POWER).long()
    signal_, noise = abar[t].sqrt().view(-1, 1, 1, 1), (1 - abar[t]).sqrt().view(-1, 1, 1, 1)
    with torch.autocast(batch.x.device.type, torch.bfloat16):
        v_hat = folded(signal_ * batch.x + noise * batch.eps, t)
    loss = F.mse_loss(v_hat.float(), signal_ * batch.eps - noise * batch.x)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.unet.parameters(), 1.0)
    run.optimizer.step()
    run.ema.step(run.unet.parameters())
    return float(loss.detach())


def main() -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, default=Path("photographs"), help="folder of recipes.photographs")
    parser.add_argument("--into", type=Path, default=Path("results/train_prior"), help="folder of the run")
    parser.add_argument("--from", dest="start", default="photos64", help="weights to start from, or none")
    parser.add_argument("--network", choices=NETWORKS, default="base", help="used with --from none")
    parser.add_argument("--rate", type=float, default=2e-4, help="learning rate")
    parser.add_argument("--average", type=float, default=0.9995, help="decay of the averaged weights")
    parser.add_argument("--batch", type=int, default=16, help="pictures a step")
    parser.add_argument("--steps", type=int, default=10**9, help="last step")
    parser.add_argument(
        "--cooldown", type=int, default=0, help="steps at the end over which the learning rate falls to 0"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long")
    parser.add_argument("--workers", type=int, default=1, help="processes that make batches")
    words = parser.parse_args()
    until = time.monotonic() + 60 * words.minutes
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pack = words.photographs / PACK
    if not pack.is_file():
        print(
            f"error: no file {pack}; make it: python -m recipes.photographs --into {words.photographs}", file=sys.stderr
        )
        return 2
    make_folder(words.into)
    try:
        with exclusive(words.into):
            return _run(words, pack, device, until)
    except SafariBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _run(words: argparse.Namespace, pack: Path, device: torch.device, until: float) -> int:
    seed_torch(0)
    unet = UNet2DModel(**NETWORKS[words.network]) if words.start == "none" else load(words.start).network.unet
    unet.requires_grad_(True).to(device)
    ema = EMAModel(unet.parameters(), decay=words.average, use_ema_warmup=True, power=3 / 4, foreach=True)
    run = Run(unet, ema, torch.optim.AdamW(unet.parameters(), lr=words.rate, weight_decay=0.0), words.rate)
    run.settings = {key: getattr(words, key) for key in ("network", "rate", "average", "batch")}
    run.settings["photographs"] = hashlib.sha256(pack.read_bytes()).hexdigest()[:16]
    if (words.into / _CHECKPOINT).exists():
        run.resume(words.into / _CHECKPOINT, device)
    count = sum(parameter.numel() for parameter in unet.parameters())
    print(f"{count / 1e6:.2f} M parameters, from step {run.step}, {device}, in {words.into}", flush=True)
    data = Mixture(pack, first=run.step, last=words.steps, batch_size=words.batch)
    train(run, data, words.into, device, until, words.cooldown, words.workers)
    print(f"stopped at step {run.step}; the averaged weights are in {words.into / 'prior'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
