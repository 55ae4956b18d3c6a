"""A sweep's command line, in Hydra's grammar of overrides."""

from collections.abc import Iterator, Sequence
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

__all__ = ["bind", "choices", "jobs"]


def bind(words: Sequence[str]) -> list[str]:
    """Let a value wait for the group it is of.

    In `sampler=ddrm,ddnm sampler.eta=0.85` Hydra would first set eta on the sampler of the primary config, which is
    neither of the two and has none. As a sweep over one value it is set in each job, after the job's sampler.
    """
    try:
        parsed = {word: override for word, override in _parsed(words)}
    except HydraException:
        return list(words)  # Hydra says what is wrong with it
    groups = {o.key_or_group for o in parsed.values() if o.is_sweep_override() and "." not in o.key_or_group}
    return [_spread(word, parsed[word], groups) if word in parsed else word for word in words]


def _spread(word: str, override: Override, groups: set[str]) -> str:
    group, dot, _ = override.key_or_group.partition(".")
    value = word.partition("=")[2]
    if not (dot and value and group in groups) or override.is_sweep_override() or override.is_delete():
        return word
    return f"{override.get_key_element()}=choice({value})"


def choices(words: Sequence[str]) -> Iterator[list[str]]:
    """The overrides of jobs of a sweep in which every option of a group that is swept over is chosen once.

    The first job, then for each further option one that differs from the first in this option alone.
    """
    parser, first, others = OverridesParser.create(), [], []
    for word in words:
        override = parser.parse_override(word)
        if not override.is_sweep_override():
            first.append(word)
        elif override.is_discrete_sweep() and not isinstance(override.value(), Glob):
            key = override.get_key_element()
            here, *rest = [f"{key}={value}" for value in override.sweep_string_iterator()]
            if "." not in override.key_or_group:
                others += [(len(first), value) for value in rest]
            first.append(here)
    yield first
    for place, value in others:
        yield [*first[:place], value, *first[place + 1 :]]


def jobs(words: Sequence[str]) -> Iterator[list[str]]:
    """The overrides of every job of a sweep, in Hydra's order; of the one job, where nothing is swept."""
    choices = []
    for _, override in _parsed(words):
        discrete = override.is_discrete_sweep()
        key, values = override.get_key_element(), override.sweep_string_iterator() if discrete else ()
        choices.append([f"{key}={value}" for value in values] if discrete else [str(override.input_line)])
    return map(list, product(*choices))


def _parsed(words: Sequence[str]) -> list[tuple[str, Override]]:
    parser = OverridesParser.create()
    return [(word, parser.parse_override(word)) for word in words if "=" in word and not word.startswith("-")]
