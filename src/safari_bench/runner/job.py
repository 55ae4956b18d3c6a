"""What one cell needs, and how it ends."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import torch
from torch import Tensor

from safari_bench.data import Dataset
from safari_bench.diffusion import Denoiser
from safari_bench.ledger import Place
from safari_bench.metrics import Suite
from safari_bench.operators.contract import Operator
from safari_bench.rng import Streams
from safari_bench.samplers.contract import Sampler
from safari_bench.shapes import Measurement

__all__ = ["Job", "Logger", "Noise", "Outcome", "Task"]


@runtime_checkable
class Noise(Protocol):
    """A noise law, see `operators.noise`."""

    @property
    def sigma_y(self) -> float:
        """Standard deviation on the [-1, 1] scale, which samplers are told."""
        ...

    def check(self, operator: Operator) -> None:
        """Raise Unsupported if this noise makes no sense of the operator's measurements."""
        ...

    def __call__(self, y: Measurement, streams: Streams, observed: Tensor | None) -> Measurement: ...


@runtime_checkable
class Logger(Protocol):
    """Says elsewhere what becomes of a cell. Rows on disk come first: what a logger loses costs no number."""

    def wants(self, cell: Path, run: Mapping[str, Any]) -> bool:
        """Whether it has yet to be told of a cell that is complete."""
        ...

    def follow(self, cell: Path, run: Mapping[str, Any]) -> AbstractContextManager[Callable[[pd.DataFrame], None]]:
        """A context in which the cell is computed.

        It gives a function that is told all rows of the cell there are, at the beginning if there are any, and after
        every batch. `run` is the contents of run.json.
        """
        ...

    def progress(self, done: float, total: int) -> None:
        """Told after every step of a sampler: images done of the cell it follows, parts of an image included."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """A degradation and its noise, with the noise level as the user typed it."""

    name: str
    operator: Callable[[Sequence[int], Streams], Operator]
    noise: Noise
    sigma: float
    sigma_range: str

    def measure(self, x: Tensor, seed: int, dataset: str, image_id: str) -> tuple[Operator, Tensor]:
        """The noisy measurement of one image (c, h, w), in float64 on the CPU, and the operator that made it.

        Computed alone and in double precision, so that its float32 rounding is the same bytes whatever the batch, the
        device or the sampler.

        Raises:
            Unsupported: the noise law does not apply to this operator's measurements.
            ValueError: the operator cannot be built for images of this size.
        """
        streams = Streams(seed, dataset, [image_id], dtype=torch.float64)
        operator = self.operator(x.shape, streams)
        self.noise.check(operator)
        return operator, self.noise(operator.A(x[None].double()), streams, operator.observed)


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything one cell needs.

    Args:
        batch_size: images that are restored at once; 0 chooses from the free memory.
        folder: results/<name>.
        run: what goes to run.json; its run_id names the cell.
        stop: asked between batches; true ends the cell early with all finished rows kept.
        label: prefix of the progress bar.
        loggers: told of every batch.
    """

    dataset: Dataset
    task: Task
    sampler_name: str
    sampler: Sampler
    prior_name: str
    denoiser: Denoiser
    metrics: Suite
    seed: int
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    workers: int
    folder: Path
    run: Mapping[str, Any]
    stop: Callable[[], bool] = lambda: False
    label: str = ""
    loggers: Sequence[Logger] = ()

    @property
    def cell_folder(self) -> Path:
        run_id = str(self.run["run_id"])
        return Place(self.folder, self.dataset.name, self.task.name, self.sampler_name, run_id).folder


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        total: images of the cell.
        attempted: images that had no finished row before; 0 when the cell was complete.
        computed: images that have one now and had none before.
        counts: images by status.
        reasons: the different reasons of those that are not ok.
        interrupted: whether it was asked to stop.
        notes: what a reader of its set scores, if they were just computed, should know.
    """

    total: int
    attempted: int
    computed: int
    counts: Mapping[str, int]
    reasons: Sequence[str]
    interrupted: bool
    folder: Path
    notes: Sequence[str] = ()
