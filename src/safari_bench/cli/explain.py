"""Hydra's refusals in the words of this program."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli.overrides import jobs
from safari_bench.cli.schema import root, unknown_key

__all__ = ["explain"]

_TRIED = 100  # jobs of a sweep


def explain(error: Exception, words: Sequence[str]) -> str:
    """Hydra's message, with the list of what exists where a key is misspelt."""
    match = re.search(r"Could not override '([^']+)'", str(error))
    if match and (said := _unknown(match.group(1), words)):
        return said
    said = str(error).split("Config search path:")[0]
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    lines = [line for line in said.splitlines() if line and "full_key:" not in line and "object_type=" not in line]
    if cause is not None:
        lines += [str(cause).splitlines()[0]]
    return "\n".join(dict.fromkeys(lines))


def _unknown(key: str, words: Sequence[str]) -> str:
    """Which of a sweep's jobs has no such key, and what it has; nothing where that is not the trouble."""
    parent, _, last = key.rpartition(".")
    group = parent.partition(".")[0]
    rest = [word for word in words if not word.lstrip("+~").startswith(f"{key}=")]
    try:
        tried: set[str] = set()
        for job in islice(jobs(rest), _TRIED):
            choice = next((word for word in job if word.lstrip("+").startswith(f"{group}=")), "")
            if choice in tried:
                continue
            tried.add(choice)
            known = _known_keys(parent, job)
            if known and last not in known:
                return unknown_key(key, known, choice)
    except HydraException:
        pass  # the rest of the line is not right either: Hydra's own message is shown
    return ""


def _known_keys(parent: str, words: Sequence[str]) -> list[str]:
    """The keys beside a misspelt one, from composing the rest of the command line."""
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
            cfg: Any = hydra.compose("config", overrides=list(words))
            node = OmegaConf.select(cfg, parent) if parent else cfg
            return [str(key) for key in node] if isinstance(node, DictConfig) else []
    except (HydraException, OmegaConfBaseException):
        return []
