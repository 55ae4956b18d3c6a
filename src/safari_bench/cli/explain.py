"""Hydra's refusals in the words of this program."""

import re
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli.schema import root, unknown_key

__all__ = ["explain"]


def explain(error: Exception, words: Sequence[str]) -> str:
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
