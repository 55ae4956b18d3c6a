"""A look at everything that a command line chooses, before Hydra calls any of it."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli import allow, grids, overrides
from safari_bench.cli.composing import composed, refuse_values
from safari_bench.cli.conf import groups, options
from safari_bench.errors import ConfigError

__all__ = ["examined"]


def examined(words: Sequence[str]) -> DictConfig:
    """The configuration of the first job, after a look at every choice of a group that is swept over.

    Raises:
        HydraException, OmegaConfBaseException: words make no configuration.
        ConfigError: Hydra would call something that is not allowed.
    """
    refuse_values(words)
    found, first = list[DictConfig](), next(overrides.choices(words))
    for job in chain(overrides.choices(words), _chosen_by_files(first, found)):
        cfg = composed(job, whole=True)
        called = {key: _resolved(cfg.hydra[key], f"hydra.{key}") for key in ("callbacks", "launcher", "sweeper")}
        allow.refuse_foreign_plugins({**_raw(cfg.hydra), **called}, _shipped(), words)
        allow.refuse_foreign({key: value for key, value in _plain(cfg).items() if key != "hydra"})
        found.append(cfg)
    return found[0]


@cache
def _shipped() -> dict[str, Any]:
    """Hydra's node of a configuration that nobody changed."""
    return _raw(composed([], whole=True).hydra)


def _chosen_by_files(first: Sequence[str], found: Sequence[DictConfig]) -> Iterator[list[str]]:
    """One job for every option that an overlay sweeps over and that does not ship with the suite.

    Args:
        first: the overrides of the first job.
        found: its configuration, once it is composed.
    """
    params = found[0].hydra.sweeper.params
    for override in grids.grid(params, []) if params else []:
        group = override.key_or_group
        shipped = options(group) if group in (*groups(), "experiments") else []
        if "." not in group and isinstance(override.value(), str | ChoiceSweep):
            values = override.sweep_string_iterator() if override.is_sweep_override() else [str(override.value())]
            yield from ([*first, f"{group}={value}"] for value in values if value not in shipped)


def _raw(node: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(node, resolve=False)
    return dict(plain)


def _resolved(node: Any, path: str) -> Any:
    """What a node is when Hydra reads it.

    Raises:
        ConfigError: it refers to what is known later only, so that it cannot be looked at.
    """
    try:
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}; expected plain values") from error


def _plain(node: Any) -> Any:
    """Resolved where that is possible: what Hydra fills in later is no `_target_`."""
    if not OmegaConf.is_config(node):
        return node
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException:
        return OmegaConf.to_container(node, resolve=False, throw_on_missing=False)
