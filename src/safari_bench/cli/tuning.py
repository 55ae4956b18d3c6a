"""`safari-bench tune`: what a sweep over tuning images says, written to conf/tuned."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from safari_bench.cli.schema import ConfigError
from safari_bench.ledger import Cell
from safari_bench.tables import Choice, choose, vocabulary

__all__ = ["objective", "write_tuned"]


def objective(metric: str, cell: Path) -> float:
    """How far from best a cell is in a metric, in the mean over its images; infinite if one of them has no score.

    Raises:
        ConfigError: the rows have no such metric.
    """
    rows = Cell.at(cell).rows()
    if metric not in rows:
        raise ConfigError(f"objective: got {metric!r}, which no row of {cell} has; expected one of {list(rows)[13:]}")
    mean = float(rows[metric].mean()) if (rows.status == "ok").all() else math.nan
    loss = vocabulary.metric(metric).loss(mean)
    return loss if math.isfinite(loss) else math.inf


def write_tuned(run: Path, metric: str, conf: Path, also: Sequence[str] = (), into: str | None = None) -> list[Path]:
    """Write conf/tuned/<prior>/<task>/<sampler>.yaml for every method that the sweep has several configurations of,
    and beside it a CSV of all of them, best first.

    Args:
        also: keys of samplers that are written although the sweep did not vary them, such as steps, on which the best
            step size depends.
        into: the folder of conf/tuned; None: the prior's name, which is where a run looks unless told otherwise.

    Raises:
        TableError: see `tables.choose`.
    """
    written = []
    for choice in choose(run, metric):
        if choice.candidates < 2:
            continue
        path = conf / "tuned" / (into or choice.prior) / choice.task / f"{choice.sampler}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_text(choice, run, metric, also), encoding="utf-8")
        pd.DataFrame(choice.trials).to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")
        written.append(path)
        said = ", ".join(f"{key}={value}" for key, value in choice.settings.items())
        edge = f"  (at the edge of the grid: {', '.join(choice.at_edge)})" if choice.at_edge else ""
        print(f"{choice.prior} {choice.task} {choice.sampler}: {said}  {metric} {choice.score:.4f}{edge}")
    return written


def _text(choice: Choice, run: Path, metric: str, also: Sequence[str]) -> str:
    images = ", ".join(f"{n} of {name}" for name, n in choice.datasets.items())
    head = [
        "# @package _global_",
        f"# Chosen here: best mean {metric} ({choice.score:.4f}; next {choice.runner_up:.4f}) of {choice.candidates} "
        "configurations",
        f"# on tuning images ({images}); results/{run.resolve().name}/table1.csv.",
    ]
    if choice.at_edge:
        head.append(f"# At the edge of what was tried: {', '.join(choice.at_edge)}.")
    node: dict[str, Any] = {}
    kept = {key: value for key, value in choice.others.items() if key in also}
    for key, value in {**choice.settings, **kept}.items():
        # psi's weights belong to the guidance group, which the sampler's fidelity refers to
        path = key.replace("fidelity.", "guidance.", 1) if key.startswith("fidelity.") else f"sampler.{key}"
        OmegaConf.update(conf := OmegaConf.create(node), path, value, force_add=True)
        node = dict(OmegaConf.to_container(conf))  # type: ignore[arg-type]
    return "\n".join(head) + "\n" + OmegaConf.to_yaml(OmegaConf.create(node))
