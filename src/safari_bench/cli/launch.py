"""Hydra called for a verb: what a command may not do is refused first, and how it ends becomes an exit code."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli import grids, overrides, sweeps
from safari_bench.cli.compose import loggers_of
from safari_bench.cli.composing import refuse_values
from safari_bench.cli.examining import examined
from safari_bench.cli.progress import shown
from safari_bench.cli.running import FAILED, run
from safari_bench.cli.schema import check_name, root
from safari_bench.cli.tables import kept_when_interrupted, tabulate
from safari_bench.cli.words import wide
from safari_bench.errors import ConfigError, SafariBenchError

__all__ = ["launch"]

_ALONE = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def launch(args: Namespace, function: Callable[[DictConfig], Any] = run) -> int:
    """Compose the configuration that a verb's arguments ask for, and hand it to a function, once per job.

    Returns:
        the exit code.

    Raises:
        SafariBenchError: the configuration cannot be composed, or is refused; of a single job, also what it raised.
    """
    FAILED.clear()
    with wide(args) as words:
        if _shows(args):
            refuse_values(words)
            if args.multirun:
                raise ConfigError("--cfg and --info show one configuration; leave out -m")
            _hydra([*_flags(args), *words], function)
            return 0
        if args.multirun:
            words = overrides.bind(words)
        cfg = examined(words)
        if args.multirun or cfg.hydra.mode is RunMode.MULTIRUN:
            return _sweep(["--multirun", *words], cfg, function)
        _one(words, function)
        return int(any(FAILED))


def _shows(args: Namespace) -> bool:
    return bool(args.cfg or args.info)


def _flags(args: Namespace) -> list[str]:
    """Those that show a configuration instead of running it."""
    named = [("--cfg", args.cfg), ("--package", args.package), ("--info", args.info)]
    found = [f"{flag}={value}" for flag, value in named if value]
    return found + ["--resolve"] * args.resolve


def _hydra(words: Sequence[str], function: Callable[[DictConfig], Any]) -> None:
    sys.argv = ["safari-bench", *words]
    # Hydra would print its own traceback and exit; with this it hands the exception over.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    hydra.main(version_base="1.3", config_path=str(root() / "conf"), config_name="config")(function)()


def _one(words: Sequence[str], function: Callable[[DictConfig], Any]) -> None:
    failures: list[Exception] = []

    def alone(cfg: DictConfig) -> None:
        try:
            function(cfg)
        except Exception as error:  # Hydra would say "Error executing job with overrides" before we say what is wrong
            failures.append(error)

    _hydra(words, alone)
    if failures:
        raise failures[0]


def _sweep(words: Sequence[str], cfg: DictConfig, function: Callable[[DictConfig], Any]) -> int:
    """Every job of a sweep, then its tables and its summary. A launcher's workers import the function by its name."""
    check_name("name", cfg.name)
    loggers_of(cfg)  # what they lack would meet every job
    folder = Path(cfg.output) / cfg.name
    sweeps.begin(folder, grids.count(cfg.hydra.sweeper, words))
    code, interrupted = 0, True
    parallel = cfg.hydra.launcher.get("_target_") != _ALONE
    try:
        with kept_when_interrupted(folder), shown() if parallel else nullcontext():  # alone, jobs print it themselves
            (_hydra if "n_trials" in cfg.hydra.sweeper else _rounds)(words, function)  # draws depend on all jobs before
        interrupted = False
    except (HydraException, OmegaConfBaseException):
        sweeps.abandon()
        raise
    except Exception as error:
        if sweeps.current() is None:
            raise
        print(f"error: the sweep ended early: {type(error).__name__}: {error}", file=sys.stderr)  # e.g. workers died
        code, interrupted = 1, False
    finally:
        if not interrupted:
            code = max(code, _tables(folder))
        code = max(code, sweeps.finish())
    return max(code, int(any(FAILED)))


def _rounds(words: Sequence[str], function: Callable[[DictConfig], Any]) -> None:
    """The jobs of a sweep. Where one kills its worker, joblib ends all: those that have not ended are begun again."""
    while True:
        try:
            return _hydra(words, function)
        except BrokenProcessPool as error:
            sweep = sweeps.current()
            if sweep is None or not sweep.unfinished():
                raise
            GlobalHydra.instance().clear()
            print(f"a worker died ({_first_line(error)}); beginning again what has not ended", file=sys.stderr)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _tables(folder: Path) -> int:
    """Write and print the tables of a sweep's run folder. Where that fails, so has the sweep; its cells are safe."""
    try:
        tabulate(folder)
    except (SafariBenchError, OSError) as error:
        print(f"error: the tables could not be written: {error}", file=sys.stderr)
        return 1
    return 0
