"""One call of a prior's network, measured in every arithmetic, layout and batch size that a plan asks for."""

import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from tabulate import tabulate

from safari_bench.runner import Job, Timing, fitting, out_of_memory, time_calls

__all__ = ["Timings"]


@dataclass(frozen=True)
class _Setting:
    prior: str
    side: int
    precision: str
    compile: bool
    channels_last: bool
    batch: int


class Timings:
    """Measures each setting once, and keeps what was measured for a table."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[_Setting, Timing]] = {}
        self._machine: dict[str, Any] = {}

    def of(self, job: Job) -> Timing:
        """The cost of a call for a cell, of as many images at once as there is room for, up to the batch asked for."""
        if not job.sampler.uses_prior:
            return Timing(job.batch_size, 0.0, 0.0, 0.0)
        self._machine = job.run["machine"]
        batch = min(fitting(job), len(job.dataset.records()))
        while True:
            timing = self._measure(job, batch)
            if batch == 1 or not math.isnan(timing.forward):
                return timing
            print(f"{batch} images at once do not fit into memory; {batch // 2} instead", file=sys.stderr)
            batch //= 2

    def _measure(self, job: Job, batch: int) -> Timing:
        compute = job.run["config"]["compute"]
        setting = _Setting(
            prior=job.prior_name,
            side=job.dataset.image_shape[1],
            precision=job.run["spec"]["precision"],
            compile=compute["compile"],
            channels_last=compute["channels_last"],
            batch=batch,
        )
        key = json.dumps([job.run["spec"]["prior"], vars(setting)], sort_keys=True)
        if key not in self._found:
            try:
                timing = time_calls(job.denoiser, job.dataset.image_shape, batch, job.device, job.dtype)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                timing = Timing(batch, math.nan, math.nan, math.nan)
                if job.device.type == "cuda":
                    torch.cuda.empty_cache()
            self._found[key] = setting, timing
        return self._found[key][1]

    def frame(self) -> pd.DataFrame:
        """A row per setting. Columns: the setting; ms_forward, ms_both: milliseconds per image of a call, and of one
        with its backward pass; mib: memory at the peak of the latter, of the GPU or of the whole process. NaN: no room.
        """
        return pd.DataFrame(
            vars(setting)
            | {
                "ms_forward": 1e3 * timing.forward,
                "ms_both": 1e3 * (timing.forward + timing.backward),
                "mib": timing.memory,
            }
            for setting, timing in self._found.values()
        )

    def markdown(self) -> str:
        """The page around the table: what was measured, on what."""
        shown = self.frame().sort_values(["prior", "side", "precision", "compile", "channels_last", "batch"])
        for key in ("ms_forward", "ms_both", "mib"):
            shown[key] = ["no room" if math.isnan(v) else f"{v:.3g}" if v < 100 else f"{v:.0f}" for v in shown[key]]
        facts, packages = self._machine, self._machine["packages"]
        said = f"{facts['device']}, {facts['processor']}, threads: {facts['threads']}, torch {packages['torch']}"
        shown = shown.rename(columns=_HEADS)
        return (
            f"# One call of the network\n\nMeasured on {said}.\n"
            "Milliseconds per image of one call, and of one with its backward pass (the least of three on a GPU, one "
            "on a CPU, after\none of each that is not counted), and the most memory that took, of the GPU or the "
            "process.\n\n"
            + tabulate(
                shown.to_dict("list"),
                "keys",
                tablefmt="pipe",
                showindex=False,
                disable_numparse=True,
                colalign=_ALIGNED,
            )
            + "\n"
        )


_HEADS = {
    "side": "px",
    "channels_last": "channels last",
    "batch": "images at once",
    "ms_forward": "forward, ms",
    "ms_both": "forward and backward, ms",
    "mib": "MiB",
}
_ALIGNED = ["left", "right", "left", "left", "left", *["right"] * 4]
