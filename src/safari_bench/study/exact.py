"""The exact study: every sampler on every task, scored against a posterior that is known, point by point.

A point is one (task, method, steps). Its row is written as soon as it is there and found again by a key of everything
that can change its numbers, so that a study that was stopped goes on where it was.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from safari_bench.diffusion import NotFinite
from safari_bench.ledger import run_id
from safari_bench.operators import Unsupported
from safari_bench.samplers import Sampler
from safari_bench.samplers.contract import Pairs
from safari_bench.shapes import Image
from safari_bench.study.rows import Row, Rows
from safari_bench.study.trial import Trial

__all__ = ["EXACT", "Method", "Section", "Task", "Truth", "Tuning", "points", "run", "tunings"]

#: the name of the rows of exact draws, which show what a perfect sampler would score
EXACT = "exact draws"
#: columns that tell two points apart, and two tried values
_POINT = ("method", "steps")
_TRIED = (*_POINT, "value", "image")
#: a draw with a pixel beyond this is lost: images lie in about [-1, 1]
_LOST = 1000.0


@runtime_checkable
class Truth(Protocol):
    """What is known of one trial; see `GaussianTruth` and `MixtureTruth`."""

    #: whether draws come in mirrored pairs
    mirrored: bool

    def draws(self, samples: int) -> Image:
        """Exact draws from the posterior."""
        ...

    def score(self, x_hat: Image) -> dict[str, float | str]:
        """Scores of a sampler's draws."""
        ...


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A value chosen on another draw of x and y than the one reported.

    Args:
        parameter: of the sampler.
        values: what is tried.
        up_to: most steps it is tried at; with more steps N the choice is scaled by (up_to / N)^exponent.
    """

    parameter: str
    values: tuple[float, ...]
    up_to: int = 100
    exponent: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Method:
    """One line of a plot.

    Args:
        name: as it is shown.
        settings: the sampler's own, for the key of its rows.
        build: (settings that differ) -> the sampler.
        steps: what `steps` is set to, one point each.
    """

    name: str
    settings: Mapping[str, Any]
    build: Callable[[Mapping[str, Any]], Sampler]
    steps: tuple[int, ...]
    tuning: Tuning | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One degradation and what is run on it.

    Args:
        trial: name of the image -> what is measured.
    """

    name: str
    settings: Mapping[str, Any]
    trial: Callable[[str], Trial]
    methods: Sequence[Method]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Tasks that share a prior and an image size.

    Args:
        name: e.g. "gaussian-64".
        title: what a reader calls it.
        settings: what enters every key besides the task's and the method's.
        truth: trial -> its scores.
        criterion: the score that values are tuned by: the least is the best.
        samples: draws per point.
        tuning_samples: draws per value and image that is tried.
        tuning_images: draws of x and y that values are tried on; the worst counts.
        order: names of methods as they are listed; what is not named comes last.
    """

    name: str
    title: str
    settings: Mapping[str, Any]
    truth: Callable[[Trial], Truth]
    criterion: str
    samples: int
    tuning_samples: int
    tuning_images: int
    tasks: Sequence[Task]
    order: Sequence[str] = ()


def run(sections: Sequence[Section], folder: Path) -> None:
    """Compute every point that is not there yet. Rows go to folder/rows, one file per section and task.

    Raises:
        LedgerError: a row cannot be written.
    """
    todo = [(section, task) for section in sections for task in section.tasks]
    total = sum(_size(task, section.tuning_images) for section, task in todo)
    with tqdm(total=total, unit="step", disable=None, smoothing=0.05) as bar:
        for section, task in todo:
            _Runner(section, task, folder, bar).run()


def points(section: Section, folder: Path) -> list[Row]:
    """Every row of a section, in the order of its tasks and methods."""
    return _read(section, folder, "", _POINT)


def tunings(section: Section, folder: Path) -> list[Row]:
    """Every value that was tried in a section, and what it scored."""
    return _read(section, folder, "-tuning", _TRIED)


def _read(section: Section, folder: Path, suffix: str, columns: Sequence[str]) -> list[Row]:
    names = [EXACT, *section.order]
    found: list[Row] = []
    for task in section.tasks:
        rows = Rows(_path(folder, section, task, suffix), columns).rows
        found += sorted(rows, key=lambda row: (_place(row["method"], names), row["steps"]))
    return found


def _place(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def _path(folder: Path, section: Section, task: Task, suffix: str = "") -> Path:
    return folder / "rows" / f"{section.name}-{task.name}{suffix}.csv"


def _size(task: Task, images: int) -> int:
    """Steps of a task, which the progress bar counts."""
    total = 0
    for m in task.methods:
        total += sum(m.steps)
        if m.tuning is not None:
            total += images * len(m.tuning.values) * sum({min(n, m.tuning.up_to) for n in m.steps})
    return total


class _Runner:
    """The points of one task."""

    def __init__(self, section: Section, task: Task, folder: Path, bar: "tqdm[Any]") -> None:
        self.section, self.task, self.bar = section, task, bar
        self.rows = Rows(_path(folder, section, task), _POINT)
        self.tried = Rows(_path(folder, section, task, "-tuning"), _TRIED)
        self._known: dict[str, tuple[Trial, Truth]] = {}

    def run(self) -> None:
        self._exact_draws()
        for method in self.task.methods:
            for steps in method.steps:
                chosen = self._tuned(method, steps)
                self._point(self.rows, method, {"steps": steps, **chosen}, "reported", self.section.samples)

    def _exact_draws(self) -> None:
        samples = self.section.samples
        identity = self._identity(EXACT, {"steps": 0}, {}, "reported", samples)
        if self.rows.get(identity["key"]) is None:
            _, truth = self._about("reported")
            self.rows.put(identity | {"status": "ok", "reason": ""} | truth.score(truth.draws(samples)))

    def _tuned(self, method: Method, steps: int) -> dict[str, float]:
        """The setting whose worst score on the other images is best, scaled to so many steps."""
        tuning = method.tuning
        if tuning is None:
            return {}
        n, scores = min(steps, tuning.up_to), {}
        for value in tuning.values:
            differing = {"steps": n, tuning.parameter: value}
            images = [f"tuning {i}" for i in range(self.section.tuning_images)]
            rows = [self._point(self.tried, method, differing, i, self.section.tuning_samples) for i in images]
            scores[value] = max(row[self.section.criterion] if row["status"] == "ok" else math.inf for row in rows)
        best = min(scores, key=lambda value: (scores[value], value))  # the smallest if none worked
        return {tuning.parameter: float(f"{best * (n / steps) ** tuning.exponent:.4g}")}

    def _point(self, rows: Rows, method: Method, differing: Mapping[str, Any], image: str, samples: int) -> Row:
        """The row of one point, from the file or computed."""
        identity = self._identity(method.name, differing, method.settings, image, samples)
        row, end = rows.get(identity["key"]), self.bar.n + differing["steps"]
        if row is None:
            self.bar.set_description(f"{self.section.name} {self.task.name} {method.name} {differing['steps']}")
            row = identity | self._measured(method.build(differing), image, samples)
            rows.put(row)
        self.bar.update(end - self.bar.n)
        return row

    def _measured(self, sampler: Sampler, image: str, samples: int) -> Row:
        trial, truth = self._about(image)
        try:
            run = trial.restore(sampler, samples, self._progress, mirrored=truth.mirrored)
        except Unsupported as error:
            return {"status": "unsupported", "reason": str(error)}
        except NotFinite as error:
            return {"status": "diverged", "reason": str(error)}
        cost = {"nfe": run.nfe, "n_backward": run.n_backward, "seconds": run.seconds}
        largest = float(run.x_hat.abs().max())
        if largest > _LOST:
            return {"status": "diverged", "reason": f"a pixel of {largest:.1e}", **cost}
        return {"status": "ok", "reason": "", **cost, **truth.score(run.x_hat)}

    def _about(self, image: str) -> tuple[Trial, Truth]:
        if image not in self._known:
            self.bar.set_description(f"{self.section.name} {self.task.name} exact posterior")
            trial = self.task.trial(image)
            self._known[image] = trial, self.section.truth(trial)
        return self._known[image]

    def _identity(
        self, name: str, differing: Mapping[str, Any], settings: Mapping[str, Any], image: str, samples: int
    ) -> Row:
        spec = {
            "section": self.section.settings,
            "task": {"name": self.task.name, **self.task.settings},
            "method": {**settings, **differing},
            "image": image,
            "samples": samples,
        }
        value = " ".join(f"{k}={v:g}" for k, v in differing.items() if k != "steps")
        steps = int(differing["steps"])
        head = {"section": self.section.name, "task": self.task.name, "method": name, "steps": steps, "value": value}
        return {**head, "image": image, "samples": samples, "key": run_id(spec)}

    def _progress(self, pairs: Pairs) -> Pairs:
        for pair in pairs:
            yield pair
            self.bar.update(1)
