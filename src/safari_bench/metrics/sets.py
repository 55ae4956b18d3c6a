"""FID and KID: how far the restorations, taken as one set, are from the references.

FID: Heusel et al., NeurIPS 2017, arXiv 1706.08500. KID: Binkowski et al., ICLR 2018, arXiv 1801.01401.
Library: torch-fidelity 0.4.0, whose Inception reproduces the TensorFlow one of the FID paper.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from safari_bench.ledger import make_folder, write_atomic
from safari_bench.metrics.weights import BACKBONES, Absent, Found, WeightsError, library, obtain, state

__all__ = ["UNBIASED_FROM", "SetScores"]

#: below this many pictures the covariance of 2048 features has no full rank and FID is too large (torch-fidelity and
#: the FID paper both say so); a score of fewer compares only with one of as many.
UNBIASED_FROM = 2048
_EXTRACTOR = "inception-v3-compat"
_SEED = 2020  # torch-fidelity's default; it draws the subsets of KID

Progress = Callable[[Iterable[Path]], Iterable[Path]]


class SetScores:
    """FID and KID of PNG files against the references of the same images.

    Protocol: the files as saved, 8 bits, each alone through Inception in float64 (an option of torch-fidelity) with
    features rounded to float32: the numbers depend neither on a batch nor, but for rare roundings, on the device. In
    order of file names, on which the subsets of KID depend. torch-fidelity with the same option gives the same numbers,
    with its default float32 the same to about 1e-3 relative.

    Args:
        fid_from: with fewer pictures there is KID only.
        kid_subsets: KID is the mean over this many subsets.
        kid_subset_size: pictures per subset. A smaller set is one subset: all others would be the same.
        layer: of Inception. Columns are called fid and kid for "2048", which all papers use, else e.g. fid_64.

    Raises:
        ValueError: a number that is too small, or a layer that Inception does not have.
    """

    backbone = "inception"

    def __init__(
        self, fid_from: int = 1000, kid_subsets: int = 100, kid_subset_size: int = 1000, layer: str = "2048"
    ) -> None:
        least = {"fid_from": (fid_from, 2), "kid_subsets": (kid_subsets, 1), "kid_subset_size": (kid_subset_size, 2)}
        for key, (value, bound) in least.items():
            if value < bound:
                raise ValueError(f"sets.{key}: got {value}, expected at least {bound}. Correct the metrics config.")
        if layer not in ("64", "192", "768", "2048"):
            raise ValueError(f"sets.layer: got {layer!r}, expected 64, 192, 768 or 2048. Correct the metrics config.")
        self.fid_from, self.kid_subsets, self.kid_subset_size = fid_from, kid_subsets, kid_subset_size
        self.layer = layer
        suffix = "" if layer == "2048" else f"_{layer}"
        self.columns = (f"fid{suffix}", f"kid{suffix}")
        self.weights: Found | Absent | None = None

    def describe(self) -> dict[str, Any]:
        settings = {"fid_from": self.fid_from, "kid_subsets": self.kid_subsets, "kid_subset_size": self.kid_subset_size}
        software = {"library": library(self.backbone), "extractor": _EXTRACTOR}
        return {**software, "layer": self.layer, "dtype": "float64", "rng_seed": _SEED, **settings}

    def __call__(
        self,
        pictures: Sequence[Path],
        references: Sequence[Path],
        cache: Path,
        device: torch.device,
        known: dict[str, Any] | None = None,
        progress: Progress = lambda paths: paths,
    ) -> dict[str, Any]:
        """Score pictures against references; see `describe` for what else is in what it returns.

        Args:
            pictures: PNG files, at least one.
            references: as many, of the same images.
            cache: folder for the features of references, under a name that is a hash of images and weights.
            known: what an earlier call returned. If nothing has changed since, it is returned again.
            progress: wraps the files that go through the network.

        Returns:
            JSON types. "scores": column -> number, None where weights are absent; "n": pictures; "kid_sd": standard
            deviation over subsets, None for one; "notes": sentences for readers; "images": hash of both sets.

        Raises:
            ValueError: the two lists differ in length, or weights do not fit.
            OSError: a file is missing or no picture.
        """
        if len(pictures) != len(references) or not pictures:
            raise ValueError(f"got {len(pictures)} pictures and {len(references)} references, expected pairs")
        if self.weights is None:
            self.weights = obtain(BACKBONES[self.backbone])
        pictures, references = sorted(pictures, key=_name), sorted(references, key=_name)
        images = _digest([_digest_of(pictures), _digest_of(references)])
        facts = {"n": len(pictures), "images": images, "device": device.type, "protocol": self.describe()}
        if isinstance(self.weights, Absent):
            if known and known.get("images") == images and None not in known["scores"].values():
                return known  # better than nothing, which is all that could be said now
            return {**facts, "scores": dict.fromkeys(self.columns), "kid_sd": None, "notes": [], "weights": None}
        facts["weights"] = {"file": self.weights.path.name, "sha256": self.weights.sha256}
        if known and all(known.get(key) == value for key, value in facts.items()):
            return known
        network = _extractor(self.layer, self.weights).to(device)
        name = _digest([_digest_of(references), self.weights.sha256, device.type, self.describe()["library"]])
        true = _cached(cache / f"inception-{self.layer}-{name[:32]}.npy", network, references, progress)
        return {**facts, **self._compare(_features(network, pictures, progress), true)}

    def _compare(self, found: Tensor, true: Tensor) -> dict[str, Any]:
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
        from torch_fidelity.metric_kid import kid_features_to_metric

        n, notes = len(found), []
        scores: dict[str, float] = {}
        sd = None
        if n >= self.fid_from:
            statistics = [fid_features_to_statistics(features) for features in (found, true)]
            scores[self.columns[0]] = next(iter(fid_statistics_to_metric(*statistics, verbose=False).values()))
        else:
            notes.append(f"no FID of {n} pictures, fewer than metrics.sets.fid_from={self.fid_from}")
        if n >= 2:
            size = min(self.kid_subset_size, n)
            subsets = self.kid_subsets if size < n else 1
            settings = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": _SEED, "verbose": False}
            scores[self.columns[1]], spread = kid_features_to_metric(found, true, **settings).values()
            sd = spread if subsets > 1 else None
        if n < UNBIASED_FROM:
            notes.append(f"FID and KID of {n} pictures, fewer than {UNBIASED_FROM}: they compare at equal N only")
        return {"scores": scores, "kid_sd": sd, "notes": notes}


@lru_cache(maxsize=1)
def _extractor(layer: str, found: Found) -> torch.nn.Module:
    """torch-fidelity's Inception.

    Raises:
        WeightsError: the weights do not fit.
    """
    from torch_fidelity.utils import create_feature_extractor

    # torch-fidelity unpickles whatever it is given. It gets a copy of the tensors, written by this process.
    safe = io.BytesIO()
    torch.save(state(found), safe)
    safe.seek(0)
    options: dict[str, Any] = {"feature_extractor_weights_path": safe, "feature_extractor_internal_dtype": "float64"}
    try:
        network = create_feature_extractor(_EXTRACTOR, [layer], cuda=False, verbose=False, **options)
    except RuntimeError as error:
        raise WeightsError(f"{found.path}: the weights do not fit Inception ({error}); fetch the file again") from error
    module: torch.nn.Module = network
    return module


def _features(network: torch.nn.Module, paths: Sequence[Path], progress: Progress) -> Tensor:
    """Float32 features, (n, d)."""
    device = next(network.parameters()).device
    with torch.no_grad():
        return torch.cat([network(_picture(path).to(device))[0].cpu() for path in progress(paths)])


def _picture(path: Path) -> Tensor:
    """(1, 3, h, w) uint8."""
    with Image.open(path) as file:
        pixels = np.array(file.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def _cached(path: Path, network: torch.nn.Module, references: Sequence[Path], progress: Progress) -> Tensor:
    try:
        features = np.load(path, allow_pickle=False)
        if features.dtype == np.float32 and features.ndim == 2 and len(features) == len(references):
            return torch.from_numpy(features)
    except (OSError, ValueError, EOFError):
        pass  # absent or damaged: computed again
    found = _features(network, references, progress)
    buffer = io.BytesIO()
    np.save(buffer, found.numpy(), allow_pickle=False)
    make_folder(path.parent)
    write_atomic(path, buffer.getvalue())
    return found


def _name(path: Path) -> str:
    return path.name


def _digest_of(paths: Iterable[Path]) -> str:
    return _digest(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
