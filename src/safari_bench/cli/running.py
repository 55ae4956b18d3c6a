"""One job of the command line: the cells of one configuration, what is said of them, and their tables."""

import math
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from safari_bench.cli import sweeps
from safari_bench.cli.compose import jobs
from safari_bench.cli.endings import JobReport
from safari_bench.cli.schema import register
from safari_bench.cli.signals import Interrupt, die_with_parent
from safari_bench.cli.tables import kept_when_interrupted, scores_of, write
from safari_bench.cli.tuning import objective
from safari_bench.ledger import CellBusy
from safari_bench.runner import Outcome, run_cell

__all__ = ["FAILED", "run"]

register()  # the processes of a launcher import this module and compose a configuration, but never call main

#: images that failed, of each cell that this process computed.
FAILED: list[int] = []


def run(cfg: DictConfig) -> float | None:
    """One job: the cells of one configuration. In a sweep it returns what a sweeper that learns is to make small."""
    die_with_parent()
    sweep = sweeps.current()
    if sweep is None or HydraConfig.get().mode is not RunMode.MULTIRUN:
        folder = Path(cfg.output) / cfg.name
        with kept_when_interrupted(folder):
            outcomes = _cells(cfg, None)
        if outcomes[-1] is not None:
            print(scores_of(outcomes[-1].folder, outcomes[0].folder if outcomes[0] else None))
        write(folder)
        return None
    value = math.inf
    with sweep.job(HydraConfig.get().job.num) as report:
        if report is None:
            return value  # told already, before a worker died
        outcome = _cells(cfg, report)[-1]
        if outcome and "direction" in HydraConfig.get().sweeper:
            metric, value = objective(cfg.objective, outcome.folder)
            print(f"{report.label}objective: {metric} = {abs(value):.4g}")
    return value


def _cells(cfg: DictConfig, report: JobReport | None) -> list[Outcome | None]:
    """Computes the cells of a configuration. In a sweep, none stops the next.

    Returns:
        their outcomes, the degraded input's first, the method's own last; None for what was not computed here.
    """
    label, outcomes = report.label if report else "", list[Outcome | None]()
    with Interrupt("the batch in hand, to keep its rows") as interrupt:
        found = jobs(cfg, lambda: interrupt.requested, label)
        for job in found:
            beside = job is not found[-1]  # the baseline that accompanies the method
            what = f"{label}{job.dataset.name} {job.task.name} {job.sampler_name}"
            place = str(job.cell_folder), f"{what} {job.run['run_id']}"
            outcomes.append(None)
            try:
                outcomes[-1] = outcome = run_cell(job)
            except CellBusy as error:
                if report:
                    report.busy(*place, str(error))
                elif not beside:
                    raise
                print(f"{what}: {error}", file=sys.stderr)
                continue
            except Exception as error:
                if report is None:
                    raise
                report.failed(*place, error)
                continue
            if report:
                report.came_back(outcome, place[1])
            if outcome.attempted or not report or not beside:  # in a sweep, said once is enough
                _report(outcome, what)
            FAILED.append(outcome.counts.get("failed", 0))
            if interrupt.requested:
                raise KeyboardInterrupt
    return outcomes


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
