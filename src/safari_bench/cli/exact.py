"""`safari-bench exact`: the exact study, composed from experiments/exact.yaml and the groups in conf/."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import MISSING, OmegaConf

from safari_bench import NUMBERS
from safari_bench.cli.schema import ConfigError, check, register, root, unknown_key
from safari_bench.ledger import make_folder
from safari_bench.priors import gaussian, mixture_file
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.priors.mixture import MixturePrior
from safari_bench.study.bound import psi_bound
from safari_bench.study.exact import Method, Section, Task, Tuning, run
from safari_bench.study.gaussian_scores import GaussianTruth
from safari_bench.study.mixture_scores import MixtureTruth
from safari_bench.study.report import write, write_bound
from safari_bench.study.rows import Row
from safari_bench.study.small_mixture import small_mixture
from safari_bench.study.trial import Draw, Trial, from_gaussian, from_mixture

__all__ = ["ExactConfig", "exact", "load", "sections"]


@dataclass
class TuneConfig:
    """See `study.exact.Tuning`."""

    parameter: str = MISSING
    values: list[float] = MISSING
    up_to: int = 100
    exponent: float = 0.0


@dataclass
class MethodConfig:
    """A sampler of conf/sampler, what is set differently, and where it runs: no task named is all.

    One step makes so many `calls` of the prior; max_steps counts calls.
    """

    sampler: str = MISSING
    guidance: str = "full"
    set: dict[str, Any] = field(default_factory=dict)
    steps: list[int] = MISSING
    calls: int = 1
    tasks: list[str] = field(default_factory=list)
    tune: TuneConfig | None = None


@dataclass
class SectionConfig:
    """One prior at one size; no method named is all, no task named is none."""

    size: int = MISSING
    tasks: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    operators: dict[str, dict[str, Any]] = field(default_factory=dict)
    max_steps: int = 1000
    samples: int = 16
    tuning_samples: int = 4
    tuning_images: int = 2
    pixels: int | None = None


@dataclass
class BoundConfig:
    """See `study.bound.psi_bound`."""

    size: int = 16
    tasks: list[str] = field(default_factory=list)
    guidance: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    draws: int = 16
    gamma: float | None = None


@dataclass
class ExactConfig:
    """The root of experiments/exact.yaml."""

    name: str = "exact"
    output: str = "results"
    seed: int = 0
    sigma_y: float = 0.05
    max_steps: int = 1000
    threads: int = 0
    gaussian: SectionConfig = field(default_factory=SectionConfig)
    large: SectionConfig = field(default_factory=SectionConfig)
    small_mixture: SectionConfig = field(default_factory=SectionConfig)
    mixture: SectionConfig = field(default_factory=SectionConfig)
    bound: BoundConfig = field(default_factory=BoundConfig)
    methods: dict[str, MethodConfig] = field(default_factory=dict)


def exact(arguments: Sequence[str]) -> int:
    """safari-bench exact [key=value...]: compute what is missing, write the tables and plots, print the overview.

    Raises:
        ConfigError: a key or a name does not exist, or an argument is not key=value.
    """
    config = load(arguments)
    if config.threads:
        torch.set_num_threads(config.threads)
    folder = Path(config.output) / config.name
    make_folder(folder)
    planned = sections(config)
    run(planned, folder)
    print(write(planned, folder))
    if config.bound.tasks:
        write_bound(_bounds(config), folder)
    print(f"\nin {folder}: exact.md, exact.csv, mixture.csv, tuning.csv, bound.md, bound.csv and a plot per task")
    return 0


def load(arguments: Sequence[str] = ()) -> ExactConfig:
    """experiments/exact.yaml with what the command line says differently, checked against the schema.

    Raises:
        ConfigError: an argument is not key=value, or a method that a section names does not exist.
    """
    bare = [word for word in arguments if "=" not in word]
    if bare:
        raise ConfigError(f"safari-bench exact takes key=value, got {bare[0]}; e.g. max_steps=30")
    file = OmegaConf.load(root() / "experiments" / "exact.yaml")
    merged = OmegaConf.merge(OmegaConf.structured(ExactConfig), file, OmegaConf.from_dotlist(list(arguments)))
    config: Any = OmegaConf.to_object(merged)
    for section in (config.gaussian, config.large, config.small_mixture, config.mixture):
        for name in section.methods:
            if name not in config.methods:
                raise ConfigError(unknown_key(f"methods.{name}", config.methods))
    return config  # type: ignore[no-any-return]


def sections(config: ExactConfig) -> list[Section]:
    """The study as it will be run: every sampler and operator is looked up.

    Raises:
        ConfigError: an option or a key does not exist.
        HydraException: likewise.
    """
    spectrum, photos, small = gaussian.load(), mixture_file.load(), MixturePrior(small_mixture())
    planned: list[tuple[str, SectionConfig, GaussianPrior | MixturePrior, Draw]] = [
        ("Gaussian prior", config.gaussian, spectrum, from_gaussian(spectrum)),
        ("Gaussian prior", config.large, spectrum, from_gaussian(spectrum)),
        ("Mixture of three textures", config.small_mixture, small, from_mixture(small)),
        ("Mixture of photographs", config.mixture, photos, from_mixture(photos)),
    ]
    planned = [plan for plan in planned if plan[1].tasks]
    used = {name for _, values, _, _ in planned for name in values.methods or config.methods}
    nodes = {name: _sampler(method) for name, method in config.methods.items() if name in used}
    return [_section(config, title, values, prior, draw, nodes) for title, values, prior, draw in planned]


def _section(
    config: ExactConfig,
    title: str,
    values: SectionConfig,
    prior: GaussianPrior | MixturePrior,
    draw: Draw,
    nodes: Mapping[str, Mapping[str, Any]],
) -> Section:
    known = isinstance(prior, GaussianPrior)
    shape = (3, values.size, values.size)

    def task(name: str) -> Task:
        node = _operator(name, values.size, values.operators.get(name, {}))
        operator = instantiate(node, _partial_=True, _convert_="all")
        trial = partial(
            Trial, prior=prior, draw=draw, operator=operator, shape=shape, sigma_y=config.sigma_y, seed=config.seed
        )
        chosen = [m for m in nodes if not values.methods or m in values.methods]
        on = [m for m in chosen if not config.methods[m].tasks or name in config.methods[m].tasks]
        most = min(config.max_steps, values.max_steps)
        methods = [_method(m, config.methods[m], nodes[m], most) for m in on]
        return Task(name=name, settings=node, trial=lambda image: trial(image=image), methods=methods)

    return Section(
        name=f"{'gaussian' if known else 'mixture'}-{values.size}",
        title=f"{title}, {values.size} px",
        settings={
            "prior": prior.sha256,
            "size": values.size,
            "sigma_y": config.sigma_y,
            "seed": config.seed,
            "pixels": values.pixels,
            "numbers": NUMBERS,
        },
        truth=partial(GaussianTruth, pixels=values.pixels) if known else MixtureTruth,
        criterion="w2" if known else "sliced_w",
        samples=values.samples,
        tuning_samples=values.tuning_samples,
        tuning_images=values.tuning_images,
        tasks=[task(name) for name in values.tasks],
        order=list(nodes),
    )


def _method(name: str, config: MethodConfig, node: Mapping[str, Any], most: int) -> Method:
    def build(differing: Mapping[str, Any]) -> Any:
        return instantiate({**node, **differing}, _convert_="all")

    tuning = None
    if config.tune is not None:
        if config.tune.parameter not in node:
            raise ConfigError(unknown_key(f"methods.{name}.tune.parameter={config.tune.parameter}", node))
        tuning = Tuning(
            parameter=config.tune.parameter,
            values=tuple(config.tune.values),
            up_to=config.tune.up_to,
            exponent=config.tune.exponent,
        )
    steps = tuple(n for n in config.steps if n * config.calls <= most)
    return Method(name=name, settings=node, build=build, steps=steps, tuning=tuning)


def _sampler(method: MethodConfig) -> Mapping[str, Any]:
    """The sampler's node with the method's settings, from its preset: conf/tuned is for other priors and scores."""
    differing = [f"sampler.{key}={json.dumps(value)}" for key, value in method.set.items()]
    values = _composed(f"sampler={method.sampler}", f"guidance={method.guidance}", *differing)["sampler"]
    return {key: value for key, value in values.items() if key != "name"}


def _operator(task: str, size: int, differing: Mapping[str, Any]) -> dict[str, Any]:
    changes = [f"task.operator.{key}={json.dumps(value)}" for key, value in differing.items()]
    node: dict[str, Any] = _composed(f"task={task}", f"dataset.size={size}", *changes)["task"]["operator"]
    return node


def _composed(*overrides: str) -> dict[str, Any]:
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
        return check(hydra.compose("config", overrides=["~tuned", *overrides]))


def _bounds(config: ExactConfig) -> list[Row]:
    prior, shape = gaussian.load(), (3, config.bound.size, config.bound.size)
    rows: list[Row] = []
    for task in config.bound.tasks:
        node = _operator(task, config.bound.size, {})
        trial = Trial(
            prior=prior,
            draw=from_gaussian(prior),
            operator=instantiate(node, _partial_=True, _convert_="all"),
            shape=shape,
            sigma_y=config.sigma_y,
            seed=config.seed,
            image="reported",
        )
        for guidance in config.bound.guidance:
            fidelity = instantiate(_composed(f"guidance={guidance}")["guidance"], _convert_="all")
            found = psi_bound(trial, fidelity, config.bound.times, config.bound.draws, config.bound.gamma)
            rows += [{"task": task, "psi": guidance, **bound._asdict()} for bound in found]
    return rows
