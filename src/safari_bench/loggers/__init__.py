"""Where rows go besides the run folder, while a cell is computed. The rows on disk stay the only truth."""

from safari_bench.loggers.contract import LoggerError, running
from safari_bench.loggers.tensorboard_events import TensorBoard
from safari_bench.loggers.wandb_runs import WeightsAndBiases

__all__ = ["LoggerError", "TensorBoard", "WeightsAndBiases", "running"]
