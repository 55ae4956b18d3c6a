"""What happens around a sweep."""

import sys
from math import prod
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from safari_bench.cli.sweeps import grid

__all__ = ["TableAfterSweep"]


class TableAfterSweep(Callback):
    """Counts the cells of a sweep before it starts; writes and prints the tables of its run folder at its end."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        from safari_bench.cli.main import SWEEP

        overrides = grid(config.hydra.sweeper.params, sys.argv[1:])
        SWEEP.total = prod(len(list(o.sweep_string_iterator())) for o in overrides if o.is_sweep_override())

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from safari_bench.cli.main import finish_sweep

        finish_sweep(config)
