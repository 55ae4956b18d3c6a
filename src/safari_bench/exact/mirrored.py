"""Noise in mirrored pairs, so that few draws say much of a sampler's mean.

Image i of the first half of a batch and image i of the second half see noise of opposite sign. Each is a fair draw, and
for a sampler that is affine in its noise the middle of a pair is the sampler's exact mean: what the middles still
scatter is what is left of the Monte-Carlo error, and is measured with them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from safari_bench.rng import Streams

__all__ = ["Mirrored"]


class Mirrored(Streams):
    """Streams whose second half draws the negatives of the first half's normal numbers.

    Uniform numbers are not mirrored.

    Raises:
        ValueError: the number of ids is odd.
    """

    def __init__(
        self,
        seed: int,
        dataset: str,
        ids: Sequence[str],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if len(ids) % 2:
            raise ValueError(f"mirrored noise: got {len(ids)} images, expected an even number")
        super().__init__(seed, dataset, ids, device, dtype)
        self._first = Streams(seed, dataset, ids[: len(ids) // 2], device, dtype)

    def normal(self, purpose: str, shape: Sequence[int]) -> Tensor:
        half = self._first.normal(purpose, shape)
        return torch.cat([half, -half])
