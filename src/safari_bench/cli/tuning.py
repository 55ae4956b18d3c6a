"""`safari-bench tune`: what a sweep over tuning images says, as entries of a file of conf/tuned."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from omegaconf import OmegaConf

from safari_bench.cli import settings
from safari_bench.cli.schema import ConfigError, GuidanceConfig, root
from safari_bench.ledger import Cell, exclusive, flatten, make_folder, write_atomic
from safari_bench.reports import Choice, choose, vocabulary

__all__ = ["chosen", "difference", "found_with", "objective", "write"]

#: the objective "auto", best first
_AUTO = ("lpips_vgg", "deep_distance", "haarpsi")
#: of the sampler's node that the guidance group fills
_PSI = "fidelity."


def objective(metric: str, cell: Path) -> tuple[str, float]:
    """The metric that a sweep makes best, and how far from best a cell is in the mean over its images.

    Args:
        metric: a column of the rows, or auto: LPIPS where its weights were found, else the deep distance.

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
    return metric, math.inf if math.isnan(loss) else loss


def found_with(run: Path) -> str:
    """The metric that a sweep's cells say it made best.

    Raises:
        ConfigError: they say different things.
    """
    paths = [path for path in sorted(run.glob("*/*/*/*/run.json")) if path.parts[-3] != vocabulary.MEASUREMENT]
    cells = [Cell.at(path.parent) for path in paths]
    said = sorted({str(cell.run().get("config", {}).get("objective", "haarpsi")) for cell in cells}) or ["haarpsi"]
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


def chosen(run: Path, metric: str, also: Sequence[str] = ()) -> dict[str, dict[str, dict[str, Any]]]:
    """task -> sampler -> entry of conf/tuned, for every method that a run has several configurations of. Prints each.

    The values are those that the run varied, and those at which it was run though conf/sampler says otherwise: a step
    size found with 50 steps means nothing with 1000. psi's weights count where guidance was not chosen: presets
    are merged after conf/tuned.

    Args:
        metric: a column of the rows, or auto, see `objective`.
        also: keys of samplers that are written in any case.
    Raises:
        TableError: see `reports.choose`.
        ConfigError: a sampler or key is not one of conf/sampler.
    """
    metric = found_with(run) if metric == "auto" else metric
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for choice in choose(run, metric):
        if choice.candidates < 2:
            continue
        values, weights = _values(choice, also)
        entry: dict[str, Any] = {"values": values, "guidance": weights} if weights else {"values": values}
        entry["chosen"] = {
            "metric": metric,
            "score": round(choice.score, 4),
            **({} if math.isnan(choice.runner_up) else {"runner_up": round(choice.runner_up, 4)}),
            "candidates": choice.candidates,
            "images": dict(choice.datasets),
            **({"at_edge": list(choice.at_edge)} if choice.at_edge else {}),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }
        found.setdefault(choice.task, {})[choice.sampler] = entry
        said = ", ".join(f"{key}={value}" for key, value in choice.settings.items())
        edge = f"  (at the edge of the grid: {', '.join(choice.at_edge)})" if choice.at_edge else ""
        print(f"{choice.prior} {choice.task} {choice.sampler}: {said}  {metric} {choice.score:.4f}{edge}")
    return found


def difference(found: Mapping[str, Mapping[str, Any]], file: str) -> list[str]:
    """One line for every entry whose values differ from those of conf/tuned/<file>.yaml."""
    lines = []
    for task, entries in found.items():
        for sampler, entry in entries.items():
            before = settings.entry(file, file, task, sampler)
            now = {key: entry[key] for key in ("values", "guidance") if key in entry}
            if dict(before) != now:
                lines.append(f"{task} {sampler}: {_said(before)} -> {_said(now)}")
    return lines


def _said(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in flatten(entry.get("values", {})).items()) or "nothing"


def write(path: Path, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Put entries into a file of settings; its other entries stay.

    Raises:
        LedgerError: it cannot be written, or another process writes into its folder.
    """
    make_folder(path.parent)
    with exclusive(path.parent):
        _merge(path, found)


def _merge(path: Path, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    held: Any = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
    comment = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")] if held else []
    for task, entries in found.items():
        held.setdefault(task, {}).update(entries)
    lines = comment or [f"# {path.stem}: task: sampler: values, and the score that chose them."]
    for task in sorted(held, key=lambda name: vocabulary.rank(name, vocabulary.TASKS)):
        lines.append(f"{task}:")
        for sampler in sorted(held[task]):
            lines.append(f"  {sampler}:")
            lines += [f"    {key}: {_flow(value)}" for key, value in held[task][sampler].items()]
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()


def _values(choice: Choice, also: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sampler's values, nested, the varied keys first; and psi's weights."""
    usual = _usual(choice.sampler)
    at = {key: value for key, value in choice.others.items() if key in also or usual.get(key, value) != value}
    values, weights = OmegaConf.create({}), {}
    for key, value in {**choice.settings, **at}.items():
        if key not in usual or not isinstance(value, int | float | str | bool | None):
            raise ConfigError(
                f"{choice.task} {choice.sampler}: {key}={value!r} is no single value of a key of "
                f"conf/sampler/{choice.sampler}.yaml; nothing was written"
            )
        if key.startswith(_PSI):
            weights[key.removeprefix(_PSI)] = value
        else:
            OmegaConf.update(values, key, value, force_add=True)
    nested: Any = OmegaConf.to_container(values)
    return nested, weights


def _usual(sampler: str) -> dict[str, Any]:
    """The keys of a sampler as conf/ has them without conf/tuned, psi's among them."""
    weights = OmegaConf.load(root() / "conf" / "psi.yaml")
    psi = {field.name: field.default for field in fields(GuidanceConfig)} | dict(weights)
    own = {key: value for key, value in flatten(_preset(sampler)).items() if not key.endswith("_target_")}
    return own | {f"{_PSI}{key}": value for key, value in psi.items()}


def _preset(sampler: str) -> dict[str, Any]:
    """conf/sampler/<sampler>.yaml with the presets that it begins with."""
    path = root() / "conf" / "sampler" / f"{sampler}.yaml"
    loaded: Any = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
    own, found = dict[str, Any](loaded), dict[str, Any]()
    for base in own.pop("defaults", []):
        found |= _preset(base) if base != "_self_" else {}
    return found | own
