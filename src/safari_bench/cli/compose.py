"""A composed configuration turned into jobs for the runner."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from safari_bench import NUMBERS, __version__, machine
from safari_bench.cli import settings
from safari_bench.cli.notes import notes
from safari_bench.cli.precision import set_layout, set_precision
from safari_bench.cli.schema import ConfigError, check, checked_loggers, root
from safari_bench.cli.tasks import task_of
from safari_bench.data import Dataset
from safari_bench.ledger import run_id
from safari_bench.loggers import LoggerError
from safari_bench.metrics import Suite
from safari_bench.priors.unet import PriorError
from safari_bench.runner import Job, Logger
from safari_bench.samplers import Degraded, Sampler

__all__ = ["dataset_of", "device_of", "jobs", "limit", "loggers_of", "prior_of", "refused", "sampler_of", "suite_of"]


def jobs(cfg: DictConfig, stop: Callable[[], bool], label: str = "") -> list[Job]:
    """The cells one command asks for: the degraded input, which every reader compares with, and the method itself.

    Raises:
        ConfigError: see `schema.check`; also values that a constructor refuses.
        DataError: the dataset cannot be read.
    """
    values = check(cfg)
    _say(settings.said(values))
    prior_name, denoiser = prior_of(json.dumps(values["prior"]))
    limit(values["compute"])
    device = device_of(values["compute"]["device"])
    set_precision(denoiser, values["precision"], device)
    set_layout(denoiser, values["compute"])
    sampler = sampler_of(values["sampler"])
    refused("sampler", lambda: sampler.fits(denoiser.schedule))
    dataset = dataset_of(values["dataset"])
    shared: dict[str, Any] = dict(
        dataset=dataset,
        task=refused("task", lambda: task_of(values["task"], dataset.image_shape)),
        denoiser=denoiser,
        metrics=suite_of(values["metrics"]),
        seed=values["seed"],
        device=device,
        dtype=torch.float64 if values["precision"] == "fp64" else torch.float32,
        batch_size=values["compute"]["batch_size"],
        workers=values["compute"]["workers"],
        folder=Path(values["output"]) / values["name"],
        stop=stop,
        label=label,
        loggers=_loggers(json.dumps(values["logger"])),
    )
    for line in notes(values):
        _say(line)

    def job(name: str, method: Sampler, method_values: Mapping[str, Any], prior: Mapping[str, Any]) -> Job:
        spec = {
            "dataset": shared["dataset"].describe(),
            "prior": prior,
            "task": _with_files(values["task"]),
            "sampler": method_values,
            "precision": _precision(values["precision"], prior),
            "seed": values["seed"],
            "numbers": NUMBERS,
        }
        run = {
            **_run(spec, values, device),
            "settings": settings.applied(values),
            "backbones": shared["metrics"].describe(),
        }
        return Job(sampler_name=name, sampler=method, prior_name=str(prior["name"]), run=run, **shared)

    cells = [job("degraded", Degraded(), {"name": "degraded"}, {"name": "none"})]
    if not isinstance(sampler, Degraded):
        if sampler.uses_prior and hasattr(denoiser, "check"):  # a prior of images of one size
            refused("prior", lambda: denoiser.check(shared["dataset"].image_shape))
        identity = {"name": prior_name, "sha256": denoiser.sha256, **getattr(denoiser, "settings", {})}
        prior = identity if sampler.uses_prior else {"name": "none"}
        cells.append(job(values["sampler"]["name"], sampler, values["sampler"], prior))
    return cells


def _precision(asked: str, prior: Mapping[str, Any]) -> str:
    """What a cell is computed in: but for fp64 it is the network's, and a method without one gets its fp32 cell."""
    return "fp32" if prior["name"] == "none" and asked != "fp64" else asked


def _with_files(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task with the digests of the files that its operator reads: another mask of that name is another cell."""
    operator = task["operator"]
    files = {key: Path(str(operator[key])) for key in ("mask", "kernel") if operator.get(key)}
    digests = {f"{key}_sha256": sha256(path.read_bytes()).hexdigest() for key, path in files.items() if path.is_file()}
    return {**task, "operator": {**operator, **digests}}


def _run(spec: Mapping[str, Any], values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """What run.json says beyond the image ids: what was asked for, by what code, where and when."""
    return {
        "run_id": run_id(spec),
        "name": values["name"],
        "spec": spec,
        "config": values,
        "version": __version__,
        "machine": _machine(device),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@lru_cache(maxsize=4)
def _machine(device: torch.device) -> dict[str, Any]:
    return machine.describe(device, root())


def limit(compute: Mapping[str, Any]) -> None:
    """Refuse counts that are too small or too large, and set the number of threads."""
    for key, most in (("batch_size", 100_000), ("workers", 1000), ("threads", 1000)):
        if not 0 <= compute[key] <= most:
            raise ConfigError(f"compute.{key}: got {compute[key]}, expected a whole number from 0 to {most}")
    if compute["threads"]:
        torch.set_num_threads(compute["threads"])


def refused(group: str, build: Callable[[], Any]) -> Any:
    """Build something; a ValueError becomes a message that names the group it came from."""
    try:
        return build()
    except Exception as error:
        # Hydra wraps what a constructor raises; the constructor's own words are the ones to show.
        cause = error.__cause__ or error
        if isinstance(cause, TypeError | ValueError):
            raise ConfigError(f"{group}: {cause}") from error
        if isinstance(cause, PriorError | LoggerError):
            raise cause from error
        raise


def sampler_of(node: Mapping[str, Any]) -> Sampler:
    """The method of a node.

    Raises:
        ConfigError: a value is refused, or the class is no Sampler.
    """
    arguments = {key: value for key, value in node.items() if key != "name"}
    sampler = refused("sampler", lambda: instantiate(arguments, _convert_="all"))
    if not isinstance(sampler, Sampler):
        raise ConfigError(
            f"sampler._target_: {arguments['_target_']} makes a {type(sampler).__name__}, expected a Sampler; derive "
            "its class from safari_bench.samplers.Sampler"
        )
    return sampler


def dataset_of(node: Mapping[str, Any]) -> Dataset:
    """The dataset of a node; the same object for the same node, whose images are then read and hashed once."""
    return _dataset(json.dumps(node))


@lru_cache(maxsize=4)
def _dataset(values: str) -> Dataset:
    dataset: Dataset = refused("dataset", lambda: instantiate(json.loads(values), _convert_="all"))
    return dataset


def loggers_of(cfg: DictConfig) -> tuple[Logger, ...]:
    """The loggers a configuration asks for.

    Raises:
        ConfigError: see `schema.check`.
        LoggerError: one of them cannot work here.
    """
    return _loggers(json.dumps(checked_loggers(OmegaConf.to_container(cfg.logger, resolve=True))))


@lru_cache(maxsize=2)
def _loggers(values: str) -> tuple[Logger, ...]:
    """Built once per process: whether they can work is found out before anything is sampled."""
    nodes = json.loads(values).values()
    return tuple(refused("logger", lambda: [instantiate(node, _convert_="all") for node in nodes]))


def prior_of(values: str) -> tuple[str, Any]:
    """Name and Denoiser of a prior node, given as JSON. Says on stderr which weights these are.

    Raises:
        ConfigError, PriorError: it cannot be made or loaded; told again, without another look at the file, to every job
            that asks.
    """
    found = _prior_or_reason(values)
    if isinstance(found, Exception):
        raise found
    return found


@lru_cache(maxsize=2)  # of failures too: a sweep would hash gigabytes once a job
def _prior_or_reason(values: str) -> tuple[str, Any] | ConfigError | PriorError:
    node = json.loads(values)
    name = node.pop("name")
    try:
        prior = refused("prior", lambda: instantiate(node, _convert_="all"))
    except (ConfigError, PriorError) as error:
        return error
    if node.get("checkpoint"):
        _say(f"prior {name}: {node['checkpoint']}, sha256 {prior.sha256}")
    return name, prior


def suite_of(node: Mapping[str, Any]) -> Suite:
    """The scores of a metrics node. Says on stderr, once per process, which of them lack their weights.

    Raises:
        ConfigError: a value is refused, or a file of weights is not the published one.
    """
    suite: Suite = refused("metrics", lambda: instantiate(node, _convert_="all"))
    for line in suite.notices:
        _say(line)
    return suite


@cache
def _say(line: str) -> None:
    print(line, file=sys.stderr)


def device_of(name: str) -> torch.device:
    """The device that compute.device names.

    Raises:
        ConfigError: this machine cannot use it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"compute.device: got {name}, which this machine cannot use ({error}); try auto or cpu"
        ) from error
    return device
