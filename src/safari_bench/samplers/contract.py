"""What every method is, as far as the runner is concerned."""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Protocol, runtime_checkable

from safari_bench.diffusion import Denoiser
from safari_bench.operators.contract import Operator
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement

__all__ = ["Pairs", "Progress", "Sampler"]

#: the (t, s) of a run
Pairs = Iterable[tuple[int, int]]
#: wraps the steps of a loop, to show how far it is
Progress = Callable[[Pairs], Pairs]


@runtime_checkable
class Sampler(Protocol):
    """One method. The ground truth is nowhere in sight."""

    #: the least an operator must be for this method
    requires: ClassVar[type]
    #: False if `denoiser` is never called: the rows then say no prior, and are the same under every prior
    uses_prior: ClassVar[bool]

    def check(self, operator: Operator) -> None:
        """Raise Unsupported, with the reason, if this method cannot restore from this operator."""
        ...

    def facts(self) -> Mapping[str, bool]:
        """Columns that every row of this method carries, beside its name."""
        ...

    def restore(
        self,
        y: Measurement,
        operator: Operator,
        sigma_y: float,
        denoiser: Denoiser,
        streams: Streams,
        progress: Progress,
    ) -> Image:
        """Restore a batch. Every norm, step size and random draw is per image.

        Args:
            y: measurements A x + n of images in [-1, 1], (b, *m).
            sigma_y: standard deviation of n on the [-1, 1] scale.
        Returns:
            images, (b, c, h, w), about [-1, 1], not clipped.
        """
        ...
