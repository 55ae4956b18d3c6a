"""The recipe behind the prior that ships: data mixture, v-prediction loss, loop, checkpoints."""

from safari_bench.training.mixture import Batch, Mixture
from safari_bench.training.recipe import Recipe, TrainingError, train

__all__ = ["Batch", "Mixture", "Recipe", "TrainingError", "train"]
