"""safari_bench: a benchmark suite for zero-shot image restoration with diffusion priors.

As a library: `load_prior`, `restore`, `read_results` and `operators`, which are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safari_bench import operators
    from safari_bench.cli.library import Result, load_prior, read_results, restore

__all__ = ["NUMBERS", "Result", "__version__", "load_prior", "operators", "read_results", "restore"]

__version__ = "0.2.0"

#: Bumped by every commit that moves a result (see "Numbers changed" in CHANGELOG.md). It enters the run id, so that
#: cells computed by older code are not taken for today's.
NUMBERS = 3


def __getattr__(name: str) -> Any:
    if name == "operators":
        return import_module("safari_bench.operators")
    if name in __all__:
        return getattr(import_module("safari_bench.cli.library"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
