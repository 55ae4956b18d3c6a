"""One cell: images -> y -> restore -> score -> rows.

Knows contracts only: it never names a sampler, a task or a prior.
"""

import hashlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from tqdm import tqdm

from safari_bench.data import Dataset, Record, encode_png, from_uint8, safe_name, to_uint8
from safari_bench.diffusion import Counted, Denoiser, NotFinite, check_finite
from safari_bench.ledger import Cell, make_folder, write_atomic
from safari_bench.machine import PeakMemory
from safari_bench.metrics import Suite, data_consistency
from safari_bench.operators.contract import Operator, Unsupported
from safari_bench.rng import Streams
from safari_bench.samplers.contract import Pairs, Sampler
from safari_bench.shapes import Image, Measurement

__all__ = ["Job", "Noise", "Outcome", "Task", "run_cell"]


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
        folder: results/<name>.
        run: what goes to run.json; its run_id names the cell.
        stop: asked between batches; true ends the cell early with all finished rows kept.
        label: prefix of the progress bar.
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

    @property
    def cell_folder(self) -> Path:
        return self.folder / self.dataset.name / self.task.name / self.sampler_name / str(self.run["run_id"])


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. `computed` is 0 when it was complete before."""

    total: int
    computed: int
    counts: Mapping[str, int]
    reasons: Sequence[str]
    interrupted: bool
    folder: Path


def run_cell(job: Job) -> Outcome:
    """Compute what is missing of a cell.

    Raises:
        DataError, LedgerError: an image cannot be read, or a row cannot be written. Rows finished before are safe.
    """
    records = job.dataset.records()
    cell = Cell(job.cell_folder, [record.id for record in records])
    with cell.lock():
        cell.open(job.run)
        missing = set(cell.missing())
        interrupted = _compute(job, cell, records, missing) if missing else False
        if len(cell.rows()) == len(records):
            cell.close()
        rows = cell.rows()
    bad = rows[rows.status != "ok"]
    return Outcome(
        len(records),
        len(missing) - len(cell.missing()),
        {str(status): int(n) for status, n in rows.status.value_counts().items()},
        sorted(set(bad.reason)),
        interrupted,
        job.cell_folder,
    )


def _compute(job: Job, cell: Cell, records: Sequence[Record], missing: set[str]) -> bool:
    """Work through the batches that hold missing images. Returns whether it was asked to stop."""
    _warm_up(job.denoiser, (min(job.batch_size, len(missing)), *job.dataset.image_shape), job.device, job.dtype)
    label = f"{job.label}{job.dataset.name} {job.task.name} {job.sampler_name}"
    with tqdm(total=len(missing), desc=label, unit="img", bar_format=_BAR, mininterval=1.0) as bar:
        for batch, images in _load(job, records, missing):
            cell.append(_Batch(job, cell, batch, images, bar).rows())
            if job.stop():
                return True
    return False


def _warm_up(denoiser: Denoiser, shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> None:
    """One call and one backward pass, so that plans and kernels made on first use are in nobody's seconds."""
    x_t = torch.zeros(*shape, device=device, dtype=dtype, requires_grad=True)
    denoiser.predict(x_t, 0).x0_hat.sum().backward()  # type: ignore[no-untyped-call]


_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} img [{elapsed}<{remaining}]"


def _load(job: Job, records: Sequence[Record], missing: set[str]) -> Iterator[tuple[list[Record], list[Tensor]]]:
    """Batches by place in the dataset, so that a resumed run groups images as an uninterrupted one does."""
    batches = []
    for start in range(0, len(records), job.batch_size):
        places = [i for i in range(start, min(start + job.batch_size, len(records))) if records[i].id in missing]
        if places:
            batches.append(places)
    if job.workers == 0:
        for places in batches:
            yield [records[i] for i in places], [job.dataset.load(i) for i in places]
        return
    with ThreadPoolExecutor(job.workers) as pool:
        ahead = [[pool.submit(job.dataset.load, i) for i in places] for places in batches[:2]]
        for number, places in enumerate(batches):
            if number + 2 < len(batches):
                ahead.append([pool.submit(job.dataset.load, i) for i in batches[number + 2]])
            yield [records[i] for i in places], [future.result() for future in ahead[number]]
            ahead[number] = []


class _Batch:
    """One batch on its way from images to rows."""

    def __init__(self, job: Job, cell: Cell, records: list[Record], images: list[Tensor], bar: "tqdm[Any]") -> None:
        self.job, self.cell, self.records, self.bar = job, cell, records, bar
        self.x = torch.stack(images)
        self.y: Tensor | None = None
        self._shown = 0.0

    def rows(self) -> list[dict[str, Any]]:
        """One row per image, in order. Pictures are on disk before the rows that name them."""
        job = self.job
        try:
            y = [
                job.task.measure(x, job.seed, job.dataset.name, r.id)[1]
                for x, r in zip(self.x, self.records, strict=True)
            ]
            self.y = torch.cat(y).to(job.dtype)
        except Unsupported as error:
            return [self._row(i, "unsupported", str(error)) for i in range(len(self.records))]
        except ValueError as error:
            return [self._row(i, "failed", f"task={job.task.name}: {error}") for i in range(len(self.records))]
        rows: dict[int, dict[str, Any]] = {}
        places = list(range(len(self.records)))
        while places:  # once, unless an image turns NaN: the rest, independent of it, is then done without it
            places = self._attempt(places, rows)
        return [rows[i] for i in sorted(rows)]

    def _attempt(self, places: list[int], rows: dict[int, dict[str, Any]]) -> list[int]:
        """Restore the images at `places`, fill in their rows; returns the places to try again."""
        try:
            rows.update(self._restore(places))
        except Unsupported as error:
            rows.update({i: self._row(i, "unsupported", str(error)) for i in places})
        except NotFinite as error:
            bad = {places[i] for i in error.images}
            rows.update({i: self._row(i, "failed", f"image {self.records[i].id}: {error}") for i in bad})
            return [i for i in places if i not in bad]
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # A method's own failure is a row, so that it neither stops a sweep nor leaves a hole in the table.
            (self.cell.folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
            reason = f"{type(error).__name__}: {error} (traceback.txt in the cell's folder)"
            rows.update({i: self._row(i, "failed", reason) for i in places})
        return []

    def _restore(self, places: list[int]) -> dict[int, dict[str, Any]]:
        job = self.job
        x = self.x[places].to(job.device, job.dtype)
        assert self.y is not None  # rows() measured first
        y = self.y[places].to(job.device)
        ids = [self.records[i].id for i in places]
        streams = Streams(job.seed, job.dataset.name, ids, job.device, job.dtype)
        operator = job.task.operator(x.shape[1:], streams)
        if not isinstance(operator, job.sampler.requires):
            raise Unsupported(f"{job.sampler_name} needs a {job.sampler.requires.__name__}; {job.task.name} is not one")
        job.sampler.check(operator)

        denoiser = Counted(job.denoiser)
        memory = PeakMemory(job.device)
        start = time.perf_counter()
        x_hat = job.sampler.restore(y, operator, job.task.noise.sigma_y, denoiser, streams, self._progress(len(places)))
        if job.device.type == "cuda":
            torch.cuda.synchronize(job.device)
        seconds = (time.perf_counter() - start) / len(places)
        check_finite(x_hat, "the end")

        pixels = to_uint8(x_hat)
        scores = self._score(from_uint8(pixels).to(x), x, y, operator)
        cost = {"nfe": denoiser.nfe, "n_backward": denoiser.n_backward, "seconds": seconds, "peak_mem_mb": memory.mib()}
        self.bar.update(len(places) - self._shown)
        self._shown = 0.0
        for i, u8 in zip(places, pixels, strict=True):
            self._save(i, u8)
        return {i: self._row(i, "ok", "") | scores[k] | cost for k, i in enumerate(places)}

    @torch.no_grad()
    def _score(self, x_hat: Image, x: Image, y: Measurement, operator: Operator) -> list[dict[str, float]]:
        """Scores of the 8-bit pictures, the ones that are saved.

        One image at a time: grouped sums would differ in their last bits, and a picture scored again alone must score
        the same.
        """
        sigma_y, count = self.job.task.noise.sigma_y, operator.observed_count(y)
        consistency = data_consistency(y, operator.A(x_hat), sigma_y, count)
        return [
            {name: float(value) for name, value in self.job.metrics(x_hat[k : k + 1], x[k : k + 1]).items()}
            | {"data_consistency": float(consistency[k])}
            for k in range(len(x))
        ]

    def _save(self, i: int, pixels: Tensor) -> None:
        name = f"{safe_name(self.records[i].id)}.png"
        write_atomic(self.cell.folder / "images" / name, encode_png(pixels))
        reference = self.job.folder / self.job.dataset.name / "reference" / name
        if not reference.exists():
            make_folder(reference.parent)
            write_atomic(reference, encode_png(to_uint8(self.x[i])))

    def _progress(self, images: int) -> Callable[[Pairs], Pairs]:
        self.bar.update(-self._shown)  # a second attempt starts over
        self._shown = 0.0

        def wrap(pairs: Pairs) -> Iterator[tuple[int, int]]:
            steps = list(pairs)
            for pair in steps:
                yield pair
                self._shown += images / len(steps)
                self.bar.update(images / len(steps))

        return wrap

    def _row(self, i: int, status: str, reason: str) -> dict[str, Any]:
        job, record = self.job, self.records[i]
        y_sha256 = "" if self.y is None else hashlib.sha256(self.y[i].contiguous().numpy().tobytes()).hexdigest()
        return {
            "dataset": job.dataset.name,
            "image_id": record.id,
            "image_sha256": record.sha256,
            "y_sha256": y_sha256,
            "task": job.task.name,
            "sigma": job.task.sigma,
            "sigma_range": job.task.sigma_range,
            "sampler": job.sampler_name,
            "prior": job.prior_name,
            "seed": job.seed,
            "run_id": job.run["run_id"],
            "status": status,
            "reason": reason,
            "image_file": f"{safe_name(record.id)}.png" if status == "ok" else "",
            **job.sampler.facts(),
        }
