"""What a person should know of a configuration before it runs."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, cast

from omegaconf import OmegaConf

from safari_bench.cli.conf import root
from safari_bench.cli.schema import GuidanceConfig, TaskConfig
from safari_bench.operators import LAWS

__all__ = ["notes"]

_NOISE = ("sigma", "sigma_range", "rate", "fraction", "quality", "bits")


def notes(values: Mapping[str, Any]) -> Iterator[str]:
    """One line on pictures that are taken as clean, and one for each group of keys that differ from what ships though
    this sampler or this noise law does not read them.

    Args:
        values: a checked configuration.
    """
    if values["dataset"]["_target_"] == "safari_bench.data.Folder":
        yield (
            "dataset=folder: pictures are taken as clean, degraded by the task and scored against themselves; "
            "to restore damaged ones: safari-bench restore PICTURE task=..."
        )
    changed = [f"guidance.{key}" for key, usual in _guidance().items() if values["guidance"].get(key, usual) != usual]
    if changed and not _holds(values["sampler"], "fidelity"):
        yield f"note: sampler={values['sampler']['name']} does not read {', '.join(changed)}"
    task, law = values["task"], values["task"]["noise"]
    taken = {"sigma_range" if field.name == "range" else field.name for field in fields(cast(Any, LAWS[law]))}
    usual = {field.name: field.default for field in fields(TaskConfig)}
    ignored = [key for key in _NOISE if key not in taken and task[key] != getattr(usual[key], "value", usual[key])]
    if ignored:
        yield f"note: task.noise={law} does not read {', '.join(f'task.{key}' for key in ignored)}"


@cache
def _guidance() -> dict[str, Any]:
    """psi's weights where nobody chooses any."""
    usual = {field.name: field.default for field in fields(GuidanceConfig) if field.name != "_target_"}
    return usual | {str(key): value for key, value in OmegaConf.load(root() / "conf" / "psi.yaml").items()}


def _holds(node: Any, key: str) -> bool:
    return isinstance(node, Mapping) and (key in node or any(_holds(value, key) for value in node.values()))
