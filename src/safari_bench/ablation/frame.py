"""A run folder -> one frame of scores per image and setting, with psi's weights where a method has them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from safari_bench.ledger import flatten
from safari_bench.reports.records import TableError, lines, load

__all__ = ["FAILURES", "KEYS", "RESPONSES", "SIGNATURES", "WEIGHTS", "absent", "failing", "load_study", "responses"]
__all__ += ["varied", "with_psi"]

#: psi's weights and its two other settings, see `fidelity.Perceptual`.
WEIGHTS = ("pixel", "spatial", "low", "high")
KEYS = (*WEIGHTS, "cutoff", "factor")
#: how a restoration fails: column -> (heading, unit, what it says).
SIGNATURES = {
    "detail": (
        "high-band error",
        "dB",
        "power above half of Nyquist against the reference; negative: fine detail is lost",
    ),
    "blur": ("mid/high ratio", "dB", "mid band over high band, against the reference's ratio; positive: blur"),
    "excess": (
        "high-band excess",
        "dB",
        "power above half of Nyquist in excess of the reference's, 0 where there is none",
    ),
    "phase_high": (
        "high phase",
        "",
        "phase coherence above half of Nyquist; low where there is power: invented texture",
    ),
}
#: what the studies measure: column -> (heading, unit).
RESPONSES = {"psnr": ("PSNR", "dB"), "haarpsi": ("HaarPSI", "")} | {key: of[:2] for key, of in SIGNATURES.items()}
#: how much of a failure a signature shows: column -> (failure, unit).
FAILURES = {
    "detail": ("loss of fine detail", "dB"),
    "blur": ("blur", "dB"),
    "excess": ("excess of power", "dB"),
    "phase_high": ("detail out of place", ""),
}
#: response -> the columns of per_image.csv that it is made from.
_NEEDED = {
    "psnr": ["psnr"],
    "haarpsi": ["haarpsi"],
    "detail": ["spectrum_high"],
    "blur": ["spectrum_mid", "spectrum_high"],
    "excess": ["spectrum_high"],
    "phase_high": ["phase_high"],
}


def load_study(run_folder: Path) -> pd.DataFrame:
    """One row per dataset, task, setting and image: sampler, label, KEYS, zeta, and the responses that were scored.

    Several seeds of an image are averaged. KEYS and zeta are NaN for methods that have none. The degraded images are
    left out. A response whose metric some cell lacks is left out, see `absent`.

    Raises:
        TableError: see `records.load`; or an image has no score, or no response was scored at all.
    """
    found = []
    for line in lines(load(Path(run_folder))):
        if line.first.is_measurement:
            continue
        spec = line.first.spec["sampler"]
        settings = flatten(spec.get("fidelity", {}))
        rows = line.rows
        bad, expected = rows[rows.status != "ok"], len(line.ids) * len(line.records)
        if len(bad) or len(rows) < expected:
            raise TableError(
                f"{line.first.folder}: {len(rows) - len(bad)} of {expected} images are done, an ablation needs all; "
                "run the sweep again, which computes what is missing"
            )
        scored = {name for names in _NEEDED.values() for name in names if name in rows and rows[name].notna().all()}
        scores = rows.groupby("image_id", sort=False)[sorted(scored)]
        place = {key: getattr(line.first, key) for key in ("dataset", "sampler", "label")}
        place["task"] = line.first.heading  # with what sets tables of one task apart, such as its noise
        place["zeta"] = spec.get("zeta", np.nan) if settings else np.nan
        found.append(scores.mean().reset_index().assign(**place, **{key: settings.get(key, np.nan) for key in KEYS}))
    if not found:
        raise TableError(f"{run_folder}: holds no restored images, only degraded ones; expected cells of a sampler")
    frame = pd.concat(found, ignore_index=True, join="inner")
    if "spectrum_high" in frame:
        frame["detail"], frame["excess"] = frame.spectrum_high, frame.spectrum_high.clip(lower=0)
    if {"spectrum_mid", "spectrum_high"} <= set(frame):
        frame["blur"] = frame.spectrum_mid - frame.spectrum_high
    measured = responses(frame)
    if not measured:
        raise TableError(
            f"{run_folder}: its cells share no metric of {', '.join(RESPONSES)}; run with metrics=signatures"
        )
    return frame[["dataset", "task", "sampler", "label", *KEYS, "zeta", "image_id", *measured]]


def responses(frame: pd.DataFrame) -> list[str]:
    """The responses that a frame has as columns, or, where it has a column `response`, as values of it."""
    there = set(frame.response) if "response" in frame else set(frame)
    return [name for name in RESPONSES if name in there]


def absent(frame: pd.DataFrame) -> list[str]:
    """Headings of the responses that were not scored; metrics=signatures scores all."""
    return [RESPONSES[name][0] for name in RESPONSES if name not in responses(frame)]


def with_psi(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of methods that have psi's weights."""
    return frame[frame.spatial.notna()]


def failing(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows, each signature replaced by how much of its failure there is: 0 is none, more is worse."""
    worse: dict[str, Callable[[Any], Any]] = {
        "detail": lambda value: (-value).clip(lower=0),
        "blur": lambda value: value.clip(lower=0),
        "phase_high": lambda value: 1 - value,
    }
    return frame.assign(**{name: of(frame[name]) for name, of in worse.items() if name in frame})


def varied(frame: pd.DataFrame) -> list[str]:
    """Those of KEYS that differ between rows of a frame."""
    return [key for key in KEYS if len({json.dumps(value) for value in frame[key]}) > 1]
