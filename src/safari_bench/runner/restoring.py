"""A measurement whose clean image nobody knows -> draws of it: the runner's path without a reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from safari_bench.diffusion import Counted, Denoiser, check_finite
from safari_bench.operators.contract import Operator, Unsupported
from safari_bench.rng import Streams
from safari_bench.samplers.contract import Pairs, Problem, Sampler

__all__ = ["Build", "Restoration", "Restored"]

Build = Callable[[Sequence[int], Streams], Operator]


@dataclass(frozen=True)
class Restored:
    """What came of it.

    Attributes:
        x: (draws, b, c, h, w), in [-1, 1].
        nfe: calls of the prior for one batch.
    """

    x: Tensor
    nfe: int


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """How measurements are restored.

    Args:
        build: makes the operator from an image shape and streams; a class of operators, or `functools.partial` of one.
        denoiser: makes the prior from the streams of a batch.
        sigma_y: standard deviation of the noise on the [-1, 1] scale.
        multiple, least: what sides of images must be multiples of, and how long at least. Pictures are mirrored beyond
            their border as far as that, and cropped afterwards.
        batch_size: draws at once.
        label: of the progress bar; None for no bar.
    """

    build: Build
    sampler: Sampler
    denoiser: Callable[[Streams], Denoiser]
    sigma_y: float
    seed: int = 0
    multiple: int = 1
    least: int = 1
    batch_size: int = 1
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    label: str | None = None

    def __call__(self, y: Tensor, ids: Sequence[str], draws: int = 1) -> Restored:
        """Restore a batch.

        Args:
            y: (b, *m) on the CPU.
            ids: one per image; they name its random streams.

        Raises:
            Unsupported: sampler, operator and y do not go together.
            ValueError: the operator cannot be built.
            NotFinite: an iterate is not finite.
        """
        kind, settings = _kind(self.build)
        inner = kind.image_shape_of(y.shape[1:], **settings)
        pad, crop = self._pad(kind, settings, y, inner)
        y, settings = kind.extended(y, pad, **settings)
        build = partial(kind, **settings) if kind is not Operator else self.build
        shape = kind.image_shape_of(y.shape[1:], **settings)
        jobs = [(i, k) for k in range(draws) for i in range(len(y))]
        found: list[Tensor] = []
        nfe = 0
        remaining = iter(jobs)
        with tqdm(total=len(jobs), desc=self.label, disable=self.label is None, leave=False, bar_format=_BAR) as bar:
            while group := list(islice(remaining, max(self.batch_size, 1))):
                names = [ids[i] if k == 0 else f"{ids[i]}#{k}" for i, k in group]
                x, nfe = self._batch(build, shape, y[[i for i, _ in group]], names, bar)
                found += list(x.cpu())
        top, left = crop
        _, h, w = inner
        x = torch.stack(found).reshape(draws, len(y), *shape)[..., top : top + h, left : left + w]
        return Restored(x.clamp(-1, 1).float(), nfe)

    def _batch(
        self, build: Build, shape: Sequence[int], y: Tensor, names: Sequence[str], bar: "tqdm[Any]"
    ) -> tuple[Tensor, int]:
        streams = Streams(self.seed, "restore", names, self.device, self.dtype)
        operator = build(shape, streams)
        if streams.drawn:
            raise Unsupported(
                f"{type(operator).__name__} draws its own {', '.join(streams.drawn)} at random, which is not that of "
                "your picture; give yours: task=inpaint mask=FILE, or task=deblur kernel=FILE"
            )
        self.sampler.admit(operator)
        y = y.to(self.device, self.dtype)
        if operator.observed is not None:
            y = torch.where(operator.observed > 0, y, 0)
        denoiser = Counted(self.denoiser(streams))
        before = bar.n

        def progress(pairs: Pairs) -> Pairs:
            steps = list(pairs)
            for done, pair in enumerate(steps, start=1):
                yield pair
                bar.update(before + len(names) * done / len(steps) - bar.n)

        problem = Problem(y=y, operator=operator, sigma_y=self.sigma_y, streams=streams)
        x = self.sampler.restore(problem, denoiser, progress)
        check_finite(x, "the end")
        bar.update(before + len(names) - bar.n)
        return x.detach(), denoiser.nfe

    def _pad(
        self, kind: type[Operator], settings: dict[str, Any], y: Tensor, inner: Sequence[int]
    ) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
        """Px of y to add to the left, right, top and bottom, and where the picture then begins in the image."""
        if len(inner) != 3:
            raise Unsupported(f"measurements of shape {tuple(y.shape[1:])} are not of images (c, h, w)")
        margin = kind.margin(**settings)
        pads, crop = [], []
        for axis in (-1, -2):
            size = inner[axis] + 2 * margin
            wanted = -(-max(size, self.least) // self.multiple) * self.multiple
            scale = max(inner[axis] // y.shape[axis], 1) if y.ndim == 4 else 1
            extra = -(-(wanted - inner[axis]) // scale)
            while (inner[axis] + extra * scale) % self.multiple:
                extra += 1
            pads += [extra // 2, extra - extra // 2]
            crop.append(extra // 2 * scale)
        return (pads[0], pads[1], pads[2], pads[3]), (crop[1], crop[0])


_BAR = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"


def _kind(build: Build) -> tuple[type[Operator], dict[str, Any]]:
    """The class of operators that a builder makes, and the settings; `Operator` where it is another function."""
    function, settings, rest = build, {}, False
    if isinstance(build, partial):
        function, settings, rest = build.func, dict(build.keywords), bool(build.args)
    if isinstance(function, type) and issubclass(function, Operator) and not rest:
        return function, settings
    return Operator, {}
