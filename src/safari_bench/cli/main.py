"""safari-bench [verb] key=value...; a first word without `=` is a verb, none means run.

Exit codes: 0 done; 1 something failed (its rows say what); 2 the command cannot be run as typed; 130 interrupted.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli.compose import jobs
from safari_bench.cli.schema import ConfigError, register, root, unknown_key
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


def _tabulate(folder: Path) -> None:
    build(folder)
    print(render_text(folder, legend=False))
    print(f"in {folder}: table1.md (with a legend), table1.csv, per_image.csv, grid.png")


def finish_sweep(cfg: DictConfig) -> None:
    """Write and print the tables of a sweep's run folder. Cells that cannot share one table are safe all the same."""
    try:
        _tabulate(Path(cfg.output) / cfg.name)
    except (LedgerError, TableError) as error:
        print(f"no table: {error}", file=sys.stderr)


def _table(arguments: Sequence[str]) -> int:
    """safari-bench table RUN: rebuild the tables of a run folder from its rows alone."""
    if len(arguments) != 1:
        raise ConfigError(f"safari-bench table takes one run folder, got {len(arguments)}; e.g. results/table1")
    _tabulate(_run_folder(arguments[0]))
    return 0


def _fit(arguments: Sequence[str]) -> int:
    """safari-bench fit [gaussian | mixture] [FILE]: fit a prior to the train photographs and write it."""
    from safari_bench.cli.fitting import write_mixture, write_spectrum

    writers = {
        "gaussian": (write_spectrum, "gaussian_photos.json"),
        "mixture": (write_mixture, "mixture_photos.safetensors"),
    }
    named = bool(arguments) and arguments[0] in writers
    write, default = writers[arguments[0] if named else "gaussian"]
    files = arguments[named:]
    if len(files) > 1:
        raise ConfigError(
            f"safari-bench fit takes a prior ({', '.join(writers)}) and at most one file to write, got "
            f"{' '.join(arguments)}"
        )
    write(Path(files[0] if files else default))
    return 0


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
        print(f"error: {_explain(error, words)}", file=sys.stderr)
        return 2
    except (ConfigError, DataError, PriorError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (JobFailed, LedgerError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        GlobalHydra.instance().clear()


def _explain(error: Exception, words: Sequence[str]) -> str:
    """Hydra's message, with the list of what exists where a key is misspelt."""
    match = re.search(r"Could not override '([^']+)'", str(error))
    if match:
        key = match.group(1)
        known = _known_keys(key.rpartition(".")[0], [w for w in words if not w.lstrip("+~").startswith(f"{key}=")])
        if known and key.rpartition(".")[2] not in known:
            return unknown_key(key, known)
    said = str(error).split("Config search path:")[0]
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    lines = [line for line in said.splitlines() if line and "full_key:" not in line and "object_type=" not in line]
    if cause is not None:
        lines += [str(cause).splitlines()[0]]
    return "\n".join(dict.fromkeys(lines))


def _known_keys(parent: str, words: Sequence[str]) -> list[str]:
    """The keys beside a misspelt one, from composing the rest of the command line."""
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
            cfg: Any = hydra.compose("config", overrides=[w for w in words if "=" in w and not w.startswith("-")])
            node = OmegaConf.select(cfg, parent) if parent else cfg
            return [str(key) for key in node] if isinstance(node, DictConfig) else []
    except (HydraException, OmegaConfBaseException):
        return []  # the rest of the line is not right either: Hydra's own message is shown
