"""The exact study: every sampler on every task, scored against a posterior that is known, point by point.

A point is one (task, method, steps). Its row is written as soon as it is there and found again by a key of everything
that can change its numbers, so that a study that was stopped goes on where it was.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from safari_bench.diffusion import NotFinite
from safari_bench.exact.plan import Method, Section, Task, Truth
from safari_bench.exact.rows import Row, Rows, to_csv
from safari_bench.exact.trial import Trial
from safari_bench.ledger import run_id, write_atomic
from safari_bench.operators import Unsupported
from safari_bench.samplers import Sampler
from safari_bench.samplers.contract import Pairs

__all__ = ["EXACT", "collect", "planned_points", "points", "run", "tunings", "work"]

#: the name of the rows of exact draws, which show what a perfect sampler would score
EXACT = "exact draws"
#: columns that tell two points apart, and two tried values
_POINT = ("method", "steps")
_TRIED = (*_POINT, "value", "image")
#: a draw with a pixel beyond this is lost: images lie in about [-1, 1]
_LOST = 1000.0


def run(sections: Sequence[Section], folder: Path, *, quiet: bool = False) -> None:
    """Compute every point that is not there yet. Rows go to folder/rows, one file per section and task.

    Args:
        quiet: show no progress bar.
    Raises:
        LedgerError: a row cannot be written.
    """
    todo = [(section, task) for section in sections for task in section.tasks]
    total = sum(_size(task, section.tuning_images) for section, task in todo)
    with tqdm(total=total, unit="step", disable=True if quiet else None, smoothing=0.05) as bar:
        for section, task in todo:
            _Runner(section, task, folder, bar).run()


def collect(sections: Sequence[Section], folder: Path) -> int:
    """Gather the rows of all tasks in exact.csv, mixture.csv and tuning.csv; returns how many points are missing.

    Raises:
        LedgerError: a file cannot be written.
    """
    found = [(section, points(section, folder)) for section in sections]
    for name, rows in (
        ("exact", [row for section, of in found if not section.mixture for row in of]),
        ("mixture", [row for section, of in found if section.mixture for row in of]),
        ("tuning", [row for section in sections for row in tunings(section, folder)]),
    ):
        if rows:
            write_atomic(folder / f"{name}.csv", to_csv(rows))
    return sum(planned_points(section) - len(of) for section, of in found)


def points(section: Section, folder: Path) -> list[Row]:
    """Every row of a section that belongs to it as it is planned, in the order of its tasks and methods."""
    found: list[Row] = []
    for task in section.tasks:
        planned = {(EXACT, 0), *((m.name, steps) for m in task.methods for steps in m.steps)}
        rows = Rows(_path(folder, section, task), _POINT).rows
        kept = [row for row in rows if (row["method"], row["steps"]) in planned and row["samples"] == section.samples]
        found += _in_order(section, kept)
    return found


def planned_points(section: Section) -> int:
    """How many rows `points` gives when all is computed."""
    return sum(1 + sum(len(m.steps) for m in task.methods) for task in section.tasks)


def tunings(section: Section, folder: Path) -> list[Row]:
    """Every value that was tried in a section, and what it scored."""
    images, found = {f"tuning {i}" for i in range(section.tuning_images)}, []
    for task in section.tasks:
        methods = {m.name for m in task.methods if m.tuning}
        rows = Rows(_path(folder, section, task, "-tuning"), _TRIED).rows
        tried = [row for row in rows if row["method"] in methods and row["image"] in images]
        found += _in_order(section, tried)
    return found


def work(section: Section, task: int) -> float:
    """Pixels times draws times steps of one task, by its number: roughly what it takes."""
    planned, pixels = section.tasks[task], float(section.settings.get("size", 1)) ** 2
    return pixels * section.samples * _size(planned, section.tuning_images)


def _in_order(section: Section, rows: Sequence[Row]) -> list[Row]:
    names = [EXACT, *section.order]
    return sorted(rows, key=lambda row: (_place(row["method"], names), row["steps"]))


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
