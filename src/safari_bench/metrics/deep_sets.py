"""Distance of two sets of pictures in the pooled features of EfficientNet-Lite0, see `deep`. Ours, not FID or KID."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from safari_bench.metrics.deep import BACKBONE, describe, network, stages
from safari_bench.metrics.feature_sets import FeatureSets, at_least
from safari_bench.metrics.weights import Found

__all__ = ["DeepSetScores"]


class DeepSetScores(FeatureSets):
    """`deep_frechet` in [0, 4] and `deep_kernel`: Frechet and kernel distance of 320 features, 0 for equal sets.

    Protocol: that of `FeatureSets`. The features are the last of the five stages of `deep.DeepDistance`, averaged over
    places and divided by their norm; shorter sides under 128 px are enlarged to 128 px. Float32 on the CPU.

    With fewer pictures than features the covariance has no full rank, so `deep_frechet` depends on their number: it
    compares at equal N only. Below 256 pictures the tables say so; below `least` there is neither score.

    Args:
        least: the fewest pictures that are scored, at least 2.
        subsets: `deep_kernel` is the mean over this many subsets.
        subset_size: pictures per subset. A smaller set is one subset: all others would be the same.

    Raises:
        ValueError: a number that is too small.
    """

    backbone = BACKBONE
    columns = ("deep_frechet", "deep_kernel")
    reliable_from = 256

    def __init__(self, least: int = 16, subsets: int = 100, subset_size: int = 1000) -> None:
        bounds = {"least": (least, 2), "subsets": (subsets, 1), "subset_size": (subset_size, 2)}
        at_least("deep_sets", bounds)
        super().__init__(least, subsets, subset_size)
        self.least = least

    def describe(self) -> dict[str, Any]:
        settings = {"least": self.least, "subsets": self.subsets, "subset_size": self.subset_size}
        return {**describe(), **settings}

    def network(self, weights: Found, device: torch.device) -> Callable[[Tensor], Tensor]:
        model = network(weights)
        return lambda pixels: normalize(stages(model, pixels.double() / 255)[-1].mean((2, 3)))
