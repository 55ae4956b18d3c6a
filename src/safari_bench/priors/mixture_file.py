"""The mixture prior of photographs of 64 px: its file, and how it is read.

mixture_photos.safetensors is fitted on crops of the train photographs alone (`python -m recipes.fit mixture`, see
mixture_fit.py). It holds, for K components of rank r in a space of R dimensions:

========  ==========  =========================================================================================
array     shape       meaning
========  ==========  =========================================================================================
shape     (3,)        c, h, w
colour    (c, c)      orthonormal, columns are directions of colour
axes      (R,)        basis image a is a cosine transform's in one direction of colour; its place in (c, h, w)
weights   (K,)        pi_k
means     (K, R)      m_k, float16
factors   (K, R, r)   C_k, float16
sd        (K,)        s_k
========  ==========  =========================================================================================
"""

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes
from scipy.fft import dct

from safari_bench.diffusion import Schedule
from safari_bench.priors.mixture import Mixture, MixturePrior

__all__ = ["Arrays", "decode", "load", "write"]

#: what a file holds, by name
Arrays = Mapping[str, NDArray[np.generic]]

#: digest of the shipped file
_SHA256 = "b773c5d5bfd43df3911a058626f4f234ae8cab3ead7d201a59fe4d0c82e340e3"
_REMEDY = "in a checkout of the repository, python -m recipes.fit mixture FILE writes one"


def decode(arrays: Arrays) -> Mixture:
    """The mixture in a file's arrays.

    Raises:
        KeyError: an array is missing.
        ValueError: the numbers are not a mixture.
    """
    shape = tuple(int(n) for n in arrays["shape"])
    colour, row, column = np.unravel_index(arrays["axes"].astype(np.int64), shape)
    waves_h, waves_w = (dct(np.eye(n), norm="ortho", axis=0) for n in shape[1:])
    directions = arrays["colour"].astype(np.float64).T
    basis = np.einsum("ac,ah,aw->achw", directions[colour], waves_h[row], waves_w[column])
    names = ("weights", "means", "factors", "sd")
    weights, means, factors, sd = (torch.from_numpy(arrays[name].astype(np.float64)) for name in names)
    return Mixture(weights, torch.from_numpy(basis), means, factors, sd)


def load(checkpoint: str | None = None, sha256: str | None = None, *, schedule: Schedule | None = None) -> MixturePrior:
    """The shipped prior, or the one in the file `checkpoint`.

    Args:
        checkpoint: a safetensors file that `python -m recipes.fit mixture` wrote; None is the one that ships.
        sha256: digest the file must have; None leaves the shipped file's own, and none for another file.
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has another digest, or is not a mixture.
    """
    shipped = resources.files("safari_bench.priors").joinpath("mixture_photos.safetensors")
    source = Path(checkpoint) if checkpoint else shipped
    expected = sha256 or (None if checkpoint else _SHA256)
    try:
        content = source.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"prior.checkpoint: no file {source}; {_REMEDY}") from error
    got = hashlib.sha256(content).hexdigest()
    if expected and got != expected:
        raise ValueError(
            f"prior.checkpoint: {source} has sha256 {got}, expected {expected}; it is another file or a damaged one: "
            f"restore it, or fit another: {_REMEDY} and prints its sha256"
        )
    try:
        mixture = decode(from_bytes(content))
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"prior.checkpoint: {source} is not a fitted mixture ({error}); {_REMEDY}") from error
    return MixturePrior(mixture, schedule, got)


def write(path: Path, arrays: Arrays) -> str:
    """Write a file that `load` reads; returns its SHA-256, in hex."""
    content = to_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
