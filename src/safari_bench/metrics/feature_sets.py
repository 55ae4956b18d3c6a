"""How far the restorations, taken as one set, are from the references, in the features of a network.

Frechet distance: Heusel et al., NeurIPS 2017, arXiv 1706.08500. Kernel distance: Binkowski et al., ICLR 2018, arXiv
1801.01401. Both are computed by torch-fidelity 0.4.0.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from safari_bench.ledger import make_folder, write_atomic
from safari_bench.metrics.downloads import obtain
from safari_bench.metrics.weights import BACKBONES, Absent, Found

__all__ = ["SEED", "FeatureSets", "Progress", "Sets", "at_least"]

SEED = 2020  # torch-fidelity's default; it draws the subsets of KID

Progress = Callable[[Iterable[Path]], Iterable[Path]]


class FeatureSets:
    """Frechet and kernel distance between two sets of PNG files, in the features of some network.

    Protocol: the files as saved, 8 bits, each alone through the network, features in float32. In order of file names,
    on which the subsets of the kernel distance depend. The kernel is that of KID: cubic, on features divided by the
    root of their number.

    Args:
        frechet_from: with fewer pictures there is the kernel distance only.
        subsets: the kernel distance is the mean over this many subsets.
        subset_size: pictures per subset. A smaller set is one subset: all others would be the same.
    """

    #: a key of `weights.BACKBONES`
    backbone: str
    #: Frechet distance, kernel distance
    columns: tuple[str, ...]
    #: fewer pictures than this get a note
    reliable_from: int
    #: fewer pictures than this get no score and no note
    least = 1

    def __init__(self, frechet_from: int, subsets: int, subset_size: int) -> None:
        self.frechet_from, self.subsets, self.subset_size = frechet_from, subsets, subset_size
        self.weights: Found | Absent | None = None

    def describe(self) -> dict[str, Any]:
        """What run.json keeps besides the weights."""
        raise NotImplementedError

    def network(self, weights: Found, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Pixels, (1, 3, h, w) uint8 -> float32 features on the CPU, (1, d).

        Raises:
            WeightsError: the weights do not fit.
        """
        raise NotImplementedError

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
        if len(pictures) < self.least:
            return {**facts, "scores": {}, "kid_sd": None, "notes": []}
        network = self.network(self.weights, device)
        name = _digest([_digest_of(references), self.weights.sha256, device.type, self.describe()["library"]])
        true = _cached(cache / f"{self._kind()}-{name[:32]}.npy", network, references, progress)
        return {**facts, **self._compare(_features(network, pictures, progress), true)}

    def _kind(self) -> str:
        """The first part of the name of a file of features."""
        return self.backbone

    def _compare(self, found: Tensor, true: Tensor) -> dict[str, Any]:
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
        from torch_fidelity.metric_kid import kid_features_to_metric

        n, (frechet, kernel) = len(found), self.columns
        notes, scores, sd = [], {}, None
        if n >= self.frechet_from:
            statistics = [fid_features_to_statistics(features) for features in (found, true)]
            scores[frechet] = next(iter(fid_statistics_to_metric(*statistics, verbose=False).values()))
        else:
            notes.append(f"no {frechet} of {n} pictures, fewer than {self.frechet_from}")
        if n >= 2:
            size = min(self.subset_size, n)
            subsets = self.subsets if size < n else 1
            settings = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": SEED, "verbose": False}
            scores[kernel], spread = kid_features_to_metric(found, true, **settings).values()
            sd = spread if subsets > 1 else None
        if scores and n < self.reliable_from:
            said = f"{' and '.join(scores)} of {n} pictures, fewer than {self.reliable_from}"
            notes.append(f"{said}: compare at equal N only")
        return {"scores": scores, "kid_sd": sd, "notes": notes}


class Sets:
    """Several scores of one set as one call.

    Args:
        parts: the scores, of different backbones.
    """

    def __init__(self, parts: Sequence[FeatureSets]) -> None:
        self.parts = tuple(parts)

    def __call__(
        self,
        pictures: Sequence[Path],
        references: Sequence[Path],
        cache: Path,
        device: torch.device,
        known: dict[str, Any] | None = None,
        progress: Progress = lambda paths: paths,
    ) -> dict[str, Any]:
        """See `FeatureSets.__call__`.

        Returns:
            JSON types. "n", "images"; "scores" and "notes" of all parts; "parts": backbone -> what that part returned.
            Parts of ``known`` that are not asked for stay, if they are of the same images.
        """
        before = dict((known or {}).get("parts") or ({"inception": known} if known else {}))
        now = {
            part.backbone: part(pictures, references, cache, device, before.get(part.backbone), progress)
            for part in self.parts
        }
        images = next(iter(now.values()))["images"]
        kept = {name: part for name, part in before.items() if name not in now and part["images"] == images}
        parts = {**now, **kept}
        return {
            "n": len(pictures),
            "images": images,
            "scores": {name: value for part in parts.values() for name, value in part["scores"].items()},
            "notes": [note for part in parts.values() for note in part["notes"]],
            "parts": parts,
        }


def at_least(key: str, bounds: Mapping[str, tuple[int, int]]) -> None:
    """Raises ValueError for a number below its bound: name -> (value, bound)."""
    for name, (value, bound) in bounds.items():
        if value < bound:
            raise ValueError(f"{key}.{name}: got {value}, expected at least {bound}. Correct the metrics config.")


def _features(network: Callable[[Tensor], Tensor], paths: Sequence[Path], progress: Progress) -> Tensor:
    """Float32 features, (n, d)."""
    with torch.no_grad():
        return torch.cat([network(_picture(path)) for path in progress(paths)])


def _picture(path: Path) -> Tensor:
    """(1, 3, h, w) uint8."""
    with Image.open(path, formats=["PNG"]) as file:
        pixels = np.array(file.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def _cached(path: Path, network: Callable[[Tensor], Tensor], references: Sequence[Path], progress: Progress) -> Tensor:
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
