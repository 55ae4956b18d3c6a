"""safari-bench [verb] key=value...; a first word without `=` is a verb, none means run.

Exit codes: 0 done; 1 something failed (its rows say what); 2 the command cannot be run as typed; 130 interrupted.
"""

import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli import sweeps
from safari_bench.cli.compose import jobs
from safari_bench.cli.explain import explain
from safari_bench.cli.schema import ConfigError, register, root
from safari_bench.cli.studying import study_runs
from safari_bench.cli.tuning import objective
from safari_bench.data import DataError
from safari_bench.ledger import CellBusy, LedgerError
from safari_bench.loggers import LoggerError
from safari_bench.priors.unet import PriorError
from safari_bench.runner import Outcome, run_cell
from safari_bench.tables import TableError, build, render_text
from safari_bench.training import TrainingError

__all__ = ["main"]

_FAILED: list[int] = []  # images of each cell that this process computed


class _Interrupt:
    """The first Ctrl-C lets what is in hand finish, the second one drops it."""

    def __init__(self, saved: str) -> None:
        self.requested = False
        self._saved = saved

    def __enter__(self) -> "_Interrupt":
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"\nstopping after {self._saved}; Ctrl-C again drops it", file=sys.stderr)


def _run(cfg: DictConfig) -> float | None:
    """One job: the cells of one configuration. In a sweep it returns what a sweeper that learns is to make small."""
    sweep = sweeps.current()
    if sweep is None or HydraConfig.get().mode is not RunMode.MULTIRUN:
        _cells(cfg, None)
        _tabulate(Path(cfg.output) / cfg.name)
        return None
    value = math.inf
    with sweep.job(HydraConfig.get().job.num) as report:
        outcome = _cells(cfg, report)
        if outcome and "direction" in HydraConfig.get().sweeper:
            value = objective(cfg.objective, outcome.folder)
    return value


def _cells(cfg: DictConfig, report: sweeps.JobReport | None) -> Outcome | None:
    """Computes the cells of a configuration. In a sweep, none stops the next.

    Returns:
        the outcome of the last, the method's own; None if it was not computed here.
    """
    label, outcome = report.label if report else "", None
    with _Interrupt("the batch in hand, to keep its rows") as interrupt:
        for job in jobs(cfg, lambda: interrupt.requested, label):
            what = f"{label}{job.dataset.name} {job.task.name} {job.sampler_name}"
            place, outcome = (str(job.cell_folder), f"{what} {job.run['run_id']}"), None
            try:
                outcome = run_cell(job)
            except CellBusy as error:
                if report:
                    report.busy(*place, str(error))
                elif job.sampler_name != "degraded":
                    raise
                print(f"{what}: {error}", file=sys.stderr)
                continue
            except Exception as error:
                if report is None:
                    raise
                report.failed(*place, error)
                continue
            if report:
                report.note(sweeps.ending(outcome, place[1]))
            if outcome.attempted or not report or job.sampler_name != "degraded":  # in a sweep, said once is enough
                _report(outcome, what)
            _FAILED.append(outcome.counts.get("failed", 0))
            if interrupt.requested:
                raise KeyboardInterrupt
    return outcome


def _report(outcome: Outcome, what: str) -> None:
    if outcome.attempted == 0:
        print(f"{what}: complete, nothing to do ({outcome.total} images in {outcome.folder})")
    bad = {status: n for status, n in outcome.counts.items() if status != "ok"}
    for status, n in bad.items():
        print(f"{what}: {n} of {outcome.total} images {status}", file=sys.stderr)
    for reason in outcome.reasons:
        print(f"  {reason}", file=sys.stderr)


def _tabulate(*folders: Path) -> None:
    written = build(*folders)
    print(render_text(*folders, legend=False))
    print(f"in {written[0].parent}: {', '.join(path.name for path in written)}; table1.md explains the columns")


def finish_sweep(cfg: DictConfig) -> None:
    """Write and print the tables of a sweep's run folder. Cells that cannot share one table are safe all the same."""
    try:
        _tabulate(Path(cfg.output) / cfg.name)
    except (LedgerError, TableError) as error:
        print(f"no table: {error}", file=sys.stderr)


def _table(arguments: Sequence[str]) -> int:
    """safari-bench table RUN [RUN...]: rebuild the tables of a run folder, or of several as one, from rows alone."""
    if not arguments:
        raise ConfigError("safari-bench table takes one run folder or several, got none; e.g. results/table1")
    _tabulate(*map(_run_folder, arguments))
    return 0


def _fit(arguments: Sequence[str]) -> int:
    """safari-bench fit [FILE]: fit the Gaussian prior to the train photographs and write its spectrum."""
    from safari_bench.cli.fitting import write_spectrum

    if len(arguments) > 1:
        raise ConfigError(f"safari-bench fit takes at most one file to write, got {len(arguments)}")
    write_spectrum(Path(arguments[0] if arguments else "gaussian_photos.json"))
    return 0


def _tune(arguments: Sequence[str]) -> int:
    """safari-bench tune RUN [METRIC [KEY...]]: write the best settings of a sweep over tuning images to conf/tuned."""
    from safari_bench.cli.tuning import write_tuned

    if not arguments:
        raise ConfigError("safari-bench tune takes a run folder, a metric (haarpsi), and keys to write besides (steps)")
    metric = arguments[1] if len(arguments) > 1 else "haarpsi"
    written = write_tuned(_run_folder(arguments[0]), metric, root() / "conf", arguments[2:])
    print(f"wrote {len(written)} files under {root() / 'conf' / 'tuned'}")
    return 0


def _run_folder(word: str) -> Path:
    folder = Path(word)
    return Path("results") / folder if not folder.is_dir() and (Path("results") / folder).is_dir() else folder


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

    with _Interrupt("this step and a checkpoint") as interrupt:
        if not train_prior(cfg, lambda: interrupt.requested):
            raise KeyboardInterrupt


register()  # the processes of a launcher import this module and compose a configuration, but never call main
VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "table": _table,
    "fit": _fit,
    "train": _train,
    "card": _card,
    "tune": _tune,
    "study": lambda words: study_runs([_run_folder(word) for word in words]),
}


def _hydra(arguments: Sequence[str], function: Callable[[DictConfig], Any] = _run) -> int:
    sys.argv = ["safari-bench", *arguments]
    # Hydra would print its own traceback and exit; with this it hands the exception over.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    code = 0
    try:
        hydra.main(version_base="1.3", config_path=str(root() / "conf"), config_name="config")(function)()
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        if sweeps.current() is None:
            raise
        print(f"error: the sweep ended early: {type(error).__name__}: {error}", file=sys.stderr)  # e.g. workers died
        code = 1
    finally:
        code = max(code, sweeps.finish())
    return max(code, int(any(_FAILED)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _FAILED.clear()
    try:
        if words and "=" not in words[0] and not words[0].startswith("-"):
            if words[0] not in VERBS:
                raise ConfigError(f"no such verb: {words[0]}; verbs: {', '.join(VERBS)}; see safari-bench --help")
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
