"""One call of a prior's network, measured in every arithmetic, layout and batch size that a plan asks for."""

import json
import math
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
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
    device: str  # this and what follows: the machine, so that rows of two machines can stand in one table
    processor: str
    threads: int
    torch: str


_KEYS = [field.name for field in fields(_Setting)]
_MACHINE = _KEYS[6:]
_VALUES = ["ms_forward", "ms_both", "mib"]


class Timings:
    """Measures each setting once, and keeps what was measured for a table."""

    def __init__(self) -> None:
        self._found: dict[str, Timing] = {}
        self._fitting: dict[str, int] = {}
        self._rows: dict[str, dict[str, Any]] = {}  # those of an earlier call first

    def read(self, path: Path) -> None:
        """Take up what an earlier call measured, as far as the file has the columns of `frame`."""
        if not path.is_file():
            return
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        if list(frame.columns) != _KEYS + _VALUES:
            return
        for row in frame.to_dict("records"):
            setting = {field.name: _parsed(row[field.name], field.type) for field in fields(_Setting)}
            self._rows[_text(setting)] = setting | {key: float(row[key] or "nan") for key in _VALUES}

    def holds(self, job: Job) -> bool:
        """Whether nothing is left to measure for a cell that has its forecast. A batch that is chosen from the free
        memory is measured with the forecast alone.
        """
        if not job.sampler.uses_prior or not job.batch_size:
            return True
        return _text(asdict(_setting(job, min(job.batch_size, len(job.dataset.records()))))) in self._rows

    def of(self, job: Job) -> Timing:
        """The cost of a call for a cell, of as many images at once as there is room for, up to the batch asked for."""
        if not job.sampler.uses_prior:
            return Timing(job.batch_size or 1, 0.0, 0.0, 0.0)
        batch = min(self._fits(job), len(job.dataset.records()))
        while True:
            timing = self._measure(job, batch)
            if batch == 1 or not math.isnan(timing.forward):
                return timing
            print(f"{batch} images at once do not fit into memory; {batch // 2} instead", file=sys.stderr)
            batch //= 2

    def _fits(self, job: Job) -> int:
        """`fitting`, which calls the network, once per network and way of running it."""
        key = _text([job.run["spec"]["prior"], asdict(_setting(job, job.batch_size))])
        if key not in self._fitting:
            self._fitting[key] = fitting(job)
        return self._fitting[key]

    def _measure(self, job: Job, batch: int) -> Timing:
        setting = asdict(_setting(job, batch))
        key = _text([job.run["spec"]["prior"], setting])
        if key not in self._found:
            try:
                timing = time_calls(job.denoiser, job.dataset.image_shape, batch, job.device, job.dtype)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                timing = Timing(batch, math.nan, math.nan, math.nan)
                if job.device.type == "cuda":
                    torch.cuda.empty_cache()
            self._found[key] = timing
            milliseconds = 1e3 * timing.forward, 1e3 * (timing.forward + timing.backward)
            self._rows[_text(setting)] = setting | dict(zip(_VALUES, (*milliseconds, timing.memory), strict=True))
        return self._found[key]

    def frame(self) -> pd.DataFrame:
        """A row per setting and machine. Columns: the setting; the machine; ms_forward, ms_both: milliseconds per image
        of a call, and of one with its backward pass; mib: memory at the peak of the latter, of the GPU or of the whole
        process. NaN: no room.
        """
        return pd.DataFrame(list(self._rows.values()), columns=_KEYS + _VALUES)

    def markdown(self) -> str:
        """The page around the tables, one per machine: what was measured, on what."""
        parts = [
            "# One call of the network\n\nMilliseconds per image of one call, and of one with its backward pass (the "
            "least of three on a GPU, one on a CPU, after\none of each that is not counted), and the most memory that "
            "took, of the GPU or the process.\n"
        ]
        for machine, rows in self.frame().groupby(_MACHINE, sort=False):
            device, processor, threads, version = machine
            parts.append(f"\n## {device}, {processor}, threads: {threads}, torch {version}\n\n{_table(rows)}\n")
        return "".join(parts)


def _setting(job: Job, batch: int) -> _Setting:
    compute, machine = job.run["config"]["compute"], job.run["machine"]
    return _Setting(
        prior=job.prior_name,
        side=job.dataset.image_shape[1],
        precision=job.run["spec"]["precision"],
        compile=compute["compile"],
        channels_last=compute["channels_last"],
        batch=batch,
        device=machine["device"],
        processor=machine["processor"],
        threads=machine["threads"],
        torch=machine["packages"]["torch"],
    )


def _parsed(text: str, kind: Any) -> Any:
    return text == "True" if kind is bool else kind(text)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _table(rows: pd.DataFrame) -> str:
    shown = rows.drop(columns=_MACHINE).sort_values(_KEYS[:6])
    for key in _VALUES:
        shown[key] = ["no room" if math.isnan(v) else f"{v:.3g}" if v < 100 else f"{v:.0f}" for v in shown[key]]
    shown = shown.rename(columns=_HEADS)
    return tabulate(shown.to_dict("list"), "keys", "pipe", showindex=False, disable_numparse=True, colalign=_ALIGNED)


_HEADS = {
    "side": "px",
    "channels_last": "channels last",
    "batch": "images at once",
    "ms_forward": "forward, ms",
    "ms_both": "forward and backward, ms",
    "mib": "MiB",
}
_ALIGNED = ["left", "right", "left", "left", "left", *["right"] * 4]
