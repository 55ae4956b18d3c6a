"""A run folder -> one frame of scores per image and setting, with psi's weights where a method has them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from safari_bench.ledger import flatten
from safari_bench.reports.records import TableError, lines, load

__all__ = ["FAILURES", "KEYS", "RESPONSES", "SIGNATURES", "WEIGHTS", "failing", "load_study", "varied", "with_psi"]

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
_NEEDED = ["psnr", "haarpsi", "spectrum_mid", "spectrum_high", "phase_high"]


def load_study(run_folder: Path) -> pd.DataFrame:
    """One row per dataset, task, setting and image: sampler, label, KEYS, zeta, and every response.

    Several seeds of an image are averaged. KEYS and zeta are NaN for methods that have none. The measurements,
    which the tables show as a method named degraded, are left out.

    Raises:
        TableError: see `records.load`; or an image has no score, or a signature's metric is missing.
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
                f"{line.first.folder}: {len(rows) - len(bad)} of {expected} images are done and a study needs all of "
                "them; run the sweep again, which does what is missing"
            )
        absent = [name for name in _NEEDED if name not in rows]
        if absent:
            raise TableError(f"{line.first.folder}: rows have no {', '.join(absent)}; run with metrics=signatures")
        scores = rows.groupby("image_id", sort=False)[_NEEDED]
        place = {key: getattr(line.first, key) for key in ("dataset", "sampler", "label")}
        place["task"] = line.first.heading  # with what sets tables of one task apart, such as its noise
        place["zeta"] = spec.get("zeta", np.nan) if settings else np.nan
        found.append(scores.mean().reset_index().assign(**place, **{key: settings.get(key, np.nan) for key in KEYS}))
    if not found:
        raise TableError(f"{run_folder}: no cell of a method; a study needs restorations")
    frame = pd.concat(found, ignore_index=True)
    frame["detail"], frame["excess"] = frame.spectrum_high, frame.spectrum_high.clip(lower=0)
    frame["blur"] = frame.spectrum_mid - frame.spectrum_high
    columns = ["dataset", "task", "sampler", "label", *KEYS, "zeta", "image_id", *RESPONSES]
    return frame[columns]


def with_psi(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of methods that have psi's weights."""
    return frame[frame.spatial.notna()]


def failing(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows, each signature replaced by how much of its failure there is: 0 is none, more is worse."""
    return frame.assign(
        detail=(-frame.detail).clip(lower=0),
        blur=frame.blur.clip(lower=0),
        phase_high=1 - frame.phase_high,
    )


def varied(frame: pd.DataFrame) -> list[str]:
    """Those of KEYS that differ between rows of a frame."""
    return [key for key in KEYS if len({json.dumps(value) for value in frame[key]}) > 1]
