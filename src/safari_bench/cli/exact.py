"""`safari-bench exact`: the exact study, composed from experiments/exact.yaml and the groups in conf/."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from tqdm import tqdm

from safari_bench import NUMBERS
from safari_bench.cli.compose import device_of
from safari_bench.cli.composing import composed
from safari_bench.cli.exact_schema import ExactConfig, MethodConfig, SectionConfig, load
from safari_bench.cli.schema import ConfigError, check, unknown_key
from safari_bench.exact.bound import psi_bound
from safari_bench.exact.convergence import orders
from safari_bench.exact.gaussian_scores import GaussianTruth
from safari_bench.exact.mixture_scores import MixtureTruth
from safari_bench.exact.page import render
from safari_bench.exact.plan import Method, Section, Task, Tuning
from safari_bench.exact.psi_target import psi_target
from safari_bench.exact.rows import Row, to_csv
from safari_bench.exact.small_mixture import small_mixture
from safari_bench.exact.study import collect, run, work
from safari_bench.exact.trial import Draw, Trial, from_gaussian, from_mixture
from safari_bench.fidelity import Fidelity
from safari_bench.ledger import exclusive, make_folder, write_atomic
from safari_bench.priors import gaussian, mixture_file
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.priors.mixture import MixturePrior

__all__ = ["exact", "sections"]


#: what a process of `_share` was given
_process: dict[str, Any] = {}


def exact(arguments: Sequence[str]) -> int:
    """safari-bench exact [key=value...]: compute what is missing, write the tables, the plots and exact.md.

    With compute=false the page is made from the rows, or from the CSV files where a folder ships without rows.

    Raises:
        ConfigError: a key or a name does not exist, or an argument is not key=value.
        CellBusy: another process computes this study.
    """
    config = load(arguments)
    device_of(config.device)  # said before anything is computed
    folder = Path(config.output) / config.name
    make_folder(folder)
    with exclusive(folder) if config.compute else nullcontext():
        return _exact(config, arguments, folder)


def _exact(config: ExactConfig, arguments: Sequence[str], folder: Path) -> int:
    missing = 0
    if config.compute or (folder / "rows").is_dir():
        planned = sections(config)
        if config.compute and config.processes > 1:
            _share(planned, arguments, config.processes, folder)
        elif config.compute:
            run(planned, folder)
        missing = collect(planned, folder)
    if config.compute:
        _write_theory(config, folder)
    guided = {name: "pixel" if m.sampler == "dps" else m.guidance for name, m in _guided(config).items()}
    print(render(folder, guided, missing))
    print(f"\nin {folder}: exact.md, verdicts.csv, a CSV file per table and a plot per task")
    return 0


def _write_theory(config: ExactConfig, folder: Path) -> None:
    """What needs no sampler: bound.csv, psi_target.csv and orders.csv, as far as they are asked for."""
    refined = orders(config.orders.steps, config.orders.sigma_y, config.seed)
    found = {"bound": _bounds(config), "psi_target": _targets(config), "orders": [row._asdict() for row in refined]}
    for name, rows in found.items():
        if rows:
            # the bound subtracts logarithms that nearly cancel
            write_atomic(folder / f"{name}.csv", to_csv(rows, digits=10 if name == "bound" else 6))


def _guided(config: ExactConfig) -> dict[str, MethodConfig]:
    """Methods that step along the gradient of ||psi(r)|| itself; in DPS psi is the identity."""
    return {n: m for n, m in config.methods.items() if m.sampler in ("dps", "safari") and "step_rule" not in m.set}


def _share(planned: Sequence[Section], arguments: Sequence[str], processes: int, folder: Path) -> None:
    """Every task in a process of its own, so many at a time, each with its share of the cores."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    tasks = [(i, j) for i, section in enumerate(planned) for j in range(len(section.tasks))]
    tasks.sort(key=lambda place: -work(planned[place[0]], place[1]))  # the longest first: none is left to run alone
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_prepare, initargs=(list(arguments), threads, folder)
    ) as pool:
        for _ in tqdm(pool.map(_one, tasks), total=len(tasks), unit="task", disable=None):
            pass


def _prepare(arguments: list[str], threads: int, folder: Path) -> None:
    torch.set_num_threads(threads)
    _process.update(planned=sections(load(arguments)), folder=folder)


def _one(place: tuple[int, int]) -> None:
    section = _process["planned"][place[0]]
    run([replace(section, tasks=[section.tasks[place[1]]])], _process["folder"], quiet=True)


def sections(config: ExactConfig) -> list[Section]:
    """The study as it will be run: every sampler and operator is looked up.

    Raises:
        ConfigError: an option or a key does not exist.
        HydraException: likewise.
    """
    spectrum, photos, small = gaussian.load(), mixture_file.load(), MixturePrior(small_mixture())
    planned: list[tuple[SectionConfig, GaussianPrior | MixturePrior, Draw]] = [
        *((values, spectrum, from_gaussian(spectrum)) for values in (config.gaussian, config.other, config.large)),
        (config.small_mixture, small, from_mixture(small)),
        *((values, photos, from_mixture(photos)) for values in (config.mixture, config.ambiguous)),
    ]
    planned = [plan for plan in planned if plan[0].tasks]
    used = {name for values, _, _ in planned for name in values.methods or config.methods}
    nodes = {name: _sampler(method) for name, method in config.methods.items() if name in used}
    return [_section(config, values, prior, draw, nodes) for values, prior, draw in planned]


def _section(
    config: ExactConfig,
    values: SectionConfig,
    prior: GaussianPrior | MixturePrior,
    draw: Draw,
    nodes: Mapping[str, Mapping[str, Any]],
) -> Section:
    known = isinstance(prior, GaussianPrior)
    sigma_y = config.sigma_y if values.sigma_y is None else values.sigma_y
    shape = (3, values.size, values.size)

    def task(name: str) -> Task:
        differing = dict(values.operators.get(name, {}))
        node = _operator(differing.pop("task", name), values.size, differing)
        operator = instantiate(node, _partial_=True, _convert_="all")
        trial = partial(
            Trial,
            prior=prior,
            draw=draw,
            operator=operator,
            shape=shape,
            sigma_y=sigma_y,
            seed=config.seed,
            device=config.device,
        )
        chosen = [m for m in nodes if not values.methods or m in values.methods]
        on = [m for m in chosen if not config.methods[m].tasks or name in config.methods[m].tasks]
        most = min(config.max_steps, values.max_steps)
        methods = [_method(m, config.methods[m], nodes[m], most, values.size) for m in on]
        return Task(name=name, settings=node, trial=lambda image: trial(image=image), methods=methods)

    return Section(
        name="-".join(filter(None, ("gaussian" if known else "mixture", str(values.size), values.label))),
        settings={
            "prior": prior.sha256,
            "size": values.size,
            "sigma_y": sigma_y,
            "seed": config.seed,
            "pixels": values.pixels,
            "numbers": NUMBERS,
            **({"exact_draws": values.exact_draws} if known and values.pixels else {}),
        },
        truth=partial(GaussianTruth, pixels=values.pixels, exact_draws=values.exact_draws) if known else MixtureTruth,
        criterion="w2" if known else "sliced_w",
        samples=values.samples,
        tuning_samples=values.tuning_samples,
        tuning_images=values.tuning_images,
        tasks=[task(name) for name in values.tasks],
        order=list(nodes),
    )


def _method(name: str, config: MethodConfig, node: Mapping[str, Any], most: int, size: int) -> Method:
    def build(differing: Mapping[str, Any]) -> Any:
        return instantiate({**node, **differing}, _convert_="all")

    tuning = None
    if config.tune is not None:
        if config.tune.parameter not in node:
            raise ConfigError(unknown_key(f"methods.{name}.tune.parameter={config.tune.parameter}", node))
        tuning = Tuning(
            parameter=config.tune.parameter,
            values=tuple(value * size / 64 if config.tune.with_size else value for value in config.tune.values),
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


@lru_cache(maxsize=256)
def _composed(*overrides: str) -> dict[str, Any]:
    return check(composed(["settings=paper", *overrides]))


def _psi(config: ExactConfig) -> Iterator[tuple[dict[str, str], Trial, Fidelity]]:
    """Every task and psi of the theorem's part: what it is called, a measurement and psi."""
    prior, size = gaussian.load(), config.bound.size
    for task in config.bound.tasks:
        trial = Trial(
            prior=prior,
            draw=from_gaussian(prior),
            operator=instantiate(_operator(task, size, {}), _partial_=True, _convert_="all"),
            shape=(3, size, size),
            sigma_y=config.sigma_y,
            seed=config.seed,
            image="reported",
        )
        for guidance in config.bound.guidance:
            fidelity = instantiate(_composed(f"guidance={guidance}")["guidance"], _convert_="all")
            yield {"task": task, "psi": guidance}, trial, fidelity


def _bounds(config: ExactConfig) -> list[Row]:
    values = config.bound
    return [
        head | bound._asdict()
        for gamma in values.gammas
        for head, trial, fidelity in _psi(config)
        for bound in psi_bound(trial, fidelity, values.times, values.draws, gamma)
    ]


def _targets(config: ExactConfig) -> list[Row]:
    return [head | target._asdict() for head, trial, fidelity in _psi(config) for target in psi_target(trial, fidelity)]
