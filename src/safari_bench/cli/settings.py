"""`settings=tuned|paper|NAME`: which values a sampler starts from, before what the user types.

conf/tuned/<file>.yaml holds task -> sampler -> values. `tuned` reads the file named after the prior, `paper` none, and
any other name the file of that name. Hydra sees each entry as a small configuration of its own, through a search path
of this module. So its usual order holds: the sampler's yaml, then these values, then overlays, then what you type.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from safari_bench.cli.conf import root
from safari_bench.ledger import flatten

__all__ = [
    "PAPER",
    "TUNED",
    "applied",
    "entry",
    "files",
    "folders",
    "is_name",
    "like",
    "register",
    "renamed",
    "said",
]

TUNED, PAPER = "tuned", "paper"
#: tasks of a user's own picture -> the one whose values they start from
_LIKE = {"inpaint": "inpaint_random", "deblur": "deblur_motion", "jpeg": "denoising"}
_SCHEME = "settings"


def folders() -> list[Path]:
    """Where files of settings are looked for: the working directory's conf/tuned, then what ships."""
    return list(dict.fromkeys((Path.cwd() / "conf" / "tuned", root() / "conf" / "tuned")))


def is_name(text: str) -> bool:
    """Whether a file of settings may be called so: it becomes a file name and a word of the command line."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text) is not None


def files() -> dict[str, Path]:
    """Name -> file of settings."""
    return {path.stem: path for folder in reversed(folders()) for path in sorted(folder.glob("*.yaml"))}


def like(task: str) -> str:
    """The task whose settings a task starts from where it has none of its own; mostly itself."""
    return _LIKE.get(task, task)


def entry(settings: str, prior: str, task: str, sampler: str) -> Mapping[str, Any]:
    """What a file holds for one task and sampler; empty if nothing.

    Args:
        settings: tuned, paper, or the name of a file.
        prior: name of the prior, which tuned looks up.
    Raises:
        HydraException: the file is damaged.
    """
    path = files().get(prior if settings == TUNED else settings)
    if settings == PAPER or path is None:
        return {}
    found = _read(path, path.stat().st_mtime_ns)
    try:
        node = found.get(task, found.get(like(task), {})).get(sampler, {})
        held = {key: dict(node[key]) for key in ("values", "guidance") if key in node}
    except (AttributeError, TypeError, ValueError) as error:
        raise HydraException(
            f"{path}: {task}/{sampler}: expected task: sampler: {{values: {{key: value}}}}; mend the file ({error})"
        ) from error
    for key, value in flatten(held).items():
        if any(part.startswith("_") for part in key.split(".")) or not _is_plain(value):
            raise HydraException(
                f"{path}: {task}/{sampler}: {key}: got {value!r}, expected a number or a word; mend the file"
            )
    return held


def _is_plain(value: Any) -> bool:
    """Whether a value is data alone: files are shared, so none may name a function or read the environment."""
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and "${" not in value)


@lru_cache
def _read(path: Path, mtime: int) -> dict[str, Any]:
    try:
        found = OmegaConf.load(path)  # unlike PyYAML it reads 5e-5 as a number
    except (YAMLError, OmegaConfBaseException, UnicodeError) as error:
        raise HydraException(f"{path}: not YAML ({' '.join(str(error).split())[:200]}); mend the file") from error
    if not isinstance(found, DictConfig):
        raise HydraException(f"{path}: expected task: sampler: {{values: ...}}, got another kind of file; mend it")
    read: Any = OmegaConf.to_container(found)
    return dict(read)


def applied(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the settings of a resolved configuration come from, for run.json: name, file, and the values as they run.

    Args:
        config: with settings, prior, task, sampler and guidance.
    """
    settings, prior = config["settings"], config["prior"]["name"]
    task, sampler = config["task"]["name"], config["sampler"]["name"]
    found = entry(settings, prior, task, sampler)
    values = {key: _at(config["sampler"], key) for key in flatten(found.get("values", {}))}
    values |= {f"guidance.{key}": _at(config["guidance"], key) for key in found.get("guidance", {})}
    file = prior if settings == TUNED else settings
    return {"name": settings if found else PAPER, "asked": settings, "file": file if found else "", "values": values}


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node[part]
    return node


def said(config: Mapping[str, Any]) -> str:
    """One line for people: which settings run, and which of them an overlay, a preset or the user replaced."""
    found, task = applied(config), config["task"]["name"]
    if found["file"]:
        held = entry(config["settings"], config["prior"]["name"], task, config["sampler"]["name"])
        of_file = flatten(held.get("values", {})) | flatten({"guidance": held.get("guidance", {})})
        kept, replaced = (
            ", ".join(f"{key}={value}" for key, value in found["values"].items() if (value == of_file[key]) is same)
            for same in (True, False)
        )
        line = f"settings: {found['name']} ({found['file']}, {task}, {config['sampler']['name']}): {kept or 'none'}"
        return f"{line}; replaced: {replaced}" if replaced else line
    if found["asked"] == PAPER:
        return f"settings: paper, for {config['sampler']['name']}"
    return f"settings: paper, nothing tuned for {config['sampler']['name']} on {task} with {config['prior']['name']}"


class _Source(ConfigSource):
    """conf/tuned as Hydra's groups `settings` (tuned, paper, every file) and `tuned` (settings/prior/task/sampler)."""

    @staticmethod
    def scheme() -> str:
        return _SCHEME

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.removesuffix("/") in ("", "settings")

    def is_config(self, config_path: str) -> bool:
        return self._node(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "settings" and results_filter != ObjectType.GROUP:
            return sorted((TUNED, PAPER, *files()))
        return ["settings"] if config_path == "" and results_filter != ObjectType.CONFIG else []

    def load_config(self, config_path: str) -> ConfigResult:
        node = self._node(config_path)
        if node is None:
            raise ConfigLoadError(f"no settings {config_path}")
        config = OmegaConf.create(node)
        return ConfigResult(self.provider, self.full_path(), config, {"package": "_global_"})

    def _node(self, config_path: str) -> dict[str, Any] | None:
        group, *parts = config_path.removesuffix(".yaml").split("/")
        if group == "settings" and len(parts) == 1 and parts[0] in (TUNED, PAPER, *files()):
            return {"settings": parts[0]}
        if group != "tuned" or len(parts) != 4:
            return None
        found = entry(*parts)
        names = {"values": "sampler", "guidance": "guidance"}
        return {names[key]: values for key, values in found.items()} or None


def renamed(words: Sequence[str]) -> list[str]:
    """`tuned=...` of version 0.1 as `settings=...`, with a line that says so."""
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if (equals and key in ("tuned", "+tuned", "++tuned")) or word == "~tuned":
            name = PAPER if value in ("null", "") else value.strip("'\"").split("/")[0]
            print(f"{word} is now settings={name}; the old word goes with the next release", file=sys.stderr)
            word = f"settings={name}"
        found.append(word)
    return found


def register() -> None:
    """Make the search path `settings://` known to Hydra. Safe to call again."""
    Plugins.instance().register(_Source)
