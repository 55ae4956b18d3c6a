"""Backbones with seeded random weights: the published files' names, keys, shapes and containers.

Layers that no score reads (the classifiers) are one zero, repeated, which torch saves as that one number. With `full`
they are random too, and the files are as large as the published ones.
"""

import hashlib
import io
import math
import os
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from safari_bench.metrics.weights import BACKBONES

#: those that are downloaded
NAMES = tuple(name for name, backbone in BACKBONES.items() if backbone.url)
#: the older of torch's two containers, in which VGG16 and Inception were published
LEGACY = {"vgg16", "inception"}


def write(folder: Path, names: tuple[str, ...] = NAMES, *, seed: int = 0, full: bool = False) -> dict[str, str]:
    """Files of this seed under their published names. Returns their digests."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = folder / BACKBONES[name].file
        torch.save(weights(name, seed, full), path, _use_new_zipfile_serialization=name not in LEGACY)
    return {name: digest(folder / BACKBONES[name].file) for name in names}


def weights(name: str, seed: int, full: bool = False) -> dict[str, Tensor]:
    random = np.random.default_rng(seed)
    return {key: _filled(key, like.shape, random, full) for key, like in _shapes(name).items()}


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shapes(name: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        if name != "inception":
            return {"vgg16": torchvision.models.vgg16, "alexnet": torchvision.models.alexnet}[name]().state_dict()
        empty = io.BytesIO()
        torch.save({}, empty)
        empty.seek(0)
        with mock.patch.object(nn.Module, "load_state_dict"):
            network = FeatureExtractorInceptionV3("any", ["64"], feature_extractor_weights_path=empty)
    # it was converted from TensorFlow, which counts no batches
    return {key: like for key, like in network.state_dict().items() if not key.endswith("num_batches_tracked")}


def _filled(key: str, shape: torch.Size, random: np.random.Generator, full: bool) -> Tensor:
    if key.startswith(("classifier", "fc")) and not full:
        return torch.zeros(1).expand(shape)
    if key.endswith("running_var") or key.endswith("bn.weight"):
        return torch.from_numpy(0.5 + random.random(shape, dtype=np.float32))
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else 400  # biases and running means are small
    return torch.from_numpy(random.standard_normal(shape, dtype=np.float32)) * math.sqrt(2 / fan_in)
