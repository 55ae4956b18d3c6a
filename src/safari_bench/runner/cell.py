"""One cell: images -> y -> restore -> score -> rows."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from safari_bench.data import DataError, Record
from safari_bench.data.contract import records_digest
from safari_bench.ledger import Cell
from safari_bench.runner.batch import Batch
from safari_bench.runner.capacity import Capacity, fitting, out_of_memory, warm_up
from safari_bench.runner.job import Job, Outcome
from safari_bench.runner.scoring import fill_in, score_set

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
        # by the images, not by the dataset's name: its folder may hold other pictures of the same names tomorrow
        cell.open({**job.run, "references": f"reference/{records_digest(records)[:12]}"})
        missing = set(cell.missing())
        with ExitStack() as following:
            run, found = cell.run(), [log for log in job.loggers if missing or log.wants(cell.folder, job.run)]
            told = [following.enter_context(log.follow(cell.folder, run)) for log in found]
            if len(cell.rows()):
                _tell(told, cell)
            interrupted = _compute(job, cell, records, missing, told) if missing else False
        notes = _filled_in(job, cell)
        if len(cell.rows()) == len(records):
            cell.close()
            notes += score_set(cell, job.metrics.sets, job.device, job.label) if job.metrics.sets else []
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


def _filled_in(job: Job, cell: Cell) -> list[str]:
    """Scores that rows lack are computed; a picture that is gone is told and stops nothing."""
    facts = {key: job.run[key] for key in ("version", "machine") if key in job.run}
    try:
        filled = fill_in(cell, job.metrics, facts, job.device, job.label)
    except DataError as error:
        return [f"some scores are missing: {error}"]
    return [f"scored the saved pictures by {', '.join(filled)}"] if filled else []


def _tell(told: Sequence[Callable[[pd.DataFrame], None]], cell: Cell) -> None:
    for tell in told:
        tell(cell.rows())


def _compute(
    job: Job,
    cell: Cell,
    records: Sequence[Record],
    missing: set[str],
    told: Sequence[Callable[[pd.DataFrame], None]],
) -> bool:
    """Work through the batches that hold missing images. Returns whether it was asked to stop."""
    job = replace(job, batch_size=fitting(job))
    capacity = _warmed_up(job, min(job.batch_size, len(missing)))
    label = f"{job.label}{job.dataset.name} {job.task.name} {job.sampler_name}"
    with tqdm(total=len(missing), desc=label, unit="img", bar_format=_BAR, mininterval=1.0) as bar:
        for batch, images in _load(job, records, missing):
            cell.append(Batch(job, cell, batch, images, bar, capacity).rows())
            _tell(told, cell)
            if job.stop():
                return True
    return False


def _warmed_up(job: Job, images: int) -> Capacity:
    """How many images the prior has room for, at most `images`, once it has been called with that many."""
    capacity = Capacity(images)
    while True:
        tried = capacity.images
        try:
            warm_up(job, tried)
            return capacity
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        if tried == 1:
            return capacity  # the rows will say that not even one image fits
        capacity.shrink(tried)


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
