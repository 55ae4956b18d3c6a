"""What the tables know by name: the order of samplers, tasks and metrics, and how each metric is to be read.

A name that is not listed still gets its row or column, after those that are, in alphabetical order.
"""

import math
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from safari_bench.ledger import COST
from safari_bench.reports.registered import order

__all__ = ["FACTS", "HEADLINE", "MEASUREMENT", "METRICS", "NOTHING", "SAMPLERS", "TASKS", "Metric", "best_of"]
__all__ += ["headline", "metric", "rank"]

#: stands where there is no number and no picture.
NOTHING = "\N{EN DASH}"

#: the baseline that restores nothing: its pictures are the measurements.
MEASUREMENT = "degraded"
SAMPLERS = order()
TASKS: tuple[str, ...] = ("denoising", "inpaint_box", "inpaint_random", "sr_x4", "sr_avgpool_x4")
TASKS += (
    "deblur_gaussian",
    "deblur_uniform",
    "deblur_aniso",
    "deblur_motion",
    "colorization",
    "cs_walsh",
    "phase_retrieval",
    "hdr",
)

#: columns of a row that hold a property of the method, not a score: what to say where it is 0.
FACTS = {"psi_injective": "psi is not injective: it does not see every change of the measurement"}


#: scores that the overview of all tasks can show: one of distortion, then those of perception, the first choice first.
HEADLINE = ("psnr", "lpips_vgg", "deep_distance", "haarpsi")

_Number = TypeVar("_Number", float, np.ndarray)


@dataclass(frozen=True)
class Metric:
    """How a column is read.

    Args:
        name: the column of a row.
        title: what the head of the table calls it.
        best: "high", "low", a number that values should be near, or None where nothing is best.
        digits: how many are shown after the decimal point.
        interval: whether the table has room for its confidence interval; table1.csv has them all.
        meaning: one line for the legend, unit included.
        learned: whether it needs weights that may be absent.
        of_set: whether it is a number of all pictures together, of which the table then says how many they were.
    """

    name: str
    title: str
    best: str | float | None
    digits: int
    interval: bool
    meaning: str
    learned: bool = False
    of_set: bool = False

    @property
    def heading(self) -> str:
        """The title with the direction that is better."""
        arrow = {"high": " ↑", "low": " ↓", None: ""}
        text = self.title + (arrow[self.best] if isinstance(self.best, str | None) else f" →{self.best:g}")
        return f"{text} (N)" if self.of_set else text

    def text(self, value: float) -> str:
        """A value as it stands in a table, without -0; ∞ is the PSNR of equal images."""
        return f"{value:z.{self.digits}f}".replace("inf", "∞")

    def loss(self, value: _Number) -> _Number:
        """How far from best, in some unit; smaller is better. NaN where nothing is best."""
        if self.best is None:
            return value * math.nan
        if isinstance(self.best, str):
            return -value if self.best == "high" else value
        return abs(value - self.best)


#: what `best_of` makes
_BEST_OF = re.compile(r"(.+)_best_of_(\d+)")
_SET = "{}, restorations as a set against their references; in brackets how many"
_LPIPS = "learned perceptual distance ({}), 0 for equal images"
_DEEP = "{}, 0 for equal images; ours, not LPIPS"
_DEEP_SET = _SET.format("{} distance of EfficientNet-Lite0 features") + "; ours, not FID or KID"
_SPECTRUM = "power spectrum, {} of Nyquist: dB of power too much (positive) or too little (negative)"
_PHASE = "phase coherence with the reference, {} of Nyquist: 1 for detail in place, 0 for unrelated detail"
_ALL = (
    Metric("psnr", "PSNR", "high", 2, True, "peak signal-to-noise ratio in dB"),
    Metric("ssim", "SSIM", "high", 3, True, "structural similarity, at most 1"),
    Metric("haarpsi", "HaarPSI", "high", 3, True, "Haar wavelet perceptual similarity, 0 to 1"),
    Metric("gmsd", "GMSD", "low", 3, True, "gradient magnitude similarity deviation, 0 for equal images"),
    Metric("saturated", "saturated", "low", 3, False, "share of values that are black or white and should not be"),
    Metric("lpips", "LPIPS", "low", 3, True, _LPIPS.format("LPIPS")),
    Metric("lpips_vgg", "LPIPS VGG", "low", 3, True, _LPIPS.format("LPIPS, VGG features"), learned=True),
    Metric("lpips_alex", "LPIPS Alex", "low", 3, True, _LPIPS.format("LPIPS, AlexNet features"), learned=True),
    Metric("deep_distance", "deep dist.", "low", 3, True, _DEEP.format("distance of EfficientNet-Lite0 features")),
    Metric("fid", "FID", "low", 2, False, _SET.format("Fréchet inception distance"), learned=True, of_set=True),
    Metric("kid", "KID", "low", 4, False, _SET.format("kernel inception distance"), learned=True, of_set=True),
    Metric("deep_frechet", "deep Fréchet", "low", 3, False, _DEEP_SET.format("Fréchet"), of_set=True),
    Metric("deep_kernel", "deep kernel", "low", 5, False, _DEEP_SET.format("kernel"), of_set=True),
    Metric(
        "data_consistency", "DC", 1.0, 2, False, "||y - A x_hat|| / (sigma_y sqrt(m)); 1 if the residual is like noise"
    ),
    Metric("spectrum_low", "low dB", 0.0, 1, False, _SPECTRUM.format("up to 1/4")),
    Metric("spectrum_mid", "mid dB", 0.0, 1, False, _SPECTRUM.format("1/4 to 1/2")),
    Metric("spectrum_high", "high dB", 0.0, 1, False, _SPECTRUM.format("1/2 to 1")),
    Metric("phase_mid", "mid phase", "high", 2, False, _PHASE.format("1/4 to 1/2")),
    Metric("phase_high", "high phase", "high", 2, False, _PHASE.format("1/2 to 1")),
    Metric("nfe", "NFE", None, 0, False, "calls of the prior per image"),
    Metric("n_backward", "backward", None, 0, False, "backward passes per image"),
    Metric("seconds", "s", None, 2, False, "seconds per image: the batch's time divided by its size"),
    Metric("peak_mem_mb", "MiB", None, 0, False, "peak memory while a batch was restored"),
)
METRICS = {m.name: m for m in _ALL}


def metric(name: str) -> Metric:
    """What is known of a column; an unknown one has no direction."""
    found = _BEST_OF.fullmatch(name)
    if found and found[1] in METRICS:
        of, k = METRICS[found[1]], found[2]
        said = f"best of {k} seeds per image, chosen with the reference: not an estimate, so never marked or ranked"
        # without a direction nothing is best: neither marks nor tests nor ranks see the column
        return replace(of, name=name, title=f"{of.title} best of {k}", best=None, meaning=f"{of.title}, {said}")
    return METRICS.get(name) or Metric(name, name, None, 3, False, "not known to the tables")


def headline(known: Container[str]) -> tuple[str, ...]:
    """PSNR and the first perceptual score of `HEADLINE`, of the columns that hold numbers; at most two."""
    distortion, *perception = HEADLINE
    return tuple([name for name in (distortion,) if name in known] + [name for name in perception if name in known][:1])


def best_of(name: str, k: int) -> str:
    """The column of a score's best of k seeds."""
    return f"{name}_best_of_{k}"


def rank(name: str, known: Sequence[str]) -> tuple[int, str]:
    """Sort key: names that are known in their order, then the others alphabetically, and costs last of all."""
    if name in COST:
        return len(known) + 1 + COST.index(name), name
    return known.index(name) if name in known else len(known), name
