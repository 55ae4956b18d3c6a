"""The command line: the composition root, and the only place that knows Hydra."""

from safari_bench.cli.main import main

__all__ = ["main"]
