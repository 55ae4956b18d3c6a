"""One cell: images -> y -> restore -> score -> rows."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from tqdm import tqdm

from safari_bench.data import Record
from safari_bench.diffusion import Denoiser
from safari_bench.ledger import Cell
from safari_bench.runner.batch import Batch
from safari_bench.runner.job import Job, Outcome
from safari_bench.runner.scoring import score_set

__all__ = ["run_cell"]

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} img [{elapsed}<{remaining}]"


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
        notes = []
        if len(cell.rows()) == len(records):
            cell.close()
            notes = score_set(cell, job.metrics.sets, job.device, job.label) if job.metrics.sets else []
        rows = cell.rows()
    bad = rows[rows.status != "ok"]
    return Outcome(
        len(records),
        len(missing),
        len(missing) - len(cell.missing()),
        {str(status): int(n) for status, n in rows.status.value_counts().items()},
        sorted(set(bad.reason)),
        interrupted,
        job.cell_folder,
        notes,
    )


def _compute(job: Job, cell: Cell, records: Sequence[Record], missing: set[str]) -> bool:
    """Work through the batches that hold missing images. Returns whether it was asked to stop."""
    _warm_up(job.denoiser, (min(job.batch_size, len(missing)), *job.dataset.image_shape), job.device, job.dtype)
    label = f"{job.label}{job.dataset.name} {job.task.name} {job.sampler_name}"
    with tqdm(total=len(missing), desc=label, unit="img", bar_format=_BAR, mininterval=1.0) as bar:
        for batch, images in _load(job, records, missing):
            cell.append(Batch(job, cell, batch, images, bar).rows())
            if job.stop():
                return True
    return False


def _warm_up(denoiser: Denoiser, shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> None:
    """One call and one backward pass, so that plans and kernels made on first use are in nobody's seconds."""
    x_t = torch.zeros(*shape, device=device, dtype=dtype, requires_grad=True)
    denoiser.predict(x_t, 0).x0_hat.sum().backward()  # type: ignore[no-untyped-call]


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
