"""A prior judged on its own: `python -m recipes.card prior=photos64` writes results/card_photos64.

It denoises test images in one step, beside the Gaussian prior, photos64, non-local means and CBM3D, and draws samples.
Keys are those of safari-bench.
"""

import sys
from collections.abc import Sequence

import pandas as pd

from recipes.card import cbm3d, denoising, samples, spectrum, write
from recipes.card.gate import BASELINE, gate
from recipes.card.prior import Chosen, chosen
from safari_bench.data import Dataset, Leaves, Photographs, Photos
from safari_bench.errors import SafariBenchError
from safari_bench.priors import gaussian
from safari_bench.priors.unet import load

__all__ = ["main", "write_card"]

_SIDE = 64
_SAMPLES = 32
_STEPS = 500


def write_card(judged: Chosen) -> str:
    """Measure a prior and write output/card_<name>: numbers.md, denoising.csv, spectrum.csv, samples.png, spectrum.png.

    Returns:
        the text of numbers.md.
    """
    shared = judged.shared
    priors = {judged.name: judged.prior} | {
        name: make() for name, make in {BASELINE: lambda: load(BASELINE), "gaussian": gaussian.load}.items()
        if name != judged.name
    }  # fmt: skip
    datasets: list[Dataset] = [Photographs("test", _SIDE), Photos("test", _SIDE, 24), Leaves("test", _SIDE, 24)]
    scores = pd.concat([*(denoising(priors, dataset, judged.seed, **shared) for dataset in datasets), cbm3d.known()])
    pictures = samples(judged.prior, _SAMPLES, (3, _SIDE, _SIDE), judged.seed, steps=_STEPS, **shared)
    spectra = {dataset.name: spectrum(pictures, dataset, shared["batch_size"]) for dataset in datasets}
    requirements = gate(judged.prior, pictures, judged.seed, shared)
    folder = judged.output / f"card_{judged.name}"
    return write(folder, judged.name, scores, spectra, pictures, judged.losses, requirements)


def main(words: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code."""
    words = sys.argv[1:] if words is None else words
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    try:
        judged = chosen(words)
    except SafariBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(write_card(judged))
    return 0


if __name__ == "__main__":
    sys.exit(main())
