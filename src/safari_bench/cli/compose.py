"""A composed configuration turned into jobs for the runner."""

import json
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from safari_bench import NUMBERS, __version__, machine
from safari_bench.cli.schema import ConfigError, check, root
from safari_bench.data import Dataset
from safari_bench.ledger import SCHEMA, run_id
from safari_bench.operators import make_noise
from safari_bench.runner import Job, Task
from safari_bench.samplers import Degraded, Sampler

__all__ = ["jobs"]

_DTYPES = {"fp32": torch.float32, "fp64": torch.float64}


def jobs(cfg: DictConfig, stop: Callable[[], bool], label: str = "") -> list[Job]:
    """The cells one command asks for: the degraded input, which every reader compares with, and the method itself.

    Raises:
        ConfigError: see `schema.check`; also values that a constructor refuses.
    """
    values = check(cfg)
    dataset = _dataset(json.dumps(values["dataset"]))
    prior_name, denoiser = _prior(json.dumps(values["prior"]))
    task = _refused("task", lambda: _task(values["task"]))
    device = _device(values["compute"]["device"])
    for key, least in (("batch_size", 1), ("workers", 0), ("threads", 0)):
        if values["compute"][key] < least:
            raise ConfigError(f"compute.{key}: got {values['compute'][key]}, expected at least {least}")
    if values["compute"]["threads"]:
        torch.set_num_threads(values["compute"]["threads"])

    def job(sampler_name: str, sampler: Sampler, sampler_values: Mapping[str, Any], *, uses_prior: bool) -> Job:
        spec = {
            "dataset": dataset.describe(),
            "prior": {"name": prior_name, "sha256": denoiser.sha256} if uses_prior else {"name": "none"},
            "task": values["task"],
            "sampler": sampler_values,
            "precision": values["precision"],
            "seed": values["seed"],
            "numbers": NUMBERS,
        }
        run = {
            "schema": SCHEMA,
            "run_id": run_id(spec),
            "name": values["name"],
            "spec": spec,
            "ids": [record.id for record in dataset.records()],
            "config": values,
            "version": __version__,
            "machine": machine.describe(device, root()),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        return Job(
            dataset=dataset,
            task=task,
            sampler_name=sampler_name,
            sampler=sampler,
            prior_name=spec["prior"]["name"],
            denoiser=denoiser,
            metrics=instantiate(values["metrics"], _convert_="all"),
            seed=values["seed"],
            device=device,
            dtype=_DTYPES[values["precision"]],
            batch_size=values["compute"]["batch_size"],
            workers=values["compute"]["workers"],
            folder=Path(values["output"]) / values["name"],
            run=run,
            stop=stop,
            label=label,
        )

    arguments = {key: value for key, value in values["sampler"].items() if key != "name"}
    sampler = _refused("sampler", lambda: instantiate(arguments, _convert_="all"))
    cells = [job("degraded", Degraded(), {"name": "degraded"}, uses_prior=False)]
    if not isinstance(sampler, Degraded):
        cells.append(job(values["sampler"]["name"], sampler, values["sampler"], uses_prior=True))
    return cells


def _refused(group: str, build: Callable[[], Any]) -> Any:
    """Build something; a ValueError becomes a message that names the group it came from."""
    try:
        return build()
    except Exception as error:
        # Hydra wraps what a constructor raises; the constructor's own words are the ones to show.
        cause = error.__cause__ or error
        if isinstance(cause, ValueError):
            raise ConfigError(f"{group}: {cause}") from error
        raise


@lru_cache(maxsize=4)
def _dataset(values: str) -> Dataset:
    """Built once per process, so that a sweep reads and hashes its images once."""
    dataset: Dataset = _refused("dataset", lambda: instantiate(json.loads(values), _convert_="all"))
    return dataset


@lru_cache(maxsize=2)
def _prior(values: str) -> tuple[str, Any]:
    node = json.loads(values)
    name = node.pop("name")
    return name, _refused("prior", lambda: instantiate(node, _convert_="all"))


def _task(values: Mapping[str, Any]) -> Task:
    noise = {key: values[key] for key in ("sigma", "sigma_range", "rate", "fraction", "quality", "bits")}
    return Task(
        name=values["name"],
        operator=instantiate(values["operator"], _partial_=True, _convert_="all"),
        noise=make_noise(values["noise"], **noise),
        sigma=values["sigma"],
        sigma_range=values["sigma_range"],
    )


def _device(name: str) -> torch.device:
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
