"""Whether a prior is good enough to ship: `python -m recipes.card.gate prior.checkpoint=FOLDER prior.sha256=null`.

Bounds: at most 0.2 dB below CBM3D at sigma 0.1 to 0.5 on photographs, at least 0.5 dB above photos64 from sigma 1 on,
flat pictures without mottle, samples without cast, and power within 2 dB in every octave. Two to three minutes on one
thread.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recipes.card.cbm3d import known
from recipes.card.measure import denoising, mottle, samples, spectrum
from recipes.card.prior import chosen
from safari_bench.data import Photographs
from safari_bench.diffusion import Denoiser
from safari_bench.errors import SafariBenchError
from safari_bench.priors.unet import load
from safari_bench.shapes import Image

__all__ = ["BASELINE", "gate", "main"]

BASELINE = "photos64"
#: greatest part of the noise that may stay in the 8 x 8 means of flat pictures, and greatest mean of samples
_MOTTLE, _CAST = 0.2, 0.1


def gate(prior: Denoiser, pictures: Image, seed: int, shared: Mapping[str, Any]) -> pd.DataFrame:
    """Every requirement and whether it is met.

    Args:
        prior: the candidate, trained at 64 px.
        pictures: samples of it, (n, 3, 64, 64) on [-1, 1].
        shared: device and batch_size of the measurements.
    Returns:
        rows with requirement, value, photos64 (the same of the prior before, where it has one), bound, met.
    """
    dataset = Photographs("test", 64)
    before = load(BASELINE)
    scores = denoising({"candidate": prior, BASELINE: before}, dataset, seed, **shared)
    scores = pd.concat([scores, known()[lambda rows: rows.dataset == dataset.name]])
    means = scores.pivot_table(index="level", columns="method", values="psnr")
    rows: list[tuple[str, float, float | None, float, bool]] = []
    for level, row in means.iterrows():
        if row.notna()["cbm3d"]:
            above = row.candidate - row.cbm3d
            rows.append((f"sigma {level}: dB above CBM3D", above, row[BASELINE] - row.cbm3d, -0.2, above >= -0.2))
        gain = row.candidate - row[BASELINE]
        least = 0.5 if float(str(level)) >= 1 else 0.0
        rows.append((f"sigma {level}: dB above {BASELINE}", gain, 0.0, least, gain >= least))
    for level in (0.1, 0.5):
        left, left_before = (mottle(p, level, seed, shared["device"]) for p in (prior, before))
        rows.append((f"sigma {level}: noise left in flat 8x8 means", left, left_before, _MOTTLE, left <= _MOTTLE))
    cast = float(pictures.mean((0, 2, 3)).abs().max())
    rows.append(("samples: greatest mean of a channel", cast, None, _CAST, cast <= _CAST))
    power = float(spectrum(pictures, dataset, shared["batch_size"]).difference_db.abs().max())
    rows.append(("samples: greatest error of power in an octave, dB", power, None, 2.0, power <= 2.0))
    return pd.DataFrame(rows, columns=["requirement", "value", BASELINE, "bound", "met"])


def main(words: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code: 1 if a requirement is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16, help="samples to draw")
    parser.add_argument("--steps", type=int, default=200, help="steps of each; few make samples smoother")
    parser.add_argument("keys", nargs="*", help="keys of safari-bench, such as prior=photos64")
    args = parser.parse_args(words)
    try:
        candidate = chosen(args.keys)
    except SafariBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    pictures = samples(candidate.prior, args.samples, (3, 64, 64), candidate.seed, steps=args.steps, **candidate.shared)
    table = gate(candidate.prior, pictures, candidate.seed, candidate.shared)
    print(table.to_markdown(index=False, floatfmt=".2f"))
    return 0 if table.met.all() else 1


if __name__ == "__main__":
    sys.exit(main())
