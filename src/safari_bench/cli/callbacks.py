"""What happens around a sweep."""

import sys
from math import prod
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from safari_bench.cli.grids import grid

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
    overrides = grid(config.hydra.sweeper.params, sys.argv[1:])
    return prod(len(list(o.sweep_string_iterator())) for o in overrides if o.is_sweep_override())
