"""What a metric is, the suite the runner calls, and the one check every metric makes of its input."""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from safari_bench.metrics.downloads import PATIENCE, obtain
from safari_bench.metrics.feature_sets import FeatureSets, Sets
from safari_bench.metrics.weights import BACKBONES, Absent, Found
from safari_bench.shapes import Image, PerImage

__all__ = ["ImageMetric", "Learned", "Suite", "unit_pair"]


@runtime_checkable
class ImageMetric(Protocol):
    """A score of x_hat against x, one number per image.

    The score of an image depends on that image alone: a batch of 4 equals 4 batches of 1 to float64 rounding.
    """

    @property
    def name(self) -> str:
        """The column of the results table, e.g. "psnr"."""

    @property
    def higher_is_better(self) -> bool | None:
        """None where neither end is best, e.g. a signed error whose ideal is 0."""

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """Score x_hat against x.

        Args:
            x_hat: restored images in [-1, 1], quantised by the codec, (b, c, h, w).
            x: reference images, likewise.

        Returns:
            float64 scores, (b,), on the device of x_hat.

        Raises:
            ValueError: if the shapes differ, the images are too small or of a channel count the metric does not know,
                or a pixel is NaN or outside [-1, 1]; the message names the images.
        """


@runtime_checkable
class Learned(Protocol):
    """A score that needs weights. Whoever makes the suite of scores finds them for all."""

    #: what it writes
    columns: tuple[str, ...]
    #: a key of `weights.BACKBONES`
    backbone: str
    #: None until they were looked for
    weights: Found | Absent | None

    def describe(self) -> dict[str, Any]:
        """What run.json keeps besides the weights, JSON types only."""


class Suite:
    """Several metrics as one call; an empty suite is allowed and scores nothing.

    Args:
        metrics: the metrics, in the order of their columns.
        sets: FID and KID of all pictures of a cell, or None for none.
        deep_sets: the same in other features, or None for none.
        weights_dir: a folder with the weights of learned scores, looked into before torch hub's own.
        download_seconds: seconds without a byte after which a download is given up; 0 touches no network.
        leave_out: whether a score without weights is left out; otherwise its column holds NaN.

    Raises:
        ValueError: if two metrics would write the same column, or a file of weights is not the published one. Weights
            that are nowhere are no error: see `notices`.
    """

    def __init__(
        self,
        metrics: Iterable[ImageMetric],
        sets: FeatureSets | None = None,
        deep_sets: FeatureSets | None = None,
        weights_dir: str | None = None,
        download_seconds: float = PATIENCE,
        leave_out: bool = False,
    ) -> None:
        of_images, of_sets = tuple(metrics), [part for part in (sets, deep_sets) if part is not None]
        names = [metric.name for metric in of_images]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"metrics: two metrics write column {', '.join(twice)}; got {names}, expected every name "
                "once. Remove the repeated entry from the metrics config."
            )
        everything: list[object] = [*of_images, *of_sets]
        learned = [score for score in everything if isinstance(score, Learned)]
        for score in learned:
            score.weights = obtain(BACKBONES[score.backbone], weights_dir, download_seconds)
        without = [score for score in learned if isinstance(score.weights, Absent)]
        self._left_out = without if leave_out else []
        gone: list[object] = [*self._left_out]
        self._learned = [score for score in learned if score not in gone]
        self.metrics = tuple(metric for metric in of_images if metric not in gone)
        kept = [part for part in of_sets if part not in gone]
        self.sets = Sets(kept) if kept else None
        self.columns = tuple(metric.name for metric in self.metrics)

    @property
    def notices(self) -> list[str]:
        """One line on all scores that are left out, and one on each whose column is NaN for want of weights."""
        said = [score.weights.said for score in self._learned if isinstance(score.weights, Absent)]
        return said if not self._left_out else [*said, self._left()]

    def _left(self) -> str:
        columns = ", ".join(name for score in self._left_out for name in score.columns)
        why = dict.fromkeys(score.weights.why for score in self._left_out if isinstance(score.weights, Absent))
        reasons = "; ".join(reason for reason in why if reason) or "no weights"
        return f"left out: {columns} ({reasons}); safari-bench weights fetch downloads them"

    @property
    def absent(self) -> set[str]:
        """Columns that read n/a, for want of weights."""
        return {name for score in self._learned if isinstance(score.weights, Absent) for name in score.columns}

    def describe(self) -> dict[str, Any]:
        """What run.json keeps: column of a learned score -> library, file of weights and its SHA-256, or why none."""
        return {name: score.describe() | _told(score.weights) for score in self._learned for name in score.columns}

    def __call__(self, x_hat: Image, x: Image) -> dict[str, PerImage]:
        """Column name -> scores (b,), in the order of ``columns``."""
        return {metric.name: metric(x_hat, x) for metric in self.metrics}


def _told(weights: Found | Absent | None) -> dict[str, Any]:
    if isinstance(weights, Found):
        return {"weights": weights.path.name, "sha256": weights.sha256}
    return {"weights": None, "why": weights.said if weights else "not looked for"}


def unit_pair(x_hat: Tensor, x: Tensor, *, min_side: int = 1, channels: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """Both images on [0, 1] in float64.

    Args:
        x_hat: restored images in [-1, 1], (b, c, h, w).
        x: reference images, likewise.
        min_side: the least height and width the metric is defined for.
        channels: the channel counts the metric is defined for; empty for any.

    Raises:
        ValueError: as ``ImageMetric.__call__`` states.
    """
    if x_hat.ndim != 4 or x_hat.shape != x.shape:
        raise ValueError(
            f"x_hat and x: got shapes {tuple(x_hat.shape)} and {tuple(x.shape)}, expected one shape (b, c, h, w). "
            "Score a restoration against the reference it was made from."
        )
    if min(x.shape[-2:]) < min_side:
        raise ValueError(
            f"image size: got {x.shape[-2]} x {x.shape[-1]}, expected at least {min_side} x {min_side} for this "
            "metric. Use larger images or leave the metric out of the suite."
        )
    if channels and x.shape[1] not in channels:
        raise ValueError(
            f"channels: got {x.shape[1]}, expected one of {channels} for this metric. "
            "Leave the metric out of the suite."
        )
    return _unit(x_hat, "x_hat"), _unit(x, "x")


def _unit(image: Tensor, label: str) -> Tensor:
    inside = ((image >= -1) & (image <= 1)).flatten(1).all(1)  # a NaN compares false, so it is not inside either
    if not bool(inside.all()):
        wrong = (~inside).nonzero().flatten().tolist()
        first = image[wrong[0]]
        found = "NaN" if bool(first.isnan().any()) else f"values from {first.min():.4g} to {first.max():.4g}"
        raise ValueError(
            f"{label}: image {wrong[0]} of the batch holds {found} (bad images: {wrong}), expected numbers in [-1, 1]. "
            "Pass images through the pixel codec, and record a restoration that diverged as failed."
        )
    # contiguous: sums follow the layout in memory, and the same picture must score the same in any
    return (image.to(torch.float64).contiguous() + 1) / 2
