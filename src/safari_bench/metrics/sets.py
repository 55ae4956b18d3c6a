"""FID and KID. Library: torch-fidelity 0.4.0, whose Inception reproduces the TensorFlow one of the FID paper."""

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from safari_bench.metrics.feature_sets import SEED, FeatureSets, at_least
from safari_bench.metrics.weights import Found, WeightsError, library, state

__all__ = ["SetScores"]

_EXTRACTOR = "inception-v3-compat"


class SetScores(FeatureSets):
    """FID and KID of PNG files against the references of the same images.

    Protocol: that of `FeatureSets`, through Inception in float64 (an option of torch-fidelity): the numbers depend
    neither on a batch nor, but for rare roundings, on the device. torch-fidelity with the same option gives the same
    numbers, with its default float32 the same to about 1e-3 relative.

    Args:
        fid_from: with fewer pictures there is KID only.
        kid_subsets: KID is the mean over this many subsets.
        kid_subset_size: pictures per subset. A smaller set is one subset: all others would be the same.
        layer: of Inception. Columns are called fid and kid for "2048", which all papers use, else e.g. fid_64.

    Raises:
        ValueError: a number that is too small, or a layer that Inception does not have.
    """

    backbone = "inception"
    #: with fewer pictures the covariance of 2048 features has no full rank and FID is too large (torch-fidelity and the
    #: FID paper both say so)
    reliable_from = 2048

    def __init__(
        self, fid_from: int = 1000, kid_subsets: int = 100, kid_subset_size: int = 1000, layer: str = "2048"
    ) -> None:
        least = {"fid_from": (fid_from, 2), "kid_subsets": (kid_subsets, 1), "kid_subset_size": (kid_subset_size, 2)}
        at_least("sets", least)
        if layer not in ("64", "192", "768", "2048"):
            raise ValueError(f"sets.layer: got {layer!r}, expected 64, 192, 768 or 2048. Correct the metrics config.")
        super().__init__(fid_from, kid_subsets, kid_subset_size)
        self.layer = layer
        suffix = "" if layer == "2048" else f"_{layer}"
        self.columns = (f"fid{suffix}", f"kid{suffix}")

    def describe(self) -> dict[str, Any]:
        settings = {"fid_from": self.frechet_from, "kid_subsets": self.subsets, "kid_subset_size": self.subset_size}
        software = {"library": library("torch-fidelity"), "extractor": _EXTRACTOR}
        return {**software, "layer": self.layer, "dtype": "float64", "rng_seed": SEED, **settings}

    def network(self, weights: Found, device: torch.device) -> Callable[[Tensor], Tensor]:
        inception = _extractor(self.layer, weights).to(device)
        return lambda pixels: inception(pixels.to(device))[0].cpu()

    def _kind(self) -> str:
        return f"inception-{self.layer}"


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
