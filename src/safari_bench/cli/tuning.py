"""`safari-bench tune`: what a sweep over tuning images says, written to conf/tuned."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from safari_bench.cli.schema import ConfigError, GuidanceConfig, root
from safari_bench.ledger import Cell, flatten
from safari_bench.reports import Choice, choose, vocabulary

__all__ = ["found_with", "objective", "write_tuned"]

#: the objective "auto", best first
_AUTO = ("lpips_vgg", "haarpsi")
#: of the sampler's node that the guidance group fills
_PSI = "fidelity."


def objective(metric: str, cell: Path) -> tuple[str, float]:
    """The metric that a sweep makes best, and how far from best a cell is in the mean over its images.

    Args:
        metric: a column of the rows, or auto: LPIPS where its weights were found, else HaarPSI.

    Returns:
        the metric's name; a loss, infinite if one of the images has no score.

    Raises:
        ConfigError: the rows have no such metric.
    """
    rows = Cell.at(cell).rows()
    metric = _named(metric, [rows])
    if metric not in rows:
        raise ConfigError(f"objective: got {metric!r}, which no row of {cell} has; expected one of {list(rows)[13:]}")
    mean = float(rows[metric].mean()) if (rows.status == "ok").all() else math.nan
    loss = vocabulary.metric(metric).loss(mean)
    return metric, loss if math.isfinite(loss) else math.inf


def found_with(run: Path) -> str:
    """The metric that a sweep's cells say it made best.

    Raises:
        ConfigError: they say different things.
    """
    cells = [Cell.at(path.parent) for path in sorted(run.glob("*/*/*/*/run.json")) if path.parts[-3] != "degraded"]
    said = sorted({str(cell.run()["config"].get("objective", "haarpsi")) for cell in cells}) or ["haarpsi"]
    if len(said) > 1:
        raise ConfigError(
            f"{run}: cells have the objectives {' and '.join(said)}; say which: safari-bench tune RUN METRIC"
        )
    return _named(said[0], [cell.rows() for cell in cells])


def _named(metric: str, rows: Sequence[pd.DataFrame]) -> str:
    """What auto means, given rows of one sweep: only weights that were found leave a number in a row."""
    if metric != "auto":
        return metric
    return next((name for name in _AUTO if any(name in r and r[name].notna().any() for r in rows)), _AUTO[-1])


def write_tuned(run: Path, metric: str, conf: Path, also: Sequence[str] = (), into: str | None = None) -> list[Path]:
    """Write conf/tuned/<prior>/<task>/<sampler>.yaml for every method that the sweep has several configurations of,
    and beside it a CSV of all of them, best first.

    The settings are those that the sweep varied, and those at which it was run though conf/sampler says otherwise: a
    step size found with 50 steps means nothing with 1000. psi's weights count where guidance was not chosen: presets
    are merged after conf/tuned.

    Args:
        metric: a column of the rows, or auto, see `objective`.
        also: keys of samplers that are written in any case.
        into: the folder of conf/tuned; None: the prior's name, which is where a run looks unless told otherwise.

    Raises:
        TableError: see `tables.choose`.
    """
    if metric == "auto":
        metric = found_with(run)
    written = []
    for choice in choose(run, metric):
        if choice.candidates < 2:
            continue
        path = conf / "tuned" / (into or choice.prior) / choice.task / f"{choice.sampler}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_head(choice, run, metric) + _node(_values(choice, also)), encoding="utf-8")
        pd.DataFrame(choice.trials).to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")
        written.append(path)
        said = ", ".join(f"{key}={value}" for key, value in choice.settings.items())
        edge = f"  (at the edge of the grid: {', '.join(choice.at_edge)})" if choice.at_edge else ""
        print(f"{choice.prior} {choice.task} {choice.sampler}: {said}  {metric} {choice.score:.4f}{edge}")
    return written


def _values(choice: Choice, also: Sequence[str]) -> dict[str, Any]:
    """What to write, dotted, the varied keys first."""
    usual = _usual(choice.sampler)
    at = {key: value for key, value in choice.others.items() if key in also or usual.get(key, value) != value}
    return {**choice.settings, **at}


def _usual(sampler: str) -> dict[str, Any]:
    """The keys of a sampler as conf/ has them without conf/tuned, psi's among them."""
    path = root() / "conf" / "sampler" / f"{sampler}.yaml"
    own: Any = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
    weights = OmegaConf.load(root() / "conf" / "psi.yaml")
    psi = {field.name: field.default for field in fields(GuidanceConfig)} | dict(weights)
    return flatten(own) | {f"{_PSI}{key}": value for key, value in psi.items()}


def _head(choice: Choice, run: Path, metric: str) -> str:
    images = ", ".join(f"{n} of {name}" for name, n in choice.datasets.items())
    head = [
        "# @package _global_",
        f"# Chosen here: best mean {metric} ({choice.score:.4f}; next {choice.runner_up:.4f}) of {choice.candidates} "
        "configurations",
        f"# on tuning images ({images}); results/{run.resolve().name}/table1.csv.",
    ]
    if choice.at_edge:
        head.append(f"# At the edge of what was tried: {', '.join(choice.at_edge)}.")
    return "\n".join(head) + "\n"


def _node(values: Mapping[str, Any]) -> str:
    conf = OmegaConf.create({"sampler": {}})
    for key, value in values.items():
        # psi's weights belong to the guidance group, which the sampler's fidelity refers to
        path = f"guidance.{key.removeprefix(_PSI)}" if key.startswith(_PSI) else f"sampler.{key}"
        OmegaConf.update(conf, path, value, force_add=True)
    return OmegaConf.to_yaml(conf)
