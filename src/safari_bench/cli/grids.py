"""The configurations that a sweep is made of, composed in this process and without running any."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from safari_bench.cli.composing import composed, refuse_values

__all__ = ["configurations", "count", "grid"]


def grid(params: Mapping[str, Any] | None, words: Sequence[str]) -> list[Override]:
    """Every override of a sweep: the grid an overlay brings, over which the command line wins."""
    found = {str(key): f"{key}={value}" for key, value in (params or {}).items()}
    found |= {word.split("=", 1)[0]: word for word in words if "=" in word}
    return OverridesParser.create().parse_overrides(list(found.values()))


def count(sweeper: DictConfig, words: Sequence[str]) -> int:
    """How many jobs a sweep has: of a sweeper that draws settings, as many as it says."""
    if "n_trials" in sweeper:
        return int(sweeper.n_trials)
    overrides = grid(sweeper.params, words)
    return prod(len(list(o.sweep_string_iterator())) for o in overrides if o.is_sweep_override())


def configurations(words: Sequence[str]) -> Iterator[DictConfig]:
    """One configuration per combination of what words and their overlay sweep over; one if they sweep over nothing.

    Raises:
        HydraException: a word makes no configuration.
    """
    refuse_values(words)
    deleted = [word for word in words if "=" not in word]
    fixed = [word for word in words if not any(o.is_sweep_override() for o in grid(None, [word]))]
    params = composed(fixed, whole=True).hydra.sweeper.params
    axes = [
        [f"{str(o.input_line).split('=', 1)[0]}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [str(o.input_line)]
        for o in grid(params, words)
    ]
    for combination in product(*axes):
        yield composed([*combination, *deleted])
