"""Checkpoint files: there, whole and nothing but weights, or refused with what to do about it."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from safari_bench.errors import PriorError

__all__ = ["PriorError", "named", "require", "sha256_of", "torch_weights"]


def require(path: Path, source: str) -> None:
    """Refuse a checkpoint that is not there or is a download gone wrong.

    Args:
        source: where to get the file, or empty if nobody knows.
    Raises:
        PriorError: no such file, an empty one, or a web page or a Git LFS pointer in its place.
    """
    remedy = f"get it from {source} and put it there" if source else "put it there"
    remedy += ", or give the path of your copy with prior.checkpoint=..."
    if path.is_dir():
        raise PriorError(
            f"prior.checkpoint: {path} is a folder, expected a .pt file; for a diffusers folder say "
            f"prior=diffusers, else {remedy}"
        )
    if not path.is_file():
        raise PriorError(f"prior.checkpoint: no file {path} (looked for at {path.absolute()}); {remedy}")
    with path.open("rb") as file:
        head = file.read(200).lstrip().lower()
    for start, what in ((b"<", "a web page"), (b"version https://git-lfs", "a Git LFS pointer")):
        if head.startswith(start):
            raise PriorError(f"{path}: {what}, not a checkpoint: the download went wrong; {remedy}")
    if not head:
        raise PriorError(f"{path}: an empty file: the download went wrong; {remedy}")


@contextmanager
def named(path: Path, source: str) -> Iterator[None]:
    """A context whose refusals of a file that is there end with where to get the right one and where to put it.

    Args:
        source: as `require` takes it; where it is empty the messages stay as they are.
    """
    try:
        yield
    except PriorError as error:
        if not source:
            raise
        raise PriorError(f"{error}; get the file from {source} and put it at {path}") from error


def sha256_of(path: Path, expected: str | None) -> str:
    """The file's sha256, compared with `expected` unless that is None.

    Raises:
        PriorError: the hash differs.
    """
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and got != expected.lower():
        raise PriorError(
            f"{path} ({path.stat().st_size:,} bytes): sha256 is {got}, expected {expected}; the file is damaged or "
            "another checkpoint: fetch it again, or say prior.sha256=null to take it as it is"
        )
    return got


def torch_weights(path: Path) -> dict[str, Tensor]:
    """The tensors that torch.save wrote, by name. Nothing in the file is run.

    Raises:
        PriorError: the file is cut off, holds objects that would have to be run, or more than weights.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code is None:
            raise PriorError(
                f"{path}: not a file of torch.save; expected a guided-diffusion checkpoint (.pt)"
            ) from error
        raise PriorError(
            f"{path}: holds more than weights: opening it would run {code.group(1)}, which this suite never does. Get "
            "the official file, or where you trust this one save its weights alone: torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # what a cut file raises depends on where it was cut
        raise PriorError(
            f"{path} ({path.stat().st_size:,} bytes): cannot be read to its end, most likely a download that stopped "
            f"early ({type(error).__name__}: {error}); fetch it again"
        ) from error
    others = [key for key, value in state.items() if not isinstance(value, Tensor)] if isinstance(state, dict) else []
    if not isinstance(state, dict) or others:
        got = f"entries such as {', '.join(map(str, others[:4]))}" if others else f"a {type(state).__name__}"
        raise PriorError(
            f"{path}: got {got}, expected the weights and nothing else; take the EMA weights out of a training "
            "checkpoint and save them alone with torch.save"
        )
    return dict(state)
