"""What experiments/exact.yaml may say, and how it is read."""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from beartype.door import is_bearable
from omegaconf import MISSING, OmegaConf
from yaml import YAMLError

from safari_bench.cli.schema import ConfigError, root, unknown_key
from safari_bench.ranges import Range, hints_of

__all__ = ["BoundConfig", "ExactConfig", "MethodConfig", "OrdersConfig", "SectionConfig", "TuneConfig", "load"]


@dataclass
class TuneConfig:
    """See `exact.plan.Tuning`."""

    parameter: str = MISSING
    values: list[float] = MISSING
    up_to: int = 100
    exponent: float = 0.0
    with_size: bool = False


@dataclass
class MethodConfig:
    """A sampler of conf/sampler, what is set differently, and where it runs: no task named is all.

    One step makes so many `calls` of the prior; max_steps counts calls.
    """

    sampler: str = MISSING
    guidance: str = "full"
    set: dict[str, Any] = field(default_factory=dict)
    steps: list[int] = MISSING
    calls: int = 1
    tasks: list[str] = field(default_factory=list)
    tune: TuneConfig | None = None


@dataclass
class SectionConfig:
    """One prior at one size; no method named is all, no task named is none.

    Args:
        label: what its rows are called besides these, where another section has the same tasks.
        sigma_y: null is the study's.
        operators: by task, what its operator has differently; with `task`, a task of conf/task under another name.
    """

    size: int = MISSING
    label: str = ""
    sigma_y: float | None = None
    tasks: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    operators: dict[str, dict[str, Any]] = field(default_factory=dict)
    max_steps: int = 1000
    samples: int = 16
    tuning_samples: int = 4
    tuning_images: int = 2
    pixels: int | None = None
    exact_draws: int = 16


@dataclass
class BoundConfig:
    """See `exact.bound.psi_bound` and `exact.psi_target.psi_target`; no task named is none.

    Args:
        gammas: scales of the likelihood that the bound is evaluated at; null is sigma_y.
    """

    size: int = 16
    tasks: list[str] = field(default_factory=list)
    guidance: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    draws: int = 16
    gammas: list[float | None] = field(default_factory=lambda: [None])


@dataclass
class OrdersConfig:
    """See `exact.convergence.orders`; no steps named is none."""

    steps: list[int] = field(default_factory=list)
    sigma_y: float = 0.5


@dataclass
class ExactConfig:
    """The root of experiments/exact.yaml.

    Args:
        study: a name of `studies`, whose values take the place of the file's; what is typed takes the place of both.
    """

    name: str = "exact"
    output: str = "results"
    seed: int = 0
    sigma_y: float = 0.05
    max_steps: int = 1000
    processes: int = 1
    compute: bool = True
    device: str = "cpu"
    study: str = ""
    studies: dict[str, Any] = field(default_factory=dict)
    gaussian: SectionConfig = field(default_factory=SectionConfig)
    other: SectionConfig = field(default_factory=SectionConfig)
    large: SectionConfig = field(default_factory=SectionConfig)
    small_mixture: SectionConfig = field(default_factory=SectionConfig)
    mixture: SectionConfig = field(default_factory=SectionConfig)
    ambiguous: SectionConfig = field(default_factory=SectionConfig)
    bound: BoundConfig = field(default_factory=BoundConfig)
    orders: OrdersConfig = field(default_factory=OrdersConfig)
    methods: dict[str, MethodConfig] = field(default_factory=dict)

    def sections(self) -> list[SectionConfig]:
        """In the order of the pages: the Gaussian prior's, then the mixtures'."""
        return [self.gaussian, self.other, self.large, self.small_mixture, self.mixture, self.ambiguous]


def load(arguments: Sequence[str] = ()) -> ExactConfig:
    """experiments/exact.yaml with what the command line says differently, checked against the schema.

    Raises:
        ConfigError: an argument is not key=value, or a method that a section names or the study does not exist.
    """
    bare = [word for word in arguments if "=" not in word]
    if bare:
        raise ConfigError(f"safari-bench exact takes key=value, got {bare[0]}; e.g. max_steps=30")
    base = OmegaConf.merge(OmegaConf.structured(ExactConfig), OmegaConf.load(root() / "experiments" / "exact.yaml"))
    try:
        typed = OmegaConf.from_dotlist(list(arguments))
    except YAMLError as error:
        raise ConfigError(f"{' '.join(arguments)}: a value is not YAML ({' '.join(str(error).split())})") from error
    wanted: Any = OmegaConf.merge(base, typed)
    if wanted.study and wanted.study not in wanted.studies:
        raise ConfigError(unknown_key(f"studies.{wanted.study}", list(wanted.studies)))
    differing = wanted.studies[wanted.study] if wanted.study else {}
    config: Any = OmegaConf.to_object(OmegaConf.merge(base, differing, typed))
    _refuse_outside(config, "")
    for section in config.sections():
        for name in section.methods:
            if name not in config.methods:
                raise ConfigError(unknown_key(f"methods.{name}", config.methods))
    return config  # type: ignore[no-any-return]


_COUNT = Range(1, 100_000)
#: what numbers of these names may be, also in lists; a number of another name must be finite
_RANGES = {
    **dict.fromkeys(
        ("samples", "tuning_samples", "tuning_images", "exact_draws", "draws", "steps", "max_steps"), _COUNT
    ),
    **dict.fromkeys(("calls", "up_to", "pixels"), _COUNT),
    "size": Range(8, 1024),
    "processes": Range(1, 1000),
    "times": Range(0, 999),
    "sigma_y": Range(0, 100),
    "gammas": Range(0, 100, above=True),
    "seed": Range(0, 2**63),
}


def _refuse_outside(node: Any, path: str) -> None:
    """Raise ConfigError for a number outside its range, anywhere in the study."""
    if is_dataclass(node):
        hints = hints_of(type(node))
        for item in fields(node):
            if item.name == "size" and not getattr(node, "tasks", True):
                continue  # a section without tasks has none
            value, where = getattr(node, item.name), f"{path}.{item.name}".lstrip(".")
            if not is_bearable(value, hints[item.name]):
                raise ConfigError(f"{where}: got {value!r}, expected {inspect.formatannotation(hints[item.name])}")
            if value == [] and item.name in ("values", "times", "gammas") and getattr(node, "tasks", True):
                raise ConfigError(f"{where}: got an empty list, expected at least one number")
            _refuse_outside(value, where)
    elif isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            _refuse_outside(value, f"{path}.{key}")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        name = next(part for part in reversed(path.split(".")) if not part.isdigit())
        if node not in (allowed := _RANGES.get(name, Range(-math.inf, math.inf))):
            raise ConfigError(f"{path}: got {node}, expected {allowed}")
