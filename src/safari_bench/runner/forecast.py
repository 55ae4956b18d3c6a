"""What a cell will cost, from counting its calls of the prior and timing one of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from safari_bench.data import encode_png, to_uint8
from safari_bench.diffusion import Counted, Denoiser, Prediction, Schedule, from_x0
from safari_bench.ledger import Cell, LedgerError, Place
from safari_bench.machine import PeakMemory
from safari_bench.operators.contract import Operator, Unsupported
from safari_bench.rng import Streams
from safari_bench.runner.job import Job
from safari_bench.samplers.contract import Problem, Sampler
from safari_bench.shapes import Image

__all__ = ["Forecast", "Timing", "calls", "forecast", "time_calls", "truth"]

_UNKNOWN = float("nan")


@dataclass(frozen=True)
class Timing:
    """One call of a prior, measured.

    Attributes:
        batch: images per call.
        forward, backward: seconds per image; backward is that of one backward pass alone.
        memory: MiB at the peak of a call with its backward pass: of the GPU, or of the whole process on a CPU.
    """

    batch: int
    forward: float
    backward: float
    memory: float


@dataclass(frozen=True)
class Forecast:
    """One cell, before it is run, and what is known of it afterwards.

    Attributes:
        images: of the cell.
        nfe, n_backward: per image; 0 where the method takes no prior or the task is unsupported.
        hours: of the prior's calls for all images. What the method computes besides is not in it.
        batch: images restored at once.
        memory: MiB at the peak of a call of that many with its backward pass, see `Timing`; NaN without a prior.
        disk: megabytes (10^6 bytes) of restored pictures.
        references: megabytes of the originals, saved once for all cells of a dataset.
        unsupported: why the method cannot do the task, or "".
        done: images that have a row.
        true_nfe: calls per image of those, NaN for none.
        true_hours: time in the method for those, scaled to all images; NaN for none.
        true_memory: the highest MiB of those, NaN for none.
        true_disk, true_references: megabytes there are now, rows and all; NaN before there is a cell.
    """

    dataset: str
    task: str
    sampler: str
    run_id: str
    images: int
    nfe: int
    n_backward: int
    hours: float
    batch: int
    memory: float
    disk: float
    references: float
    unsupported: str
    done: int = 0
    true_nfe: float = _UNKNOWN
    true_hours: float = _UNKNOWN
    true_memory: float = _UNKNOWN
    true_disk: float = _UNKNOWN
    true_references: float = _UNKNOWN


class _Standard:
    """The prior N(0, I), which costs nothing: its denoiser is sqrt(abar_t) x_t."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        return from_x0(self.schedule, x_t, self.schedule.abar(t) ** 0.5 * x_t, t, None, clip)


def calls(sampler: Sampler, operator: Operator, schedule: Schedule) -> tuple[int, int]:
    """Calls of the prior and backward passes that a method takes, found by running it under the prior N(0, I).

    Args:
        operator: a small one that every method takes, such as the identity on a few pixels; the counts of published
            methods depend on their settings alone.
    """
    if not sampler.uses_prior:
        return 0, 0
    streams = Streams(0, "forecast", ["one"])
    counted = Counted(_Standard(schedule))
    y = operator.A(streams.normal("x", operator.image_shape))
    sampler.restore(Problem(y=y, operator=operator, sigma_y=0.1, streams=streams), counted, lambda pairs: pairs)
    return counted.nfe, counted.n_backward


def time_calls(
    denoiser: Denoiser, shape: Sequence[int], batch: int, device: torch.device, dtype: torch.dtype
) -> Timing:
    """Time calls of (batch, *shape) with and without a backward pass, after one of each that is not counted."""
    middle = denoiser.schedule.timesteps // 2
    x_t = torch.zeros(batch, *shape, device=device, dtype=dtype)
    memory = PeakMemory(device)
    _both(denoiser, x_t, middle, device)
    peak = memory.mib()
    _forward(denoiser, x_t, middle, device)  # a compiled network is another one without gradients
    repeats = 3 if device.type == "cuda" else 1
    forward = min(_forward(denoiser, x_t, middle, device) for _ in range(repeats))
    whole = min(_both(denoiser, x_t, middle, device) for _ in range(repeats))
    return Timing(batch, forward / batch, max(whole - forward, 0.0) / batch, peak)


@torch.no_grad()
def _forward(denoiser: Denoiser, x_t: Image, t: int, device: torch.device) -> float:
    start = _now(device)
    denoiser.predict(x_t, t)
    return _now(device) - start


def _both(denoiser: Denoiser, x_t: Image, t: int, device: torch.device) -> float:
    start = _now(device)
    with torch.enable_grad():
        x_t = x_t.detach().requires_grad_()
        torch.autograd.grad(denoiser.predict(x_t, t).x0_hat.sum(), x_t)
    return _now(device) - start


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def forecast(job: Job, counted: tuple[int, int], timing: Timing) -> Forecast:
    """What a cell takes, and what it took as far as it is done.

    Args:
        counted: `calls` of the job's method.
        timing: of the job's prior at its size.
    """
    images, unsupported = len(job.dataset.records()), _unsupported(job)
    nfe, n_backward = (0, 0) if unsupported else counted
    seconds = images * (nfe * timing.forward + n_backward * timing.backward)
    pictures = images * len(encode_png(to_uint8(job.dataset.load(0)))) / 1e6
    found = Forecast(
        dataset=job.dataset.name,
        task=job.task.name,
        sampler=job.sampler_name,
        run_id=str(job.run["run_id"]),
        images=images,
        nfe=nfe,
        n_backward=n_backward,
        hours=seconds / 3600,
        batch=timing.batch,
        memory=timing.memory if nfe else _UNKNOWN,
        disk=0.0 if unsupported else pictures,
        references=pictures,
        unsupported=unsupported,
    )
    return truth(found, job.folder)


def _unsupported(job: Job) -> str:
    """Why the method cannot do the task, from the first image's operator."""
    streams = Streams(job.seed, job.dataset.name, [job.dataset.records()[0].id])
    try:
        operator = job.task.operator(job.dataset.image_shape, streams)
        job.task.noise.check(operator)
        job.sampler.admit(operator)
    except Unsupported as error:
        return str(error)
    return ""


def truth(found: Forecast, folder: Path) -> Forecast:
    """The same forecast beside what is true of its cell by now.

    Args:
        folder: results/<name>.
    """
    place = Place(folder, found.dataset, found.task, found.sampler, found.run_id)
    try:
        cell = Cell.at(place.folder)
        rows, run = cell.rows(), cell.run()
    except LedgerError:  # nothing was run yet
        return found
    ok = rows[rows.status == "ok"]
    return replace(
        found,
        done=len(rows),
        true_nfe=float(ok.nfe.mean()),
        true_hours=float(ok.seconds.mean() * found.images / 3600),
        true_memory=float(ok.peak_mem_mb.max()),
        true_disk=_megabytes(place.folder),
        true_references=_megabytes(place.references(run)),
    )


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
