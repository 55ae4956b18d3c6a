"""`safari-bench doctor`: one page on what this machine has, lacks and can run."""

import importlib.util
import json
import platform
from collections.abc import Iterable, Mapping, Sequence, Sized
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from safari_bench import __version__, machine
from safari_bench.cli.compose import dataset_of, device_of, prior_of
from safari_bench.cli.composing import composed
from safari_bench.cli.schema import ConfigError, check, root
from safari_bench.data import DataError, TooFew
from safari_bench.metrics.weights import BACKBONES, WeightsError, find
from safari_bench.priors.unet import PriorError, UNetPrior
from safari_bench.runner import time_calls

__all__ = ["examine"]

_OPTIONAL = {"lpips": "LPIPS", "torch_fidelity": "FID, KID", "wandb": "logger=wandb"}
_SIDE = 64  # pixels, for priors that take any size
_WEIGHTS = "metrics.weights_dir="


def examine(words: Sequence[str]) -> int:
    """Print the page. What the words name is examined as they say. Returns 0: what is missing is no error.

    Raises:
        HydraException: a word makes no configuration.
    """
    if any(word.startswith(_WEIGHTS) for word in words) and not any(word.startswith("metrics=") for word in words):
        words = ["metrics=perceptual", *words]  # the scores that have weights, as for `safari-bench weights`
    values = check(composed(words))
    device = device_of(values["compute"]["device"])
    print(f"safari_bench {__version__}, python {platform.python_version()}, torch {torch.__version__}")
    _machine(device)
    _section("packages", (_package(name, use) for name, use in _OPTIONAL.items()))
    _section("weights", (_backbone(name, values["metrics"].get("weights_dir")) for name in BACKBONES))
    priors = {name: _prior(name, words, device) for name in _options("prior")}
    _section("priors", (f"{name}: {said}" for name, (_, said) in priors.items()))
    datasets = {name: _dataset(name, words) for name in _options("dataset")}
    _section("datasets", (f"{name}: {said}" for name, (_, said) in datasets.items()))
    _section("overlays", _overlays({n for n, (ok, _) in priors.items() if ok}, words))
    return 0


def _section(title: str, lines: Iterable[str]) -> None:
    print(f"\n{title}")
    for line in lines:
        print(f"  {line}", flush=True)


def _machine(device: torch.device) -> None:
    facts = machine.describe(device, root())
    bf16 = "has bfloat16" if machine.has_bf16(device) else "no bfloat16"
    print(f"device {facts['device']} ({bf16}), {machine.free_mib(device):.0f} MiB free; processor {facts['processor']}")


def _package(name: str, use: str) -> str:
    if importlib.util.find_spec(name) is None:
        return f"{name.replace('_', '-')} absent: no {use}"
    try:
        return f"{name.replace('_', '-')} {version(name.replace('_', '-'))}: {use}"
    except PackageNotFoundError:
        return f"{name.replace('_', '-')} of unknown version: {use}"


def _backbone(name: str, weights_dir: str | None) -> str:
    backbone = BACKBONES[name]
    try:
        found = find(backbone, weights_dir)
    except WeightsError as error:
        return f"{backbone.scores}: not usable: {error}"
    return f"{backbone.scores}: {found.path}" if found else f"{backbone.scores}: absent; safari-bench weights fetch"


def _options(group: str) -> list[str]:
    return sorted(path.stem for path in (root() / "conf" / group).glob("*.yaml"))


def _node(group: str, name: str, words: Sequence[str]) -> dict[str, Any]:
    own = [word for word in words if word.startswith(f"{group}.")] if f"{group}={name}" in words else []
    return dict(check(composed([f"{group}={name}", *own]))[group])


def _prior(name: str, words: Sequence[str], device: torch.device) -> tuple[bool, str]:
    try:
        node = _node("prior", name, words)
        _, prior = prior_of(json.dumps(node))
    except (ConfigError, PriorError, HydraException, OmegaConfBaseException) as error:
        return False, f"missing: {_first_line(error)}"
    side = prior.network.side if isinstance(prior, UNetPrior) else _SIDE
    timing = time_calls(prior, (3, side, side), 1, device, torch.float32)
    whole = timing.forward + timing.backward
    return True, f"found; one image of {side} px takes {timing.forward:.3g} s a call, {whole:.3g} s with its gradient"


def _dataset(name: str, words: Sequence[str], n: int | None = None) -> tuple[bool, str]:
    """Whether all of its images are there, or the first n where that is given; only their files are looked for."""
    try:
        node = _node("dataset", name, words)
        dataset = dataset_of({**node, **({"n": n} if n and "n" in node else {})})
    except (ConfigError, DataError, HydraException, OmegaConfBaseException) as error:
        few = _few(error)
        if few is None:
            return False, f"missing: {_first_line(error)}"
        return False, f"incomplete, {few.got} of the {few.wanted} pictures; {_first_line(few)}"
    count = f"{len(dataset)} pictures" if isinstance(dataset, Sized) else dataset.name
    return True, f"found; {count}, {dataset.image_shape[1]} x {dataset.image_shape[2]} px"


def _few(error: BaseException | None) -> TooFew | None:
    while error is not None and not isinstance(error, TooFew):
        error = error.__cause__  # Hydra wraps what a constructor raises
    return error


def _overlays(priors: set[str], words: Sequence[str]) -> Iterable[str]:
    complete = cache(lambda name, n: _dataset(name, words, n)[0])  # a folder of 70 000 files takes a moment to list
    for path in sorted((root() / "experiments").glob("*.yaml")):
        overlay = _plain(path)
        wanted, n = _wanted(overlay), (overlay.get("dataset") or {}).get("n")
        # as many images as the overlay takes, unless the words say otherwise, which come last in a run too
        own = None if any(word.startswith("dataset.n=") for word in words) else n
        datasets = {name for name in wanted["dataset"] if not complete(name, own)}
        lacking = sorted((wanted["prior"] - priors) | datasets)
        yield f"{path.stem}: {'can be run' if not lacking else 'lacks ' + ', '.join(lacking)}"


def _wanted(overlay: Mapping[str, Any]) -> dict[str, set[str]]:
    """Names of priors and datasets that an overlay selects or sweeps over."""
    sweep = ((overlay.get("hydra") or {}).get("sweeper") or {}).get("params") or {}
    chosen = _defaults(_plain(root() / "conf" / "config.yaml")) | _defaults(overlay)
    found = {group: set(str(sweep.get(group, chosen[group])).split(",")) for group in ("prior", "dataset")}
    if any("${prior}" in name for name in found["dataset"]):
        found["dataset"] = {name.removesuffix("256") for name in found["prior"]}
    return found


def _plain(path: Path) -> dict[str, Any]:
    """A configuration file as it is written, with nothing filled in."""
    values: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return dict(values)


def _defaults(config: Mapping[str, Any]) -> dict[str, str]:
    """Group -> option, of a defaults list."""
    entries = [entry for entry in config.get("defaults") or [] if not isinstance(entry, str)]
    return {str(key).removeprefix("override /"): str(value) for entry in entries for key, value in entry.items()}


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
