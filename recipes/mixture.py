"""Training pictures of the prior: views of free photographs, some behind pasted stamps, and some dead leaves.

Batch k is a function of (seed, k) alone: a resumed run sees what an uninterrupted one would have seen.
"""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image as PilImage
from torch import Tensor
from torch.utils.data import Dataset

from safari_bench.data import leaf_generator, leaf_picture, textures, whole_photographs
from safari_bench.rng import Streams

__all__ = ["Batch", "Mixture"]


class Batch(NamedTuple):
    """What one training step needs.

    Attributes:
        x: clean pictures in [-1, 1], (b, 3, size, size), float32.
        u: stratified uniform draws in [0, 1), (b,), which become timesteps.
        eps: standard normal noise, like x.
    """

    x: Tensor
    u: Tensor
    eps: Tensor


class Mixture(Dataset[Batch]):
    """Batches of random views.

    A view is a square of random place and side, reduced by area means, mirrored at times. Contrast is only ever
    lowered, so that no view has more saturated pixels than its photograph.

    Args:
        pack: the zip that `recipes.photographs` writes.
        first, last: numbers of the batches, first <= k < last.
        batch_size: pictures in each.
        size: side of the pictures, pixels.
        leaves: expected fraction of dead leaves.
        leaves_pool: distinct dead leaves; each is made when first drawn, then kept and shown again mirrored and turned.
        grey: expected fraction of grey texture photographs, tinted.
        smooth: expected fraction of photographs' views that are any crop; the others are the busier of two crops.
        stamps: expected fraction of views with one to three stamps pasted over them.
        largest_scale: greatest reduction of a photograph; the scale is log-uniform from 1.
        seed: of everything random here.
    """

    def __init__(
        self,
        pack: Path,
        *,
        first: int = 0,
        last: int = 10**9,
        batch_size: int = 16,
        size: int = 64,
        leaves: float = 0.1,
        leaves_pool: int = 4096,
        grey: float = 0.03,
        smooth: float = 0.3,
        stamps: float = 0.1,
        largest_scale: float = 8.0,
        seed: int = 1,
    ) -> None:
        self.pack, self.first, self.last = pack, first, last
        self.batch_size, self.size, self.seed = batch_size, size, seed
        self.leaves, self.leaves_pool, self.grey = leaves, leaves_pool, grey
        self.smooth, self.stamps, self.largest_scale = smooth, stamps, largest_scale
        self._leaves: dict[int, np.ndarray] = {}
        self._colour: list[PilImage.Image] = []
        self._grey: list[PilImage.Image] = []
        self._stamps: list[PilImage.Image] = []
        self._weights = np.zeros(0)

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, place: int) -> Batch:
        self._decode()
        step = self.first + place
        streams = Streams(self.seed, "training", [f"{step}-{i}" for i in range(self.batch_size)])
        views = np.stack([self._view(g) for g in streams.generators("view")])
        x = torch.from_numpy(views).permute(0, 3, 1, 2).contiguous() / 127.5 - 1
        u = (torch.arange(self.batch_size) + streams.uniform("time", ()).flatten()) / self.batch_size
        return Batch(x, u, streams.normal("eps", x.shape[1:]))

    def _decode(self) -> None:
        """Read every photograph once, in the process that makes batches."""
        if self._colour:
            return
        with zipfile.ZipFile(self.pack) as archive:
            for name in sorted(archive.namelist()):
                if name.startswith(("train/", "stamps/")):
                    picture = PilImage.open(io.BytesIO(archive.read(name)))
                    picture.load()
                    (self._colour if name.startswith("train/") else self._stamps).append(picture)
        self._colour += [PilImage.fromarray(pixels) for pixels in whole_photographs("train").values()]
        self._grey = [PilImage.fromarray(pixels) for pixels in textures().values()]
        areas = np.sqrt([picture.width * picture.height for picture in self._colour])
        self._weights = np.cumsum(areas / areas.sum())

    def _view(self, g: Generator) -> np.ndarray:
        """(size, size, 3), float32 in [0, 255]."""
        kind = g.random()
        if kind < self.leaves:
            picture = self._leaf(g)
        elif kind < self.leaves + self.grey:
            source = self._grey[g.integers(len(self._grey))]
            picture = _tinted(self._crop(source, g), g)
        else:
            source = self._colour[int(np.searchsorted(self._weights, g.random() * self._weights[-1]))]
            tries = 1 if g.random() < self.smooth else 2
            picture = max((self._crop(source, g) for _ in range(tries)), key=np.std).astype(np.float32)
            if g.random() < 0.1:
                picture = picture[:, :, g.permutation(3)]
            picture = _faded(picture, g)
        if g.random() < self.stamps:
            picture = self._occluded(picture, g)
        turns = int(g.integers(4)) if g.random() < 0.25 else 0
        picture = np.rot90(picture, turns)
        return np.ascontiguousarray(picture[:, ::-1] if g.random() < 0.5 else picture, dtype=np.float32)

    def _leaf(self, g: Generator) -> np.ndarray:
        index = int(g.integers(self.leaves_pool))
        if index not in self._leaves:
            self._leaves[index] = leaf_picture(leaf_generator("train", index), self.size, self.size)
        return self._leaves[index][:, :, g.permutation(3)].astype(np.float32)

    def _crop(self, source: PilImage.Image, g: Generator) -> np.ndarray:
        reach = min(self.largest_scale, min(source.size) / self.size)
        side = min(self.size * max(reach, 1.0) ** g.random(), *source.size)
        left, top = g.random() * (source.width - side), g.random() * (source.height - side)
        box = (left, top, left + side, top + side)
        return np.asarray(source.resize((self.size, self.size), PilImage.Resampling.BOX, box=box))

    def _occluded(self, picture: np.ndarray, g: Generator) -> np.ndarray:
        """The picture behind one to three stamps of random size and place."""
        scene = PilImage.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
        for _ in range(int(g.integers(1, 4))):
            stamp = self._stamps[g.integers(len(self._stamps))]
            scale = self.size * g.uniform(0.3, 1.2) / max(stamp.size)
            shape = (max(1, round(stamp.width * scale)), max(1, round(stamp.height * scale)))
            small = stamp.resize(shape, PilImage.Resampling.BOX, reducing_gap=2.0)
            place = (int(g.integers(-shape[0] // 2, self.size)), int(g.integers(-shape[1] // 2, self.size)))
            scene.paste(small.convert("RGB"), place, small.getchannel("A"))
        return np.asarray(scene, dtype=np.float32)


def _faded(picture: np.ndarray, g: Generator) -> np.ndarray:
    """Contrast lowered around the mean, by 10 % in the median case, and a shift of brightness that clips nothing."""
    gain = np.exp(-abs(g.normal(0.0, 0.15)))
    mean = picture.mean()
    faded = (picture - mean) * gain + mean
    room = float(255 - faded.max()) if (up := g.random() < 0.5) else float(faded.min())
    shift = min(abs(g.normal(0.0, 15.0)), max(room, 0.0))
    shifted: np.ndarray = faded + (shift if up else -shift)
    return shifted


def _tinted(grey: np.ndarray, g: Generator) -> np.ndarray:
    """A grey picture between two random colours, one dark and one light."""
    dark, light = g.uniform(0, 60, 3), g.uniform(195, 255, 3)
    if g.random() < 0.5:  # half of them nearly neutral
        dark, light = dark.mean() + 0.2 * (dark - dark.mean()), light.mean() + 0.2 * (light - light.mean())
    weight = grey[:, :, None].astype(np.float32) / 255
    tinted: np.ndarray = dark + weight * (light - dark)
    return tinted
