"""safari-bench [verb] key=value...; a first word without `=` is a verb, none means run.

Exit codes: 0 done; 1 something failed (its rows say what); 2 the command cannot be run as typed; 130 interrupted.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli.compose import jobs
from safari_bench.cli.explain import explain
from safari_bench.cli.schema import ConfigError, register, root
from safari_bench.data import DataError
from safari_bench.ledger import CellBusy, LedgerError
from safari_bench.priors.unet import PriorError
from safari_bench.runner import Outcome, run_cell
from safari_bench.tables import TableError, build, render_text
from safari_bench.training import TrainingError

__all__ = ["main"]


@dataclass
class _Sweep:
    """What a sweep in this process has come to."""

    total: int = 0
    failed: int = 0


SWEEP = _Sweep()


class JobFailed(Exception):
    """A job of a launcher that runs jobs in other processes had failures; Hydra carries this to the main one."""


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


def _run(cfg: DictConfig) -> None:
    """One job: the cells of one configuration."""
    sweeping = HydraConfig.get().mode is RunMode.MULTIRUN
    label = f"[{HydraConfig.get().job.num + 1}/{SWEEP.total}] " if SWEEP.total else ""
    with _Interrupt("the batch in hand, to keep its rows") as interrupt:
        for job in jobs(cfg, lambda: interrupt.requested, label):
            what = f"{label}{job.dataset.name} {job.task.name} {job.sampler_name}"
            try:
                outcome = run_cell(job)
            except CellBusy as error:
                if job.sampler_name != "degraded":
                    raise
                print(f"{what}: {error}", file=sys.stderr)  # another job of the same sweep is at the shared baseline
                continue
            if outcome.attempted or not sweeping or job.sampler_name != "degraded":  # in a sweep, said once is enough
                _report(outcome, what)
            SWEEP.failed += outcome.counts.get("failed", 0)
            if interrupt.requested:
                raise KeyboardInterrupt
    if not sweeping:
        _tabulate(Path(cfg.output) / cfg.name)
    elif SWEEP.failed and not SWEEP.total:
        raise JobFailed(f"images failed in {cfg.output}/{cfg.name}; their rows say why: safari-bench table {cfg.name}")


def _report(outcome: Outcome, what: str) -> None:
    if outcome.attempted == 0:
        print(f"{what}: complete, nothing to do ({outcome.total} images in {outcome.folder})")
    bad = {status: n for status, n in outcome.counts.items() if status != "ok"}
    for status, n in bad.items():
        print(f"{what}: {n} of {outcome.total} images {status}", file=sys.stderr)
    for reason in outcome.reasons:
        print(f"  {reason}", file=sys.stderr)
    for note in outcome.notes:
        print(f"{what}: {note}", file=sys.stderr)


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
    """safari-bench fit [gaussian | mixture] [FILE]: fit a prior to the train photographs and write it."""
    from safari_bench.cli.fitting import fit

    return fit(arguments)


def _exact(arguments: Sequence[str]) -> int:
    """safari-bench exact [key=value...]: every sampler against posteriors known exactly, see experiments/exact.yaml."""
    from safari_bench.cli.exact import exact

    return exact(arguments)


def _tune(arguments: Sequence[str]) -> int:
    """safari-bench tune RUN [METRIC [KEY...]]: write the best settings of a sweep over tuning images to conf/tuned."""
    from safari_bench.cli.tuning import write_tuned

    if not arguments:
        raise ConfigError("safari-bench tune takes a run folder, a metric (haarpsi), and keys to write besides (steps)")
    metric = arguments[1] if len(arguments) > 1 else "haarpsi"
    written = write_tuned(_run_folder(arguments[0]), metric, root() / "conf", arguments[2:])
    print(f"wrote {len(written)} files under {root() / 'conf' / 'tuned'}")
    return 0


def _score(arguments: Sequence[str]) -> int:
    """safari-bench score RUN [key=value...]: score a run's saved pictures again, with metrics=..."""
    from safari_bench.cli.scoring import score_run

    if not arguments or "=" in arguments[0]:
        raise ConfigError("safari-bench score takes a run folder, then keys; e.g. results/table1 metrics=perceptual")
    folder = _run_folder(arguments[0])
    code = _hydra(arguments[1:], lambda cfg: score_run(cfg, folder))
    _tabulate(folder)
    return code


def _weights(arguments: Sequence[str]) -> int:
    """safari-bench weights [list|check|fetch] [metrics.weights_dir=DIR]: the files that LPIPS, FID and KID need."""
    from safari_bench.cli.weights import weights

    return weights(arguments)


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


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "table": _table,
    "fit": _fit,
    "train": _train,
    "card": _card,
    "tune": _tune,
    "score": _score,
    "weights": _weights,
    "exact": _exact,
}


def _hydra(arguments: Sequence[str], function: Callable[[DictConfig], None] = _run) -> int:
    register()
    sys.argv = ["safari-bench", *arguments]
    # Hydra would print its own traceback and exit; with this it hands the exception over.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    hydra.main(version_base="1.3", config_path=str(root() / "conf"), config_name="config")(function)()
    return 1 if SWEEP.failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    SWEEP.total = SWEEP.failed = 0
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
    except (ConfigError, DataError, PriorError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (JobFailed, LedgerError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        GlobalHydra.instance().clear()
