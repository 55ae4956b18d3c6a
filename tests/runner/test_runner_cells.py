"""One cell through the real runner: the same rows whatever the batch size, order, workers or company."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from safari_bench import operators as ops
from safari_bench.data import Photos, from_uint8, read_image
from safari_bench.ledger import run_id
from safari_bench.metrics import Gmsd, HaarPsi, Psnr, Ssim, Suite
from safari_bench.priors.gaussian import load
from safari_bench.runner import Job, Task, run_cell
from safari_bench.samplers import DPS, Degraded, SaFaRI, Sampler, Unconditional

#: columns that measure this run rather than the restoration
COST = ["seconds", "peak_mem_mb"]
TASKS = {
    "sr_x4": functools.partial(ops.BicubicDownsample, factor=4),
    "inpaint_box": functools.partial(ops.BoxInpainting, hole=32, margin=4),
    "deblur_motion": functools.partial(ops.MotionBlur, taps=15, intensity=0.5),
    "cs_walsh": functools.partial(ops.WalshCompressedSensing, ratio=0.5),
    "phase_retrieval": functools.partial(ops.PhaseRetrieval, oversample=2.0),
}
SAMPLERS = {
    "unconditional": Unconditional(steps=8),
    "dps": DPS(steps=8),
    "safari": SaFaRI(steps=8),
    "degraded": Degraded(),
}


class Reordered:
    """The same photographs in another order."""

    name = "photos"

    def __init__(self, n: int, order: list[int]) -> None:
        self.inner, self.order = Photos(n=n), order
        self.image_shape = self.inner.image_shape

    def records(self):
        return [self.inner.records()[i] for i in self.order]

    def load(self, index):
        return self.inner.load(self.order[index])

    def describe(self):
        return self.inner.describe()


def measured(name: str, operator) -> Task:
    noise = ops.Gaussian(0.05, "minus_one_one")
    return Task(name=name, operator=operator, noise=noise, sigma=0.05, sigma_range="minus_one_one")


def job(folder: Path, task="sr_x4", sampler="safari", **changes) -> Job:
    spec = {"task": {"name": str(task)}, "sampler": {"name": sampler}}
    settings = dict(
        dataset=Photos(n=4),
        task=measured(task, TASKS[task]) if isinstance(task, str) else task,
        sampler_name=sampler,
        sampler=SAMPLERS.get(sampler),
        prior_name="gaussian",
        denoiser=load(),
        metrics=Suite([Psnr(), Ssim(), HaarPsi(), Gmsd()]),
        seed=0,
        device=torch.device("cpu"),
        dtype=torch.float32,
        batch_size=4,
        workers=0,
        folder=folder,
        run={"spec": spec, "run_id": run_id(spec)},
    )
    return Job(**{**settings, **changes})


def rows(job: Job) -> pd.DataFrame:
    run_cell(job)
    return pd.read_csv(job.cell_folder / "rows.csv", dtype={"image_id": str}, keep_default_na=False).set_index(
        "image_id", drop=False
    )


def assert_same(ours: pd.DataFrame, theirs: pd.DataFrame, rtol: float) -> None:
    theirs = theirs.loc[ours.index]
    for column in ours.columns.difference(COST):
        if pd.api.types.is_numeric_dtype(ours[column]):
            np.testing.assert_allclose(ours[column], theirs[column], rtol=rtol, err_msg=column)
        else:
            assert list(ours[column]) == list(theirs[column]), column


@pytest.mark.parametrize("sampler", ["unconditional", "dps", "safari", "degraded"])
def test_rows_do_not_depend_on_portions_or_order(tmp_path, sampler):
    """Scores agree to 1e-3 relative: an 8-bit pixel may round the other way when float32 sums are grouped otherwise."""
    reference = rows(job(tmp_path / "a", sampler=sampler))
    assert_same(rows(job(tmp_path / "b", sampler=sampler, batch_size=1)), reference, 1e-3)
    assert_same(rows(job(tmp_path / "c", sampler=sampler, batch_size=3, workers=2)), reference, 1e-3)
    assert_same(rows(job(tmp_path / "d", sampler=sampler, dataset=Reordered(4, [3, 1, 0, 2]))), reference, 1e-3)


def test_rows_do_not_depend_on_what_ran_before(tmp_path):
    alone = rows(job(tmp_path / "a", sampler="dps"))
    rows(job(tmp_path / "b", sampler="unconditional"))
    torch.rand(7)
    np.random.random(7)
    assert_same(rows(job(tmp_path / "b", sampler="dps")), alone, 0)


@pytest.mark.parametrize("task", TASKS)
def test_every_method_sees_the_same_bytes_of_y(tmp_path, task):
    digests = {
        sampler: list(rows(job(tmp_path, task=task, sampler=sampler, batch_size=size)).y_sha256)
        for sampler, size in (("unconditional", 4), ("dps", 1), ("degraded", 3))
    }
    assert digests["dps"] == digests["unconditional"] == digests["degraded"]
    assert len(set(digests["dps"])) == 4


def test_another_seed_is_another_y(tmp_path):
    first, second = rows(job(tmp_path / "a")), rows(job(tmp_path / "b", seed=1))
    assert not set(first.y_sha256) & set(second.y_sha256)


def test_scores_are_those_of_the_saved_picture(tmp_path):
    work = job(tmp_path, sampler="dps")
    table = rows(work)
    for i, image_id in enumerate(table.index):
        saved = read_image(work.cell_folder / "images" / table.image_file[image_id])
        x_hat = from_uint8(torch.tensor(saved)).permute(2, 0, 1)[None]
        x = work.dataset.load(i)[None]
        assert float(Psnr()(x_hat, x)) == table.psnr[image_id]
        assert float(HaarPsi()(x_hat, x)) == table.haarpsi[image_id]
        (folder,) = (tmp_path / "photos" / "reference").iterdir()
        reference = read_image(folder / table.image_file[image_id])
        torch.testing.assert_close(from_uint8(torch.tensor(reference)).permute(2, 0, 1)[None], x)


def test_data_consistency_is_that_of_the_degraded_pixels(tmp_path):
    """Denoising's baseline is y itself: the residual is the clipping and rounding of y, seen in the saved picture."""
    task = measured("denoising", ops.Denoising)
    work = job(tmp_path, sampler="degraded", task=task)
    table = rows(work)
    image_id = table.index[0]
    _, y = task.measure(work.dataset.load(0), 0, "photos", image_id)
    saved = read_image(work.cell_folder / "images" / table.image_file[image_id]).astype(np.float64) / 127.5 - 1
    residual = y[0].permute(1, 2, 0).numpy() - saved
    assert table.data_consistency[image_id] == pytest.approx(np.sqrt((residual**2).mean()) / 0.05, rel=1e-5)


def test_costs_are_counted(tmp_path):
    table = rows(job(tmp_path, sampler="dps"))
    assert (table.nfe == 8).all()
    assert (table.n_backward == 8).all()
    assert (table.seconds > 0).all()
    assert (table.peak_mem_mb > 50).all()


def test_a_second_run_computes_nothing(tmp_path):
    work = job(tmp_path)
    assert run_cell(work).computed == 4
    before = (work.cell_folder / "rows.csv").stat().st_mtime_ns
    assert run_cell(work).computed == 0
    assert (work.cell_folder / "rows.csv").stat().st_mtime_ns == before


def test_a_run_that_goes_on_with_other_metrics_has_them_for_every_image(tmp_path):
    polls = iter([True])
    run_cell(job(tmp_path, batch_size=2, metrics=Suite([Psnr()]), stop=lambda: next(polls)))
    outcome = run_cell(job(tmp_path, batch_size=2, metrics=Suite([Psnr(), Gmsd()])))
    assert (outcome.computed, outcome.notes) == (2, ["scored the saved pictures by gmsd"])
    whole = rows(job(tmp_path / "whole", batch_size=2, metrics=Suite([Psnr(), Gmsd()])))
    assert_same(rows(job(tmp_path, batch_size=2, metrics=Suite([Psnr(), Gmsd()]))), whole, 0)
    later = run_cell(job(tmp_path, metrics=Suite([Ssim()])))  # and a finished one
    assert (later.attempted, later.notes) == (0, ["scored the saved pictures by ssim"])
    table = rows(job(tmp_path, metrics=Suite([Ssim()])))
    assert table[["psnr", "gmsd", "ssim"]].notna().all(axis=None)
    # a picture that is gone costs neither the run nor the scores that are there
    work = job(tmp_path, metrics=Suite([HaarPsi()]))
    next((work.cell_folder / "images").iterdir()).unlink()
    (note,) = run_cell(work).notes
    assert note.startswith("some scores are missing: image ") and "haarpsi" not in rows(work)


def test_what_cannot_work_is_a_row_with_a_reason(tmp_path):
    table = rows(job(tmp_path, task="phase_retrieval", sampler="safari"))
    assert set(table.status) == {"unsupported"}
    assert all("picture" in reason for reason in table.reason)
    assert run_cell(job(tmp_path, task="phase_retrieval", sampler="safari")).computed == 0


@dataclasses.dataclass(frozen=True)
class Failing(Unconditional):
    """Raises, or returns NaN for one image, or asks for more than the operator is."""

    how: str = "raise"
    bad: str = ""

    def restore(self, problem, denoiser, progress):
        if self.how == "raise":
            raise RuntimeError("no such luck")
        x = super().restore(problem, denoiser, progress)
        for i, image_id in enumerate(problem.streams.ids):
            if image_id == self.bad:
                x[i, 0, 0, 0] = torch.nan
        return x


def test_a_failing_method_is_a_row_a_traceback_and_a_retry(tmp_path):
    work = job(tmp_path, sampler="dps")
    outcome = run_cell(dataclasses.replace(work, sampler=Failing()))
    assert outcome.counts == {"failed": 4}
    assert "RuntimeError: no such luck" in outcome.reasons[0]
    assert "no such luck" in (work.cell_folder / "traceback.txt").read_text()
    assert run_cell(work).counts == {"ok": 4}


def test_one_bad_image_does_not_spoil_its_batch(tmp_path):
    clean = rows(job(tmp_path / "a", sampler="unconditional"))
    bad = clean.index[2]
    broken = job(tmp_path / "b", sampler="unconditional", sampler_name="unconditional")
    table = rows(dataclasses.replace(broken, sampler=Failing(steps=8, how="nan", bad=bad)))
    assert list(table.status) == ["ok", "ok", "failed", "ok"]
    assert bad in table.reason[bad]
    others = [i for i in table.index if i != bad]
    np.testing.assert_allclose(table.psnr[others].astype(float), clean.psnr[others], rtol=1e-3)


def test_a_method_that_needs_more_is_refused_with_a_reason(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class NeedsSvd(Unconditional):
        requires = ops.SVDOperator

    work = job(tmp_path, task="phase_retrieval", sampler="dps")
    table = rows(dataclasses.replace(work, sampler=NeedsSvd(steps=2)))
    assert set(table.status) == {"unsupported"}
    assert "SVDOperator" in table.reason.iloc[0]


class Drifting(ops.Operator):
    """Its scale is another one each time it is built, as of an operator that draws outside the streams."""

    built = 0

    def __init__(self, image_shape, streams):
        super().__init__(image_shape, streams)
        Drifting.built += 1
        self.scale = torch.full((len(streams), 1, 1, 1), float(Drifting.built), dtype=streams.dtype)

    def A(self, x):
        return self.scale * x


def test_the_operator_that_made_y_is_the_one_the_sampler_gets(tmp_path):
    seen = []

    class Looking(Sampler):
        uses_prior = False

        def restore(self, problem, denoiser, progress):
            seen.append(problem)
            return problem.y / problem.operator.scale

    task = dataclasses.replace(measured("drifting", Drifting), noise=ops.NoNoise())
    table = rows(dataclasses.replace(job(tmp_path, task=task, sampler="degraded"), sampler=Looking()))
    (problem,) = seen
    assert problem.operator.scale.flatten().tolist() == [1, 2, 3, 4] and Drifting.built == 4
    assert problem.operator.dtype == problem.operator.scale.dtype == problem.y.dtype == torch.float32
    assert (table.psnr > 50).all()  # up to the rounding of the saved picture


def test_stopping_keeps_the_batches_that_are_done(tmp_path):
    whole = rows(job(tmp_path / "a", batch_size=1))
    polls = iter([False, True])
    outcome = run_cell(job(tmp_path / "b", batch_size=1, stop=lambda: next(polls)))
    assert outcome.interrupted
    assert outcome.computed == 2
    assert_same(rows(job(tmp_path / "b", batch_size=1)), whole, 0)
