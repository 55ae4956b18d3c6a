"""One batch on its way from images to rows."""

import hashlib
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from safari_bench.data import Record, encode_png, from_uint8, safe_name, to_uint8
from safari_bench.diffusion import Counted, NotFinite, check_finite
from safari_bench.ledger import Cell, make_folder, write_atomic
from safari_bench.machine import PeakMemory
from safari_bench.metrics import data_consistency
from safari_bench.operators.contract import Operator, Unsupported, join
from safari_bench.rng import Streams
from safari_bench.runner.capacity import Capacity, out_of_memory
from safari_bench.runner.job import Job
from safari_bench.runner.scoring import references
from safari_bench.samplers.contract import Pairs, Problem
from safari_bench.shapes import Image, Measurement

__all__ = ["Batch"]


class Batch:
    """Images of one cell that are restored together; see `rows`."""

    def __init__(
        self,
        job: Job,
        cell: Cell,
        records: list[Record],
        images: list[Tensor],
        bar: "tqdm[Any]",
        capacity: Capacity,
    ) -> None:
        self.job, self.cell, self.records, self.bar, self.capacity = job, cell, records, bar, capacity
        self.x = torch.stack(images)
        self.operators: list[Operator] = []  # of each image, which made its y
        self.y: Tensor | None = None
        self._before = round(bar.n)  # images before the attempt under way

    def rows(self) -> list[dict[str, Any]]:
        """One row per image, in order. Pictures are on disk before the rows that name them."""
        job = self.job
        try:
            measured = [
                job.task.measure(x, job.seed, job.dataset.name, r.id) for x, r in zip(self.x, self.records, strict=True)
            ]
            self.operators = [operator for operator, _ in measured]
            self.y = torch.cat([y for _, y in measured]).to(job.dtype)
        except Unsupported as error:
            return [self._row(i, "unsupported", str(error)) for i in range(len(self.records))]
        except ValueError as error:
            return [self._row(i, "failed", f"task={job.task.name}: {error}") for i in range(len(self.records))]
        rows: dict[int, dict[str, Any]] = {}
        places = list(range(len(self.records)))
        while places:  # once, unless an image turns NaN or memory is short: the rest is then done without, or in parts
            group = places[: self.capacity.images]
            places = self._attempt(group, rows) + places[len(group) :]
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
        except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
            if out_of_memory(error) and len(places) > 1:
                self.capacity.shrink(len(places))
                return places
            # A method's own failure is a row, so that it neither stops a sweep nor leaves a hole in the table.
            (self.cell.folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
            reason = f"{type(error).__name__}: {error} (traceback.txt in the cell's folder)"
            rows.update({i: self._row(i, "failed", reason) for i in places})
        return []

    def _restore(self, places: list[int]) -> dict[int, dict[str, Any]]:
        job = self.job
        x = self.x[places].to(job.device)
        assert self.y is not None  # rows() measured first
        y = self.y[places].to(job.device)
        ids = [self.records[i].id for i in places]
        streams = Streams(job.seed, job.dataset.name, ids, job.device, job.dtype)
        operator = join([self.operators[i] for i in places], job.device, job.dtype)
        job.sampler.admit(operator)
        problem = Problem(y=y, operator=operator, sigma_y=job.task.noise.sigma_y, streams=streams)

        denoiser = Counted(job.denoiser)
        memory = PeakMemory(job.device)
        start = time.perf_counter()
        x_hat = job.sampler.restore(problem, denoiser, self._progress(len(places)))
        if job.device.type == "cuda":
            torch.cuda.synchronize(job.device)
        seconds = (time.perf_counter() - start) / len(places)
        check_finite(x_hat, "the end")

        pixels = to_uint8(x_hat)
        scores = self._score(from_uint8(pixels), x, y, operator)
        cost = {"nfe": denoiser.nfe, "n_backward": denoiser.n_backward, "seconds": seconds, "peak_mem_mb": memory.mib()}
        self._before += len(places)
        self.bar.update(self._before - self.bar.n)
        for i, u8 in zip(places, pixels, strict=True):
            self._save(i, u8)
        return {i: self._row(i, "ok", "") | scores[k] | cost for k, i in enumerate(places)}

    @torch.no_grad()
    def _score(self, x_hat: Image, x: Image, y: Measurement, operator: Operator) -> list[dict[str, float]]:
        """Scores of the 8-bit pictures, the ones that are saved. Metrics get float32, whatever the run's precision.

        One image at a time: grouped sums would differ in their last bits, and a picture scored again alone must score
        the same.
        """
        sigma_y, count = self.job.task.noise.sigma_y, operator.observed_count(y)
        consistency = data_consistency(y, operator.A(x_hat.to(self.job.dtype)), sigma_y, count)
        return [
            {name: float(value) for name, value in self.job.metrics(x_hat[k : k + 1], x[k : k + 1]).items()}
            | {"data_consistency": float(consistency[k])}
            for k in range(len(x))
        ]

    def _save(self, i: int, pixels: Tensor) -> None:
        name = f"{safe_name(self.records[i].id)}.png"
        write_atomic(self.cell.folder / "images" / name, encode_png(pixels))
        reference = references(self.cell) / name
        if not reference.exists():
            make_folder(reference.parent)
            write_atomic(reference, encode_png(to_uint8(self.x[i])))

    def _progress(self, images: int) -> Callable[[Pairs], Pairs]:
        self.bar.update(self._before - self.bar.n)  # a second attempt starts over

        def wrap(pairs: Pairs) -> Iterator[tuple[int, int]]:
            steps = list(pairs)
            for done, pair in enumerate(steps, start=1):
                yield pair
                # from the total, not by a share each: rounding would run past the end
                self.bar.update(self._before + images * done / len(steps) - self.bar.n)
                total = len(self.cell.ids)
                for logger in self.job.loggers:  # the bar counts from what was missing when the cell was opened
                    logger.progress(float(total - (self.bar.total or 0) + self.bar.n), total)

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
