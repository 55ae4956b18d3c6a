"""Named random streams, one per image.

A draw depends on (seed, dataset, image id, purpose) and on how often that purpose was drawn from before, and on nothing
else: not on the batch an image sits in, its place there, the shard, the device, or which sampler ran before it.
This is the only module that draws random numbers.

The bit generator is numpy's Philox keyed with 128 bits of a SHA-256. torch's CPU generator keeps only 32 bits of its
seed, so that among 10 000 images two would share their noise with a probability of about 1 %.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Streams", "seed_torch"]


def seed_torch(seed: int) -> None:
    """Seed what torch draws by itself, which is a network's first weights and nothing else here."""
    torch.manual_seed(seed)


class Streams:
    """The random streams of one batch.

    Args:
        seed: the run's seed.
        dataset: name of the dataset the ids belong to.
        ids: one id per image of the batch, in batch order.
        device: where draws are moved to. Numbers are always drawn on the CPU, so a GPU sees the same ones.
        dtype: floating type of the draws. Numbers are drawn in float32 and cast, so float64 sees the same ones.
    """

    def __init__(
        self,
        seed: int,
        dataset: str,
        ids: Sequence[str],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.seed = seed
        self.dataset = dataset
        self.ids = tuple(ids)
        self.device = torch.device(device)
        self.dtype = dtype
        self._generators: dict[str, list[np.random.Generator]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def drawn(self) -> list[str]:
        """The purposes that were drawn for so far."""
        return list(self._generators)

    def generators(self, purpose: str) -> list[np.random.Generator]:
        """One generator per image; asking again returns the same ones, advanced by what was drawn."""
        if purpose not in self._generators:
            self._generators[purpose] = [
                np.random.Generator(np.random.Philox(key=self._key(i, purpose))) for i in self.ids
            ]
        return self._generators[purpose]

    def normal(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Standard normal draws, (b, *shape). A second call with the same purpose continues the streams."""
        draws = [g.standard_normal(tuple(shape), dtype=np.float32) for g in self.generators(purpose)]
        return self._stack(draws)

    def uniform(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Uniform draws in [0, 1), (b, *shape)."""
        draws = [g.random(tuple(shape), dtype=np.float32) for g in self.generators(purpose)]
        return self._stack(draws)

    def _stack(self, draws: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(draws)).to(self.device, self.dtype)

    def _key(self, image_id: str, purpose: str) -> int:
        text = "\x1f".join((str(self.seed), self.dataset, image_id, purpose))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
