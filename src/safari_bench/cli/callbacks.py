"""What happens around a sweep."""

import sys
from math import prod
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

__all__ = ["TableAfterSweep"]


class TableAfterSweep(Callback):
    """Counts the jobs of a sweep before it starts; writes and prints the tables of its run folder at its end."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        from safari_bench.cli import sweeps
        from safari_bench.cli.compose import loggers_of

        try:
            loggers_of(config)
        except Exception as error:  # whatever it is, it would meet every job
            raise sweeps.Refused(str(error)) from error
        sweeps.begin(Path(config.output) / config.name, _jobs(config))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from safari_bench.cli.main import finish_sweep

        finish_sweep(config)


def _jobs(config: DictConfig) -> int:
    if "n_trials" in config.hydra.sweeper:  # a sweeper that draws settings says how many
        return int(config.hydra.sweeper.n_trials)
    # The command line wins over the grid an overlay brings.
    grid = {key: f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()}
    grid |= {text.split("=", 1)[0]: text for text in sys.argv[1:] if "=" in text}
    overrides = OverridesParser.create().parse_overrides(list(grid.values()))
    return prod(len(list(o.sweep_string_iterator())) for o in overrides if o.is_sweep_override())
