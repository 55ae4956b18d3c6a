"""Hydra's refusals in the words of this program."""

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from safari_bench.cli.composing import composed
from safari_bench.cli.overrides import jobs
from safari_bench.cli.schema import unknown_key
from safari_bench.errors import ConfigError

__all__ = ["explain", "explained"]

_TRIED = 100  # jobs of a sweep


@contextmanager
def explained(words: Sequence[str]) -> Iterator[None]:
    """While Hydra composes from words: what it refuses becomes a ConfigError, and nothing of it stays behind."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, words)) from error
    finally:
        GlobalHydra.instance().clear()


def explain(error: Exception, words: Sequence[str]) -> str:
    """Hydra's message, with what exists, and what was probably meant, where a key or an option is misspelt."""
    text = str(error)
    match = re.search(r"Could not override '([^']+)'", text)
    if match and (said := _unknown(match.group(1), words)):
        return said
    if (match := re.search(r"Could not find '([^']+)'", text)) and "Available options in" in text:
        return _unknown_option(match.group(1), text.partition("Available options in")[2])
    said = text.split("Config search path:")[0]
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    lines = [line for line in said.splitlines() if line and "full_key:" not in line and "object_type=" not in line]
    if cause is not None:
        lines += [str(cause).splitlines()[0]]
    return "\n".join(dict.fromkeys(lines))


def _unknown_option(path: str, listing: str) -> str:
    """What was typed, what was probably meant, what there is."""
    group, _, option = path.rpartition("/")
    names = listing.split("Config search path:")[0].partition(":")[2].split()
    close = difflib.get_close_matches(option, names, n=1, cutoff=0.5) or [n for n in names if n.startswith(option)][:1]
    hint = f"; did you mean {group}={close[0]}?" if close else ""
    return f"no such option: {group}={option}{hint}\noptions of {group}: {', '.join(names)}"


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
        cfg: Any = composed(words)
        node = OmegaConf.select(cfg, parent) if parent else cfg
        return [str(key) for key in node] if isinstance(node, DictConfig) else []
    except (HydraException, OmegaConfBaseException, ConfigError):
        return []
