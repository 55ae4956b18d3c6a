"""Training pictures: dead leaves and random views of the train photographs, batch by batch.

Batch k is a function of (seed, k) alone, so that a resumed run sees what an uninterrupted one would have seen, and a
loader's worker can make batches ahead of the network.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image as PilImage
from torch import Tensor
from torch.utils.data import Dataset

from safari_bench.data import leaf_generator, leaf_picture, photographs, textures
from safari_bench.rng import Streams
from safari_bench.shapes import Image

__all__ = ["Batch", "Mixture"]


class Batch(NamedTuple):
    """What one training step needs.

    Attributes:
        x: clean pictures in [-1, 1], (b, 3, h, w).
        u: stratified uniform draws in [0, 1), (b,), that the recipe turns into timesteps.
        eps: standard normal noise, like x.
    """

    x: Image
    u: Tensor
    eps: Image


class Mixture(Dataset[Batch]):
    """Batches of random views; the k-th is always the same one.

    A photograph is shown as a square of random place and side, reduced by area means, turned by a multiple of 90
    degrees and mirrored; contrast and brightness are varied, and channels exchanged at times, because six photographs
    have six palettes, and a prior fitted to palettes gives samples a colour cast.

    Args:
        steps: how many batches there are.
        batch_size: pictures in each.
        size: side of the pictures, pixels.
        leaves: expected fraction of dead-leaves pictures, 0 to 1; the rest are photographs, one as often as another.
        leaves_pool: distinct dead-leaves pictures; each is made when first drawn, then kept (12 KiB at 64 px) and shown
            again turned, mirrored and with its channels exchanged. One takes 10 ms of a core, as long as a training
            step spends on it.
        textures: expected fraction of the photographs that come from the grey ones, tinted at random.
        tries: crops drawn per photograph, of which the one with the greatest contrast is kept: most of a sky or of a
            starfield is empty, and pictures that people photograph are not.
        largest_scale: greatest reduction of a photograph; the scale is log-uniform between 1 and this, as far as the
            photograph reaches.
        colour: probability that a photograph's channels are exchanged.
        contrast: mean logarithm of the gain around a photograph's mean; its standard deviation is 0.25. Above 0 because
            the train photographs have less power than tuning photographs, in every octave of frequency.
        seed: of everything random here.
    """

    def __init__(
        self,
        *,
        steps: int,
        batch_size: int = 16,
        size: int = 64,
        leaves: float = 0.5,
        leaves_pool: int = 8192,
        textures: float = 0.15,
        tries: int = 4,
        largest_scale: float = 8.0,
        colour: float = 0.3,
        contrast: float = 0.25,
        seed: int = 0,
    ) -> None:
        for key, value in (("leaves", leaves), ("textures", textures), ("colour", colour)):
            if not 0 <= value <= 1:
                raise ValueError(f"training.data.{key}: got {value}, expected a fraction from 0 to 1")
        at_least_one = {
            "steps": steps,
            "batch_size": batch_size,
            "tries": tries,
            "leaves_pool": leaves_pool,
            "largest_scale": largest_scale,
        }
        for key, count, least in (*((k, v, 1) for k, v in at_least_one.items()), ("size", size, 16)):
            if count < least:
                raise ValueError(f"training.data.{key}: got {count}, expected at least {least}")
        self.steps, self.batch_size, self.size, self.seed = steps, batch_size, size, seed
        self.leaves, self.textures, self.colour, self.contrast = leaves, textures, colour, contrast
        self.leaves_pool, self.tries, self.largest_scale = leaves_pool, tries, largest_scale
        self._leaves: dict[int, np.ndarray] = {}
        self._coloured: list[PilImage.Image] | None = None
        self._grey: list[PilImage.Image] | None = None

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        """Batch `step`."""
        ids = [f"{step}-{place}" for place in range(self.batch_size)]
        streams = Streams(self.seed, "training", ids)
        views = np.stack([self._view(g) for g in streams.generators("view")])
        x = torch.from_numpy(views).permute(0, 3, 1, 2).contiguous() / 127.5 - 1
        # One draw per stratum: every batch sees every part of the noise range.
        u = (torch.arange(self.batch_size) + streams.uniform("time", ()).flatten()) / self.batch_size
        return Batch(x, u, streams.normal("eps", x.shape[1:]))

    def _view(self, g: Generator) -> np.ndarray:
        """(size, size, 3), float32 in [0, 255]."""
        if g.random() < self.leaves:
            index = int(g.integers(self.leaves_pool))
            if index not in self._leaves:
                self._leaves[index] = leaf_picture(leaf_generator("train", index), self.size, self.size)
            picture = self._leaves[index][:, :, g.permutation(3)]
        else:
            if self._coloured is None or self._grey is None:
                self._coloured = [PilImage.fromarray(p) for p in photographs("train").values()]
                self._grey = [PilImage.fromarray(p) for p in textures().values()]
            sources = self._grey if g.random() < self.textures else self._coloured
            source = sources[g.integers(len(sources))]
            picture = max((self._crop(source, g) for _ in range(self.tries)), key=np.std)
            if picture.ndim == 2:
                picture = _tinted(picture, g)
            elif g.random() < self.colour:
                picture = picture[:, :, g.permutation(3)]
            picture = _contrasted(picture, np.exp(g.normal(self.contrast, 0.25)), g.normal(10, 25))
        picture = np.rot90(picture, int(g.integers(4)))
        return np.ascontiguousarray(picture[:, ::-1] if g.random() < 0.5 else picture, dtype=np.float32)

    def _crop(self, source: PilImage.Image, g: Generator) -> np.ndarray:
        reach = min(self.largest_scale, min(source.size) / self.size)
        side = self.size * max(reach, 1.0) ** g.random()
        left, top = g.random() * (source.width - side), g.random() * (source.height - side)
        box = (left, top, left + side, top + side)
        return np.asarray(source.resize((self.size, self.size), PilImage.Resampling.BOX, box=box))


def _contrasted(picture: np.ndarray, gain: float, shift: float) -> np.ndarray:
    """Gain around the mean, then shift, clipped to [0, 255]."""
    mean = float(picture.mean())
    varied: np.ndarray = np.clip((picture - mean) * gain + mean + shift, 0, 255)
    return varied


def _tinted(grey: np.ndarray, g: Generator) -> np.ndarray:
    """A grey picture between two random colours, one dark and one light."""
    dark, light = g.uniform(-40, 60, 3), g.uniform(195, 295, 3)
    if g.random() < 0.5:  # half of them nearly neutral
        dark, light = dark.mean() + 0.2 * (dark - dark.mean()), light.mean() + 0.2 * (light - light.mean())
    weight = grey[:, :, None].astype(np.float32) / 255
    tinted: np.ndarray = np.clip(dark + weight * (light - dark), 0, 255)
    return tinted
