"""A run folder in which psi's weights vary -> one frame of scores per image and setting."""

import json
from pathlib import Path

import pandas as pd

from safari_bench.ledger import flatten
from safari_bench.tables.records import TableError, lines, load

__all__ = ["KEYS", "RESPONSES", "SIGNATURES", "WEIGHTS", "load_study", "varied"]

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
_NEEDED = ["psnr", "haarpsi", "spectrum_mid", "spectrum_high", "phase_high"]


def load_study(run_folder: Path) -> pd.DataFrame:
    """One row per dataset, task, setting of psi and image: KEYS, a label, and every response.

    Several seeds of an image are averaged. Only SaFaRI's cells count: the others have no psi.

    Raises:
        TableError: see `records.load`; or no cell has weights, an image has no score, or a signature's metric is
            missing.
    """
    found = []
    for line in lines(load(Path(run_folder))):
        settings = flatten(line.first.spec["sampler"].get("fidelity", {}))
        if not settings:
            continue
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
        place = {"dataset": line.first.dataset, "task": line.first.task, "label": line.first.label}
        found.append(scores.mean().reset_index().assign(**place, **{key: settings.get(key) for key in KEYS}))
    if not found:
        raise TableError(f"{run_folder}: no cell has psi's weights; a study is of sampler=safari")
    frame = pd.concat(found, ignore_index=True)
    frame["detail"], frame["excess"] = frame.spectrum_high, frame.spectrum_high.clip(lower=0)
    frame["blur"] = frame.spectrum_mid - frame.spectrum_high
    columns = ["dataset", "task", "label", *KEYS, "image_id", *RESPONSES]
    return frame[columns]


def varied(frame: pd.DataFrame) -> list[str]:
    """Those of KEYS that differ between rows of a frame."""
    return [key for key in KEYS if len({json.dumps(value) for value in frame[key]}) > 1]
