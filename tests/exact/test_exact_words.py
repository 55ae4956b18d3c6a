"""The sentences of the exact study are those that its numbers call for."""

import pytest

from safari_bench.exact.extras import Extras
from safari_bench.exact.findings import findings
from safari_bench.exact.nearest import best, distance, floors
from safari_bench.exact.plan import Section, Task
from safari_bench.exact.psi_words import targets
from safari_bench.exact.study import EXACT
from safari_bench.exact.theory import theory

NONE = Extras([], [], [])


def row(method: str, w2: float, steps: int = 10, kind: str = "bound", task: str = "inpaint_box") -> dict:
    scores = {"mean_error_sd": 0.1, "sd_ratio": 1.0, "coverage": 0.9, "w2": w2, "w2_kind": kind}
    cost = {"nfe": float(steps), "n_backward": 0.0, "seconds": 0.1, "samples": 4}
    return {"method": method, "task": task, "steps": steps, "status": "ok", **cost, **scores}


def said(rows: list[dict], extras: Extras = NONE) -> str:
    names = list(dict.fromkeys(r["method"] for r in rows))
    task = Task(name="inpaint_box", settings={}, trial=lambda image: None, methods=[])
    section = Section(
        name="gaussian-64",
        title="Gaussian prior",
        settings={},
        truth=lambda trial: None,
        criterion="w2",
        samples=4,
        tuning_samples=4,
        tuning_images=1,
        tasks=[task],
        order=names,
    )
    return findings([(section, rows)], extras)


def test_scores_at_the_exact_draws_are_ties_and_bounds_are_marked():
    rows = [row(EXACT, 0.104), row("far", 0.3), row("clipped", 0.0, 100), row("near", 0.129)]
    rows += [row("level", 0.104, 30), row("last", 0.2)]
    page = said(rows)
    assert (
        "- nearest to the posterior on inpaint_box: clipped (at most 0.104, a tie with exact draws, with 100 NFE), "
        "level (at most 0.104, a tie with exact draws, with 30 NFE), near (at least 0.129 with 10 NFE)\n"
    ) in page
    cells = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in page.splitlines() if line[:2] == "| "}
    assert cells[EXACT] == "calibrated (0.104)"
    assert cells["clipped"] == "calibrated (<= 0.104, 100)"
    assert cells["near"] == "calibrated (>= 0.129, 10)"
    for words in ("**<=** stands before what exact draws score", "**>=** stands where the distance is known from"):
        assert words in page


def test_all_that_are_level_with_the_third_are_named():
    page = said([row(EXACT, 0.1), *(row(name, 0.05) for name in "abcd"), row("e", 0.2)])
    (line,) = [line for line in page.splitlines() if line.startswith("- nearest")]
    assert [name for name in "abcde" if f"{name} (" in line] == ["a", "b", "c", "d"]


def test_exact_distances_are_not_marked_and_the_cheapest_of_ties_is_the_best():
    assert distance(row("x", 0.2, kind="exact"), "w2", 0.1) == "0.2"
    assert distance(row("x", 0.2), "w2", 0.1) == ">= 0.2"
    assert distance(row("x", 0.1), "w2", 0.1) == "<= 0.1"
    assert distance(row(EXACT, 0.1), "w2", 0.1) == "0.1"
    assert distance({"method": "x", "sliced_w": 3.0}, "sliced_w", 1.0, 2.0) == "1.5"
    line = [row("x", 0.0, 300), row("x", 0.09, 30), row("x", 0.5, 10)]
    assert best(line, "w2", 0.1)["steps"] == 30
    assert best(line, "w2", 0.05)["steps"] == 300
    modes = [{**line[0], "weight_error": 0.06}, {**line[1], "weight_error": 0.4}]
    assert best(modes, "w2", 0.1)["steps"] == 300
    assert best([{**line[0], "status": "diverged"}], "w2", 0.1) is None
    mixture = [{"method": EXACT, "task": "a", "sliced_w": 0.3, "sliced_w_floor": 0.5}, {**line[0], "task": "a"}]
    assert floors(mixture, "sliced_w") == {"a": 0.5}
    assert floors([row(EXACT, 0.2, task="b"), row("x", 0.1, task="b")], "w2") == {"b": 0.2}


def test_more_steps_are_not_judged_below_what_can_be_told():
    page = said(
        [row(EXACT, 0.1), row("clipped", 0.1, 10), row("clipped", 0.0, 100), row("falls", 1.0), row("falls", 0, 9)]
    )
    assert "- stays: clipped (x 1)" in page
    assert said([row(EXACT, 0.1), row("falls", 1.0), row("falls", 0.0, 100)]).count("- falls: falls (x 0.1)") == 1


def target(psi: str, scale: str, task: str = "denoising", **scores) -> dict:
    right = {"mean_error_sd": 0.0, "sd_ratio": 1.0, "coverage": 0.9, "w2": 0.0, "sd_low": 1.0, "sd_high": 1.0}
    return {"task": task, "psi": psi, "scale": scale, **right, **scores}


WEIGHED, SAME = "as weighed", "same strength"


@pytest.mark.parametrize(
    ("weighed", "same", "words"),
    [
        ({}, {}, ["targets the posterior itself"]),
        (
            {"sd_ratio": 1.23, "mean_error_sd": 0.27, "coverage": 0.949, "w2": 0.38},
            {"sd_ratio": 0.992, "mean_error_sd": 0.031, "w2": 0.08, "sd_low": 0.73, "sd_high": 1.01},
            [
                "as weighed, makes the posterior up to 23 % too wide and moves its mean by up to 0.27 sd",
                "its 90 % intervals hold 94.9 % where that is worst: too cautious",
                "At the same strength it is up to 1 % too narrow",
                "though its low waves are 27 % too narrow where that is worst.",
                "falls from 0.38 to 0.08: what psi changes is mostly its strength",
            ],
        ),
        (
            {"sd_ratio": 0.91, "coverage": 0.865, "w2": 0.154},
            {"w2": 0.11, "sd_high": 1.2},
            [
                "up to 9 % too narrow",
                "hold 86.5 % where that is worst: too sure of themselves",
                "At the same strength it is as wide as it should be",
                "its high waves are 20 % too wide",
                "mostly its shape, which no gamma mends",
            ],
        ),
    ],
)
def test_the_verdict_on_psi(weighed, same, words):
    rows = [target("it", WEIGHED, **weighed), target("it", SAME, **same)]
    text = targets(NONE._replace(targets=rows), {})[2]
    for word in words:
        assert word in text


def test_a_psi_that_widens_one_task_and_narrows_another():
    rows = [target("it", WEIGHED, "a", sd_ratio=0.9, w2=0.1), target("it", WEIGHED, "b", sd_ratio=1.2, w2=0.2)]
    text = targets(NONE._replace(targets=[*rows, target("it", SAME, w2=0.05)]), {})[2]
    assert "from 10 % too narrow to 20 % too wide, as the task is" in text


def test_the_samplers_own_distance_beside_what_psi_shifts():
    rows = [target("full", WEIGHED, w2=0.15), target("full", SAME, w2=0.11)]
    rows += [target("pixel", WEIGHED), target("pixel", SAME)]
    extras = NONE._replace(targets=rows, guided={"safari": "full", "dps": "pixel", "absent": "full"})
    own = {("safari", "denoising"): row("safari", 0.4, 1000), ("dps", "denoising"): row("dps", 0.37, kind="exact")}
    text = "\n".join(targets(extras, own))
    assert (
        "- safari on denoising, psi = full: at least 0.4 from the posterior with 1000 NFE, psi's target 0.11 to 0.15: "
        "at least 0.25 is the sampler's own" in text
    )
    assert "- dps on denoising, psi = pixel: 0.37 from the posterior with 10 NFE, and psi's target is the" in text
    assert "absent" not in text
    own[("safari", "denoising")]["w2"] = 0.25
    assert "0.11 to 0.15: psi may explain most of it" in "\n".join(targets(extras, own))
    assert "the sampler's own" not in "\n".join(targets(NONE._replace(targets=rows), own))


def bound(gamma: float, t: int, right: float, ratio: float) -> dict:
    """`right` as a power of ten of the likelihood's largest value."""
    return {
        "task": "denoising",
        "psi": "full",
        "gamma": gamma,
        "t": t,
        "log10_right": right - 7.0,
        "log10_z": 7.0,
        "log10_ratio": ratio,
    }


def test_where_the_bound_says_something():
    rows = [bound(0.05, 0, -1.0, -30.0), bound(0.05, 500, 1.0, -0.1)]
    rows += [bound(5.0, 0, -1.0, -3.0), bound(5.0, 100, -0.5, -0.4), bound(5.0, 300, -0.2, -0.3)]
    text = "\n\n".join(theory(NONE._replace(bounds=rows), {}))
    first, second = (line for line in text.splitlines() if line.startswith("- gamma"))
    assert "It holds at all 5 points" in text
    assert first.startswith("- gamma = 0.05: tightest at t = 500 (denoising, psi = full)")
    assert "at 1 of 2 points, and the left is a hundredth of it at none of them: here the bound says nothing" in first
    assert second.startswith("- gamma = 5: tightest at t = 300")
    assert "at 3 of 3 points, and the left is more than a hundredth of it at 2 of them, t = 100 to 300" in second
    rows[0]["log10_ratio"] = 0.1
    assert "is violated at some of the 5" in "\n\n".join(theory(NONE._replace(bounds=rows), {}))


def test_draws_that_a_gpu_made_are_counted_apart():
    rows = [row(EXACT, 0.1), row("timed", 0.2), {**row("elsewhere", 0.2), "seconds": float("nan")}]
    rows[0]["seconds"] = float("nan")
    page = said(rows)
    assert "3 points (a method, a task, a number of steps). The draws of 1 of them took 0.0 min" in page
    assert "(those of 1 others were made on a GPU and not timed)" in page
    assert "steps), whose draws took 0.0 min" in said(rows[:2])
