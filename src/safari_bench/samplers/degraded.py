"""Degraded: the measurement itself as a picture (bicubic upsampling, pseudo-inverse or y), so that a reader sees what a
method added. No prior is called."""

from dataclasses import dataclass
from typing import ClassVar

from safari_bench.diffusion import Denoiser
from safari_bench.operators.contract import Operator
from safari_bench.rng import Streams
from safari_bench.samplers.contract import Progress
from safari_bench.shapes import Image, Measurement

__all__ = ["Degraded"]


@dataclass(frozen=True, kw_only=True)
class Degraded:
    """The operator's baseline picture of y."""

    requires: ClassVar[type] = Operator
    uses_prior: ClassVar[bool] = False

    def check(self, operator: Operator) -> None:
        """Whether y has a picture is found out by asking for it."""

    def facts(self) -> dict[str, bool]:
        return {}

    def restore(
        self,
        y: Measurement,
        operator: Operator,
        sigma_y: float,
        denoiser: Denoiser,
        streams: Streams,
        progress: Progress,
    ) -> Image:
        return operator.baseline(y)
