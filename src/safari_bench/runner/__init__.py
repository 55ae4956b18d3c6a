"""Runs one cell, and knows contracts only: it never names a sampler, a task or a prior."""

from safari_bench.runner.cell import run_cell
from safari_bench.runner.job import Job, Noise, Outcome, Task
from safari_bench.runner.scoring import Rescored, rescore

__all__ = ["Job", "Noise", "Outcome", "Rescored", "Task", "rescore", "run_cell"]
