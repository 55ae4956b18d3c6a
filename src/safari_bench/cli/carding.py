"""`safari-bench card`: a prior judged on its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from safari_bench.card import denoising, samples, spectrum, write
from safari_bench.cli.compose import device_of, limit, prior_of
from safari_bench.cli.schema import check
from safari_bench.data import Dataset, Leaves, Photos
from safari_bench.priors import gaussian

__all__ = ["write_card"]

_SIDE = 64
_SAMPLES = 32
_STEPS = 500
_AT_ONCE = 12  # images, where compute.batch_size=0 leaves it open


def write_card(cfg: DictConfig) -> None:
    """Measure prior=... on the test images of both embedded datasets and write results/card_<prior>.

    Raises:
        ConfigError, PriorError: see `compose.jobs`.
    """
    values = check(cfg)
    limit(values["compute"])
    name, prior = prior_of(json.dumps(values["prior"]))
    device = device_of(values["compute"]["device"])
    shared: Mapping[str, Any] = {"device": device, "batch_size": values["compute"]["batch_size"] or _AT_ONCE}
    priors = {name: prior} if name == "gaussian" else {name: prior, "gaussian": gaussian.load()}
    datasets: list[Dataset] = [Photos("test", _SIDE, 24), Leaves("test", _SIDE, 24)]
    scores = pd.concat([denoising(priors, dataset, values["seed"], **shared) for dataset in datasets])
    pictures = samples(prior, _SAMPLES, (3, _SIDE, _SIDE), values["seed"], steps=_STEPS, **shared)
    spectra = {dataset.name: spectrum(pictures, dataset, shared["batch_size"]) for dataset in datasets}
    folder = Path(values["output"]) / f"card_{name}"
    losses = Path(values["prior"].get("checkpoint") or "").parent / "loss.csv"
    print(write(folder, name, scores, spectra, pictures, losses if losses.is_file() else None))
    print(f"in {folder}: numbers.md, denoising.csv, spectrum.csv, samples.png, spectrum.png")
