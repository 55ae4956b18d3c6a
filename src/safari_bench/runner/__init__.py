"""Runs one cell, and knows contracts only: it never names a sampler, a task or a prior."""

from safari_bench.runner.capacity import fitting, out_of_memory
from safari_bench.runner.cell import run_cell
from safari_bench.runner.forecast import Forecast, Timing, calls, forecast, time_calls, truth
from safari_bench.runner.job import Job, Logger, Noise, Outcome, Task
from safari_bench.runner.restoring import Build, Restoration, Restored
from safari_bench.runner.scoring import Rescored, rescore

__all__ = ["Build", "Forecast", "Job", "Logger", "Noise", "Outcome", "Rescored", "Restoration", "Restored"]
__all__ += ["Task", "Timing"]
__all__ += ["calls", "fitting", "forecast", "out_of_memory", "rescore", "run_cell", "time_calls", "truth"]
