"""safari-bench [verb] key=value...; a first word without `=` is a verb, none means run.

Exit codes: 0 done; 1 something failed (its rows say what); 2 the command cannot be run as typed; 130 interrupted.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli import settings, sweeps, verbs
from safari_bench.cli.explain import explain
from safari_bench.cli.overrides import bind
from safari_bench.cli.pages import PAGES, asks_for_help, check_options
from safari_bench.cli.running import FAILED, Interrupt, run, tabulate
from safari_bench.cli.schema import ConfigError, register, root
from safari_bench.cli.studying import study_runs
from safari_bench.data import DataError
from safari_bench.ledger import LedgerError, find_run
from safari_bench.loggers import LoggerError
from safari_bench.priors.unet import PriorError
from safari_bench.reports import TableError
from safari_bench.training import TrainingError

__all__ = ["main"]


def finish_sweep(cfg: DictConfig) -> None:
    """Write and print the tables of a sweep's run folder. Where that fails the cells are safe, and the sweep failed."""
    try:
        tabulate(Path(cfg.output) / cfg.name)
    except (LedgerError, TableError) as error:
        print(f"error: the tables could not be written: {error}", file=sys.stderr)
        FAILED.append(1)


def _table(arguments: Sequence[str]) -> int:
    """safari-bench table RUN [RUN...] [--all-published]: rebuild the tables of runs, as one, from rows alone."""
    words = [word for word in arguments if word != "--all-published"]
    if not words:
        raise ConfigError("safari-bench table takes one run folder or several, got none; e.g. results/table1")
    tabulate(*map(find_run, words), all_published=len(words) < len(arguments))
    return 0


def _fit(arguments: Sequence[str]) -> int:
    """safari-bench fit [gaussian | mixture] [FILE]: fit a prior to the train photographs and write it."""
    from safari_bench.cli.fitting import fit

    return fit(arguments)


def _exact(arguments: Sequence[str]) -> int:
    """safari-bench exact [key=value...]: every sampler against posteriors known exactly, see experiments/exact.yaml."""
    from safari_bench.cli.exact import exact

    return exact(arguments)


def _tune(arguments: Sequence[str]) -> int:
    """safari-bench tune: the best settings of a sweep over tuning images, or the sweeps behind a file of conf/tuned."""
    from safari_bench.cli.tune import tune

    try:
        return tune(arguments)
    except SystemExit as end:  # argparse printed its help, or what is wrong
        return int(end.code or 0)


def _score(arguments: Sequence[str]) -> int:
    """safari-bench score RUN [key=value...]: score a run's saved pictures again, with metrics=..."""
    from safari_bench.cli.scoring import score_run

    if not arguments or "=" in arguments[0]:
        raise ConfigError("safari-bench score takes a run folder, then keys; e.g. results/table1 metrics=perceptual")
    folder = find_run(arguments[0])
    code = _hydra(arguments[1:], lambda cfg: score_run(cfg, folder))
    tabulate(folder)
    return code


def _card(arguments: Sequence[str]) -> int:
    """safari-bench card [key=value...]: judge prior=... on its own, without a sampler of this suite."""
    return _hydra(arguments, _card_job)


def _card_job(cfg: DictConfig) -> None:
    from safari_bench.cli.carding import write_card

    write_card(cfg)


def _train(arguments: Sequence[str]) -> int:
    """safari-bench train [key=value...]: train a prior as experiments/train_prior.yaml says, or go on training it."""
    chosen = any(word.startswith("experiments=") for word in arguments)
    return _hydra([*([] if chosen else ["experiments=train_prior"]), *arguments], _train_job)


def _train_job(cfg: DictConfig) -> None:
    from safari_bench.cli.training import train_prior

    with Interrupt("this step and a checkpoint") as interrupt:
        if not train_prior(cfg, lambda: interrupt.requested):
            raise KeyboardInterrupt


register()  # the processes of a launcher import this module and compose a configuration, but never call main
VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "table": _table,
    "fit": _fit,
    "train": _train,
    "card": _card,
    "tune": _tune,
    "study": lambda words: study_runs([find_run(word) for word in words]),
    "score": _score,
    "weights": verbs.weights,
    "manifest": lambda words: verbs.manifest(words, _hydra),
    "plan": verbs.plan,
    "doctor": verbs.doctor,
    "exact": _exact,
}


def _flags_first(words: Sequence[str]) -> list[str]:
    """`name=a -m seed=0,1` as `-m name=a seed=0,1`: argparse takes no key=value before a flag and after it too."""
    if {"-i", "--info"} & set(words):  # the one flag that would take the next word for its own
        return list(words)
    return sorted(words, key=lambda word: not word.startswith("-") and ("=" in word or word.startswith("~")))


def _hydra(arguments: Sequence[str], function: Callable[[DictConfig], Any] = run) -> int:
    sys.argv = ["safari-bench", *_flags_first(bind(arguments))]
    # Hydra would print its own traceback and exit; with this it hands the exception over.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    code = 0
    failures: list[Exception] = []

    def alone(cfg: DictConfig) -> None:
        try:
            function(cfg)
        except Exception as error:  # Hydra would say "Error executing job with overrides" before we say what is wrong
            failures.append(error)

    task = function if {"-m", "--multirun"} & set(arguments) else alone  # a launcher's processes would lose the list
    try:
        hydra.main(version_base="1.3", config_path=str(root() / "conf"), config_name="config")(task)()
        if failures:
            raise failures[0]
    except (HydraException, OmegaConfBaseException):
        sweeps.abandon()
        raise
    except Exception as error:
        if sweeps.current() is None:
            raise
        print(f"error: the sweep ended early: {type(error).__name__}: {error}", file=sys.stderr)  # e.g. workers died
        code = 1
    finally:
        code = max(code, sweeps.finish())
    return max(code, int(any(FAILED)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    FAILED.clear()
    try:
        words = settings.renamed(words)
        settings.check_names(words)
        if words and "=" not in words[0] and not words[0].startswith("-"):
            if words[0] not in VERBS:
                raise ConfigError(f"no such verb: {words[0]}; verbs: {', '.join(VERBS)}; see safari-bench --help")
            if words[0] in PAGES and asks_for_help(words[1:]):
                print(PAGES[words[0]])
                return 0
            check_options(words[0], words[1:])
            return VERBS[words[0]](words[1:])
        return _hydra(words)
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept. Run the same command again to do the rest", file=sys.stderr)
        return 130
    except (HydraException, OmegaConfBaseException) as error:  # before OSError, which one of Hydra's own is
        print(f"error: {explain(error, words)}", file=sys.stderr)
        return 2
    except (sweeps.Refused, ConfigError, DataError, LoggerError, PriorError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (LedgerError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        GlobalHydra.instance().clear()
