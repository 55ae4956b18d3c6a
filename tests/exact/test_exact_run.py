"""A study goes on where it stopped, and says what cannot work, what diverged and what was tuned."""

import pandas as pd
import pytest
from exact_cases import gaussian_trial

from safari_bench import operators as ops
from safari_bench.diffusion import NotFinite
from safari_bench.exact.gaussian_scores import GaussianTruth
from safari_bench.exact.page import render
from safari_bench.exact.plan import Method, Section, Task, Tuning
from safari_bench.exact.study import EXACT, collect, points, run, tunings
from safari_bench.operators import Unsupported
from safari_bench.samplers import Sampler


class Fake(Sampler):
    """Draws around y's picture; counts its runs, and fails as it is told."""

    requires = ops.LinearOperator
    runs = 0

    def __init__(self, steps: int = 1, spread: float = 0.1, fails: Exception | None = None) -> None:
        self.steps, self.spread, self.fails = steps, spread, fails

    def check(self, operator) -> None:
        if isinstance(self.fails, Unsupported):
            raise self.fails

    def restore(self, problem, denoiser, progress):
        Fake.runs += 1
        if self.fails is not None:
            raise self.fails
        for t, _ in progress(denoiser.schedule.pairs(self.steps)):
            denoiser.predict(problem.y, t)
        return problem.y + self.spread * problem.streams.normal("step", problem.operator.image_shape)


def method(name: str, steps: tuple[int, ...], tuning: Tuning | None = None, **settings) -> Method:
    def build(differing):
        return Fake(**{**settings, **differing})

    plain = {key: repr(value) for key, value in settings.items()}
    return Method(name=name, settings=plain, build=build, steps=steps, tuning=tuning)


def study(methods: list[Method], **settings) -> list[Section]:
    task = Task(
        name="denoising",
        settings={},
        trial=lambda image: gaussian_trial("denoising", image, (3, 4, 8)),
        methods=methods,
    )
    return [
        Section(
            name="gaussian-8",
            settings=settings,
            truth=GaussianTruth,
            criterion="w2",
            samples=4,
            tuning_samples=4,
            tuning_images=2,
            tasks=[task],
            order=[m.name for m in methods],
        )
    ]


def count(sections_, folder) -> int:
    before = Fake.runs
    run(sections_, folder)
    return Fake.runs - before


def test_a_finished_point_is_not_computed_again(tmp_path):
    two = [method("one", (2, 5)), method("other", (3,), spread=0.2)]
    assert count(study(two), tmp_path) == 3
    before = points(study(two)[0], tmp_path)
    assert [(row["method"], row["steps"], row["nfe"]) for row in before[1:]] == [
        ("one", 2, 2),
        ("one", 5, 5),
        ("other", 3, 3),
    ]
    assert before[0]["method"] == EXACT
    assert count(study(two), tmp_path) == 0
    assert repr(points(study(two)[0], tmp_path)) == repr(before)  # nan is not equal to itself
    # only what changed is computed, in place of what was there
    assert count(study([two[0], method("other", (3,), spread=0.3)]), tmp_path) == 1
    after = points(study(two)[0], tmp_path)
    assert repr(after[:3]) == repr(before[:3])
    assert len(after) == len(before)
    assert after[3]["sd_ratio"] > before[3]["sd_ratio"]
    assert [row["method"] for row in points(study(two[:1])[0], tmp_path)] == [EXACT, "one", "one"]  # no longer planned
    assert count(study(two, seed=1), tmp_path) == 3


def test_an_interrupted_study_keeps_its_points(tmp_path):
    planned = study([method("one", (2, 5)), method("stops", (3,), fails=KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        run(planned, tmp_path)
    assert count(study([method("one", (2, 5)), method("stops", (3,))]), tmp_path) == 1


def test_what_cannot_work_and_what_diverges_are_rows(tmp_path):
    planned = study(
        [
            method("picky", (2,), fails=Unsupported("no such luck")),
            method("lost", (2,), fails=NotFinite([0], "step 1")),
            method("huge", (2,), spread=1e6),
        ]
    )
    run(planned, tmp_path)
    rows = {row["method"]: row for row in points(planned[0], tmp_path)}
    assert (rows["picky"]["status"], rows["picky"]["reason"]) == ("unsupported", "no such luck")
    assert rows["lost"]["status"] == rows["huge"]["status"] == "diverged"
    assert collect(planned, tmp_path) == 0
    page = render(tmp_path, {})
    words = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in page.splitlines() if line[:2] == "| "}
    assert (words["picky"], words["lost"], words["huge"]) == ("unsupported", "diverged", "diverged")
    more = study([*planned[0].tasks[0].methods, method("new", (2,))])
    assert collect(more, tmp_path) == 1
    assert len(pd.read_csv(tmp_path / "exact.csv")) == 4


def test_values_are_tuned_on_other_images_and_scaled(tmp_path):
    tuning = Tuning(parameter="spread", values=(0.001, 0.04, 10.0), up_to=4, exponent=0.5)
    planned = study([method("tuned", (2, 4, 16), tuning)])
    assert count(planned, tmp_path) == 3 + 2 * 2 * 3  # three points; two numbers of steps, two images, three values
    rows = {row["steps"]: row for row in points(planned[0], tmp_path)[1:]}
    assert {n: rows[n]["value"] for n in rows} == {2: "spread=0.04", 4: "spread=0.04", 16: "spread=0.02"}
    assert {row["image"] for row in rows.values()} == {"reported"}
    tried = tunings(planned[0], tmp_path)
    assert {row["image"] for row in tried} == {"tuning 0", "tuning 1"}
    best = min((r for r in tried if r["steps"] == 4 and r["image"] == "tuning 0"), key=lambda r: r["w2"])
    assert best["value"] == "spread=0.04"
    assert count(planned, tmp_path) == 0
