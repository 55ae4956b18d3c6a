"""Streams for batches too large to seed image by image."""

import torch

from safari_bench.rng import Streams


class Many(Streams):
    """One generator per purpose for the whole batch."""

    def __init__(self, count: int) -> None:
        super().__init__(0, "many", [str(i) for i in range(count)], dtype=torch.float64)
        self.one = Streams(0, "many", ["all"], dtype=torch.float64)

    def normal(self, purpose, shape):
        return self.one.normal(purpose, (len(self), *shape))[0]

    def uniform(self, purpose, shape):
        return self.one.uniform(purpose, (len(self), *shape))[0]
