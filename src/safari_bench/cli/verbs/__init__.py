"""Verbs about what a run needs: the words after them, turned into calls."""

from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from safari_bench.cli.schema import ConfigError

__all__ = ["Launch", "doctor", "manifest", "plan", "weights"]

#: composes the configuration that words ask for and hands it to a function, once per job; returns the exit code
Launch = Callable[[Sequence[str], Callable[[DictConfig], None]], int]


def weights(arguments: Sequence[str]) -> int:
    """safari-bench weights [list|check|fetch] [metrics.weights_dir=DIR]: the files that LPIPS, FID and KID need."""
    from safari_bench.cli.verbs import weights as files

    return files.weights(arguments)


def manifest(arguments: Sequence[str], launch: Launch) -> int:
    """safari-bench manifest [--check] FILE [key=value...]: write down, or compare, what dataset=... is made of.

    Raises:
        ConfigError: no file is named.
    """
    from safari_bench.cli.manifests import check_manifest, make_manifest

    words = [word for word in arguments if word != "--check"]
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError("safari-bench manifest takes a CSV file, then keys; e.g. ffhq.csv dataset=ffhq")
    path, differs = Path(words[0]), False

    def job(cfg: DictConfig) -> None:
        nonlocal differs
        if len(words) < len(arguments):
            differs = not check_manifest(cfg, path)
        else:
            make_manifest(cfg, path)

    return launch(words[1:], job) or int(differs)


def plan(arguments: Sequence[str]) -> int:
    """safari-bench plan [--again] [key=value...]: what cells cost, by counting calls and timing one of them."""
    from safari_bench.cli.grids import configurations
    from safari_bench.cli.planning import Plan

    found = Plan(again="--again" in arguments)
    for cfg in configurations([word for word in arguments if word not in ("-m", "--multirun", "--again")]):
        found.add(cfg)
    found.report()
    return 0


def doctor(arguments: Sequence[str]) -> int:
    """safari-bench doctor [key=value...]: what is installed, found and missing, and what can be run."""
    from safari_bench.cli.doctor import examine

    return examine(arguments)
