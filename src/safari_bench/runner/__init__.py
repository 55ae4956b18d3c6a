"""Runs one cell, and knows contracts only: it never names a sampler, a task or a prior."""

from safari_bench.runner.cell import run_cell
from safari_bench.runner.job import Job, Logger, Noise, Outcome, Task

__all__ = ["Job", "Logger", "Noise", "Outcome", "Task", "run_cell"]
