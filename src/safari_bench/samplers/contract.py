"""What a sampler is given, and what it must do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, get_args

from safari_bench.diffusion import Denoiser, Schedule, Spacing
from safari_bench.operators.contract import Operator, Unsupported
from safari_bench.ranges import expect
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement

__all__ = ["Pairs", "Problem", "Progress", "Sampler"]

#: the (t, s) of a run
Pairs = Iterable[tuple[int, int]]
#: wraps the steps of a loop, to show how far it is
Progress = Callable[[Pairs], Pairs]

_Required = TypeVar("_Required", bound=Operator, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Problem(Generic[_Required]):
    """A batch to restore. It does not hold the clean images.

    Args:
        y: measurements A x + n of images in [-1, 1], (b, *m).
        operator: A, for this batch.
        sigma_y: standard deviation of n on the [-1, 1] scale.
        streams: random numbers, one stream per image.
    """

    y: Measurement
    operator: _Required
    sigma_y: float
    streams: Streams


class Sampler(ABC):
    """One restoration method. A subclass writes `restore`; all else has a default.

    Raises:
        ValueError: a setting is outside the range that its type states, see `ranges`.
    """

    #: the least an operator must be for this sampler: Operator, LinearOperator or SVDOperator
    requires: ClassVar[type] = Operator
    #: False if `restore` never calls the denoiser; rows then name no prior
    uses_prior: ClassVar[bool] = True

    def __post_init__(self) -> None:
        expect(self)

    @abstractmethod
    def restore(self, problem: Problem[Any], denoiser: Denoiser, progress: Progress) -> Image:
        """Restore a batch. Every norm, step size and random draw is per image.

        Args:
            progress: wraps the list of (t, s) that the loop goes through.
        Returns:
            images, (b, c, h, w), about [-1, 1], not clipped.
        """

    def admit(self, operator: Operator) -> None:
        """Raise Unsupported, with the reason, if this sampler cannot work with the operator."""
        if not isinstance(operator, self.requires):
            raise Unsupported(
                f"{type(self).__name__} needs a {self.requires.__name__}; {type(operator).__name__} is not one"
            )
        self.check(operator)

    def check(self, operator: Operator) -> None:  # noqa: B027 (an empty default)
        """The sampler's own condition on an operator of the required type. Raise Unsupported with the reason."""

    def fits(self, schedule: Schedule) -> None:
        """Raise ValueError if a prior's schedule has no time grid of so many steps."""
        steps: Any = getattr(self, "steps", None)
        spacing: Any = getattr(self, "spacing", None)
        if steps is not None and spacing in get_args(Spacing):
            schedule.pairs(steps, spacing)

    def facts(self) -> Mapping[str, bool]:
        """Columns that every row of this sampler carries, beside its name."""
        return {}
