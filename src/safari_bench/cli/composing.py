"""One configuration from words of the command line. Nothing is run."""

from collections.abc import Sequence

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli.conf import groups, options
from safari_bench.cli.schema import register, root
from safari_bench.errors import ConfigError

__all__ = ["composed", "refuse_values"]

_MOST_JOBS = 100_000


def composed(words: Sequence[str], *, whole: bool = False) -> DictConfig:
    """The configuration that words make of conf/.

    Args:
        whole: with Hydra's own node.

    Raises:
        HydraException, OmegaConfBaseException: they make none, as Hydra says it.
        ConfigError: they make none for a reason that Hydra has no words for.
    """
    register()
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
            return hydra.compose("config", overrides=list(words), return_hydra_config=whole)
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:  # Hydra trips over a value that has the wrong shape: every cause is among the words
        said = " ".join(words)
        raise ConfigError(f"{said}: no configuration ({type(error).__name__}: {error}); look at its values") from error


def refuse_values(words: Sequence[str]) -> None:
    """Refuse numbers, mappings and the like where an option is chosen by its name, and sweeps without end.

    Raises:
        HydraException: a word is no override.
        ConfigError: a group is given something else than names of options, or the words make too many jobs.
    """
    names, jobs = (*groups(), "experiments"), 1
    for override in OverridesParser.create().parse_overrides([word for word in words if "=" in word]):
        group = override.key_or_group
        if isinstance(sweep := override.value(), RangeSweep):
            jobs *= max(1, int(((sweep.stop or 0) - (sweep.start or 0)) / sweep.step)) if sweep.step else _MOST_JOBS + 1
        elif override.is_discrete_sweep() and not isinstance(sweep, Glob):
            jobs *= max(1, len(list(override.sweep_string_iterator())))
        if jobs > _MOST_JOBS:
            raise ConfigError(f"{override.input_line}: more than {_MOST_JOBS} jobs; sweep over fewer values")
        if group not in names or override.is_delete() or override.is_sweep_override():
            continue
        value = override.value()
        if (
            value is None
            or isinstance(value, str)
            or (isinstance(value, list) and all(isinstance(v, str) for v in value))
        ):
            continue
        raise ConfigError(f"{group}: got {value!r}, expected one of {', '.join(options(group))}")
