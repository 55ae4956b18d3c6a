"""conf/search/<sampler>.yaml as command lines: the grids behind conf/tuned, and what Optuna draws."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from safari_bench.cli.schema import ConfigError, root, unknown_key

__all__ = ["draw", "files", "grids", "samplers"]


def samplers() -> list[str]:
    """Samplers that have a search space."""
    return sorted(path.stem for path in (root() / "conf" / "search").glob("*.yaml"))


def files() -> list[str]:
    """Files of conf/tuned that grids exist for."""
    return sorted({name for sampler in samplers() for name in _space(sampler).get("grids", {})})


def grids(file: str, sampler: str = "", task: str = "") -> Iterator[tuple[str, list[str]]]:
    """Sampler and overrides of every sweep that fills a file of conf/tuned.

    Args:
        sampler, task: only these; empty for all.
    Raises:
        ConfigError: there is no grid for the file or the sampler.
    """
    if file not in files():
        raise ConfigError(unknown_key(file, files(), "a file with grids in conf/search"))
    for name in [sampler] if sampler else samplers():
        for line in _space(name).get("grids", {}).get(file, []):
            tasks = _texts(line.get("task", []))
            if task and tasks and task not in tasks:
                continue
            words = [f"{_key(key)}={','.join(_texts(value))}" for key, value in line.items() if key != "task"]
            chosen = [task] if task else tasks
            yield name, [f"sampler={name}", *words, *([f"task={','.join(chosen)}"] if chosen else [])]


def draw(sampler: str) -> list[str]:
    """Overrides with the intervals that Optuna draws from.

    Raises:
        ConfigError: the sampler has no search space.
    """
    return [f"sampler={sampler}", *(f"{_key(key)}={value}" for key, value in _space(sampler)["draw"].items())]


def _space(sampler: str) -> Mapping[str, Any]:
    path = root() / "conf" / "search" / f"{sampler}.yaml"
    if not path.is_file():
        raise ConfigError(unknown_key(sampler, samplers(), "a sampler with a search space in conf/search"))
    found: Any = OmegaConf.to_container(OmegaConf.load(path))
    return dict(found)


def _key(key: str) -> str:
    return key if key.startswith("guidance.") else f"sampler.{key}"


def _texts(value: Any) -> list[str]:
    return ["null" if item is None else str(item) for item in (value if isinstance(value, list) else [value])]
