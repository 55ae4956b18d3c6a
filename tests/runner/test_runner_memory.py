"""Memory that runs out costs time and no row; a batch size that is left open follows from what is free."""

import dataclasses
import math

import pytest
import torch
from test_runner_cells import SAMPLERS, assert_same, job, rows

from safari_bench.diffusion import Prediction
from safari_bench.operators import Denoising
from safari_bench.priors.gaussian import load
from safari_bench.rng import Streams
from safari_bench.runner import calls, capacity, fitting, forecast, time_calls, truth
from safari_bench.runner.capacity import out_of_memory
from safari_bench.samplers import DAPS, DDRM, MMPS, Restarts

SMALL = Denoising((3, 8, 8), Streams(0, "forecast", ["one"]))
CPU = "[enforce fail at alloc_cpu.cpp:119] data. DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"


class Narrow:
    """A prior with room for so many images at once."""

    def __init__(self, room: int, error: BaseException) -> None:
        self.inner, self.room, self.error = load(), room, error
        self.schedule, self.sha256, self.asked = self.inner.schedule, self.inner.sha256, []

    def predict(self, x_t: torch.Tensor, t: int, *, clip: bool = False) -> Prediction:
        self.asked.append(len(x_t))
        if len(x_t) > self.room:
            raise self.error
        return self.inner.predict(x_t, t, clip=clip)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:75] data. DefaultCPUAllocator: not enough memory: 9 bytes"),
        RuntimeError(CPU),
        MemoryError(),
    ],
    ids=lambda error: str(error)[:40],
)
def test_words_for_a_lack_of_memory(error):
    assert out_of_memory(error)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(CPU), MemoryError()])
def test_a_batch_that_does_not_fit_is_done_in_parts_with_the_same_rows(tmp_path, error):
    prior = Narrow(1, error)
    ours = rows(job(tmp_path / "narrow", denoiser=prior))
    assert set(ours.status) == {"ok"} and max(prior.asked) == 4
    assert_same(ours, rows(job(tmp_path / "whole", batch_size=1)), rtol=0)


def test_memory_that_is_short_in_the_middle_of_a_run_is_met_with_halves_once(tmp_path):
    prior = Narrow(4, torch.OutOfMemoryError())
    task = job(tmp_path, denoiser=prior, batch_size=4)
    original = prior.predict

    def shrinking(x_t, t, *, clip=False):  # the second call of the method is the one that no longer fits
        if len(prior.asked) == 2:
            prior.room = 2
        return original(x_t, t, clip=clip)

    prior.predict = shrinking
    assert set(rows(task).status) == {"ok"}
    assert prior.asked[2] == 4 and set(prior.asked[3:]) == {2}


def test_one_image_that_does_not_fit_is_a_failed_row_with_the_reason(tmp_path):
    found = rows(job(tmp_path, denoiser=Narrow(0, torch.OutOfMemoryError("CUDA out of memory"))))
    assert set(found.status) == {"failed"} and "out of memory" in found.reason.iloc[0]


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    assert not out_of_memory(RuntimeError("shapes differ")) and not out_of_memory(ValueError("out of memory"))
    assert not out_of_memory(torch.AcceleratorError("CUDA error: device-side assert triggered"))


@pytest.mark.parametrize(("free", "expected"), [(1000.0, 5), (1.0, 1), (1e9, 64)])
def test_an_open_batch_size_follows_from_the_free_memory(tmp_path, monkeypatch, free, expected):
    peaks = iter([300.0, 400.0])  # one image, two images: 100 MiB each

    class Memory:
        def __init__(self, device: torch.device) -> None: ...

        def mib(self) -> float:
            return next(peaks)

    monkeypatch.setattr(capacity, "PeakMemory", Memory)
    monkeypatch.setattr(capacity, "free_mib", lambda device: free)
    assert fitting(job(tmp_path, batch_size=0)) == expected  # half of what is free on a CPU
    assert fitting(job(tmp_path, batch_size=7)) == 7


def test_an_open_batch_size_runs(tmp_path):
    assert set(rows(job(tmp_path, batch_size=0, denoiser=Narrow(1, torch.OutOfMemoryError()))).status) == {"ok"}


def test_calls_are_those_that_a_run_counts(tmp_path):
    """The count on an 8 x 8 stand-in against the rows of a run."""
    methods = {
        **SAMPLERS,
        "mmps": MMPS(steps=4, iterations=2, rtol=0.0),
        "daps": DAPS(steps=3, ode_steps=2, langevin_steps=2),
        "dps_restarts": Restarts(n=2, sampler=SAMPLERS["dps"]),
    }
    for name, method in methods.items():
        one = dataclasses.replace(job(tmp_path / name), sampler=method)
        found = rows(one)
        counted = calls(method, SMALL, one.denoiser.schedule)
        assert counted == (found.nfe.astype(float).iloc[0], found.n_backward.astype(float).iloc[0]), name


def test_a_forecast_stands_beside_the_truth(tmp_path):
    one = job(tmp_path, sampler="dps")
    timing = time_calls(one.denoiser, one.dataset.image_shape, 2, one.device, one.dtype)
    assert timing.forward > 0 and timing.backward >= 0 and timing.memory > 0
    counted = calls(one.sampler, SMALL, one.denoiser.schedule)
    before = forecast(one, counted, timing)
    assert (before.images, before.nfe, before.n_backward, before.done) == (4, 8, 8, 0)
    assert math.isnan(before.true_nfe) and math.isnan(before.true_disk) and math.isnan(before.true_memory)
    assert 0 < before.disk == before.references < 1 and (before.batch, before.memory) == (2, timing.memory)
    assert before.hours == pytest.approx(4 * 8 * (timing.forward + timing.backward) / 3600)
    found = rows(one)
    after = forecast(one, counted, timing)
    assert (after.done, after.true_nfe) == (4, 8)
    assert after.true_hours == pytest.approx(found.seconds.astype(float).sum() / 3600)
    assert after.true_memory == found.peak_mem_mb.astype(float).max()
    pictures = [path.stat().st_size for path in one.cell_folder.rglob("*.png")]
    originals = [path.stat().st_size for path in (tmp_path / one.dataset.name / "reference").rglob("*.png")]
    assert len(pictures) == len(originals) == 4 and after.true_references == sum(originals) / 1e6
    assert sum(pictures) / 1e6 < after.true_disk < sum(pictures) / 1e6 + 0.1  # the rows and run.json
    assert truth(before, one.folder) == after


def test_a_call_is_timed_after_one_of_its_own_kind():
    prior = Narrow(1, MemoryError())
    kinds, original = [], prior.predict

    def noted(x_t, t, *, clip=False):
        kinds.append(torch.is_grad_enabled())
        return original(x_t, t, clip=clip)

    prior.predict = noted
    time_calls(prior, (3, 8, 8), 1, torch.device("cpu"), torch.float32)
    assert kinds == [True, False, False, True]  # torch.compile builds a network per kind, in seconds to minutes


def test_what_a_method_cannot_do_costs_nothing(tmp_path):
    nonlinear = dataclasses.replace(job(tmp_path, task="phase_retrieval"), sampler=DDRM(), sampler_name="ddrm")
    timing = time_calls(nonlinear.denoiser, (3, 8, 8), 1, nonlinear.device, nonlinear.dtype)
    found = forecast(nonlinear, (20, 0), timing)
    assert (found.nfe, found.hours, found.disk) == (0, 0.0, 0.0) and found.unsupported
