"""What the exact study computes: sections of tasks, tasks of methods, and how a method's free value is chosen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from safari_bench.exact.trial import Trial
from safari_bench.samplers import Sampler
from safari_bench.shapes import Image

__all__ = ["Method", "Section", "Task", "Truth", "Tuning"]


@runtime_checkable
class Truth(Protocol):
    """What is known of one trial; see `GaussianTruth` and `MixtureTruth`."""

    #: whether draws come in mirrored pairs
    mirrored: bool

    def draws(self, samples: int) -> Image:
        """Exact draws from the posterior."""
        ...

    def score(self, x_hat: Image) -> dict[str, float | str]:
        """Scores of a sampler's draws."""
        ...


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A value chosen on another draw of x and y than the one reported.

    Args:
        parameter: of the sampler.
        values: what is tried.
        up_to: most steps it is tried at; with more steps N the choice is scaled by (up_to / N)^exponent.
    """

    parameter: str
    values: tuple[float, ...]
    up_to: int = 100
    exponent: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Method:
    """One line of a plot.

    Args:
        name: as it is shown.
        settings: the sampler's own, for the key of its rows.
        build: (settings that differ) -> the sampler.
        steps: what `steps` is set to, one point each.
    """

    name: str
    settings: Mapping[str, Any]
    build: Callable[[Mapping[str, Any]], Sampler]
    steps: tuple[int, ...]
    tuning: Tuning | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One degradation and what is run on it.

    Args:
        trial: name of the image -> what is measured.
    """

    name: str
    settings: Mapping[str, Any]
    trial: Callable[[str], Trial]
    methods: Sequence[Method]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Tasks that share a prior and an image size.

    Args:
        name: e.g. "gaussian-64".
        settings: what enters every key besides the task's and the method's.
        truth: trial -> its scores.
        criterion: the score that values are tuned by: the least is the best.
        samples: draws per point.
        tuning_samples: draws per value and image that is tried.
        tuning_images: draws of x and y that values are tried on; the worst counts.
        order: names of methods as they are listed; what is not named comes last.
    """

    name: str
    settings: Mapping[str, Any]
    truth: Callable[[Trial], Truth]
    criterion: str
    samples: int
    tuning_samples: int
    tuning_images: int
    tasks: Sequence[Task]
    order: Sequence[str] = ()

    @property
    def mixture(self) -> bool:
        """Whether draws are compared with exact draws and modes counted, not moments."""
        return self.criterion == "sliced_w"
