"""A prior of small pictures for large ones: overlapping windows whose predictions are blended at every step.

There is one x_t. At each call its windows are denoised and their x0_hat averaged with weights that fall off towards
their borders (MultiDiffusion: Bar-Tal et al., ICML 2023; PaDIS: Hu et al., NeurIPS 2024). The grid of windows is
shifted at random from call to call, so that no border stays in one place.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from safari_bench.diffusion import Denoiser, Prediction, from_x0
from safari_bench.rng import Streams
from safari_bench.shapes import Image

__all__ = ["Windows"]


class Windows:
    """A Denoiser for images of at least one window.

    Args:
        prior: a Denoiser of images of side x side px.
        streams: where the shifts are drawn from, purpose "windows": one stream per image.
        side: of a window, px.
        overlap: of neighbouring windows, px, at least.
        tile: windows that the prior is given at once, which bounds the memory. Gradients then cost a second pass.

    Raises:
        ValueError: overlap or tile are out of range.
    """

    def __init__(self, prior: Denoiser, streams: Streams, *, side: int = 64, overlap: int = 16, tile: int = 64) -> None:
        if not 0 <= overlap < side or tile < 1:
            raise ValueError(
                f"windows of {side} px: got overlap {overlap} and tile {tile}; expected 0 <= overlap < {side} and "
                "at least 1 window at once (compute.tile)"
            )
        self.prior, self.schedule = prior, prior.schedule
        self.side, self.overlap, self.tile = side, overlap, tile
        self._streams = streams

    def predict(self, x_t: Image, t: int, *, clip: bool = False) -> Prediction:
        """See `Denoiser.predict`. Of one image, the result does not depend on the others or on tile.

        Raises:
            ValueError: the image is smaller than a window.
        """
        b, c, h, w = x_t.shape
        if min(h, w) < self.side:
            raise ValueError(f"image of {h} x {w}: smaller than a window of {self.side} px; extend it")
        corners = self._corners(b, h, w)
        flat = x_t.permute(0, 2, 3, 1).reshape(b * h * w, c)
        inside = torch.arange(self.side)
        inside = (inside[:, None] * w + inside).flatten()
        weight = self._weight().to(x_t)
        totals: list[Tensor] = []  # sums of weighted predictions (b h w, c or 2c), and of weights (b h w, 1)
        for chunk in torch.split(corners, self.tile):
            places = (chunk[:, None] + inside).flatten().to(x_t.device)
            if torch.is_grad_enabled() and x_t.requires_grad and len(corners) > self.tile:
                found = checkpoint(self._call, flat, places, t, use_reentrant=False, preserve_rng_state=False)
            else:
                found = self._call(flat, places, t)
            spread = weight.repeat(len(chunk))[:, None]
            if not totals:
                totals = [flat.new_zeros(len(flat), n) for n in (found.shape[1], 1)]
            totals[0].index_add_(0, places, found * spread)
            totals[1].index_add_(0, places, spread)
        blended = (totals[0] / totals[1]).reshape(b, h, w, -1).permute(0, 3, 1, 2)
        var_fraction = blended[:, c:].detach() if blended.shape[1] > c else None
        return from_x0(self.schedule, x_t, blended[:, :c], t, var_fraction, clip)

    def _call(self, flat: Tensor, places: Tensor, t: int) -> Tensor:
        """x0_hat, and var_fraction where there is one, of the windows at `places`, (n side^2, c or 2c)."""
        s = self.side
        windows = flat.index_select(0, places).reshape(-1, s, s, flat.shape[1]).permute(0, 3, 1, 2)
        x0_hat, _, var_fraction = self.prior.predict(windows.contiguous(), t)
        found = x0_hat if var_fraction is None else torch.cat([x0_hat, var_fraction.expand_as(x0_hat)], 1)
        return found.permute(0, 2, 3, 1).reshape(-1, found.shape[1])

    def _weight(self) -> Tensor:
        """(side^2,): a ramp over the overlap at each border, 1 in the middle."""
        ramp = (torch.arange(self.side) + 1.0) / (self.overlap + 1)
        line = torch.minimum(ramp, ramp.flip(0)).clamp_max(1)
        return (line[:, None] * line).flatten()

    def _corners(self, b: int, h: int, w: int) -> Tensor:
        """Where each window begins among the pixels of the batch, (windows,), image by image."""
        shifts = self._streams.uniform("windows", (2,)).cpu().double().numpy()
        found = []
        for i in range(b):
            down, across = shifts[i % len(shifts)]
            tops, lefts = list(self._starts(h, down)), list(self._starts(w, across))
            found += [(i * h + top) * w + left for top in tops for left in lefts]
        return torch.tensor(found)

    def _starts(self, n: int, shift: float) -> Iterator[int]:
        """First pixels of the windows along an axis of n px, in order: every step px from a shifted start."""
        step = self.side - self.overlap
        first = -int(shift * step)
        starts = np.arange(first, n - self.overlap, step) if n > self.side else np.zeros(1, int)
        yield from dict.fromkeys(int(start) for start in np.clip(starts, 0, n - self.side))
