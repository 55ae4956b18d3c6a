"""The verdicts of the exact study are those that its numbers call for, and the page shows them."""

import pandas as pd
import pytest

from safari_bench.exact.page import number, power_of_ten, render
from safari_bench.exact.rows import to_csv
from safari_bench.exact.study import EXACT
from safari_bench.exact.verdicts import bound_verdicts, explained, psi_verdicts, verdict, verdicts


def row(method: str, w2: float, steps: int = 10, kind: str = "bound", task: str = "inpaint_box", **more) -> dict:
    scores = {"mean_error_sd": 0.1, "sd_ratio": 1.0, "coverage": 0.9, "w2": w2, "w2_kind": kind}
    cost = {"nfe": float(steps), "n_backward": 0.0, "seconds": 0.1, "samples": 4}
    place = {"section": "gaussian-64", "task": task, "method": method, "steps": steps, "status": "ok"}
    return place | cost | scores | more


def mixture(method: str, sliced_w: float, steps: int = 10, **more) -> dict:
    place = {"section": "mixture-8", "task": "inpaint_box", "method": method, "steps": steps, "status": "ok"}
    weights = {"weight_error": 0.05, "weight_floor": 0.02, "weights": "0.60 0.40", "exact_weights": "0.50 0.50"}
    cost = {"nfe": float(steps), "n_backward": 0.0, "seconds": 0.1, "samples": 4}
    return place | cost | {"sliced_w": sliced_w, "sliced_w_floor": 0.5} | weights | more


def judged(*rows: dict) -> pd.DataFrame:
    return verdicts(pd.DataFrame(rows)).set_index("method")


@pytest.mark.parametrize(
    ("error", "ratio", "coverage", "word"),
    [
        (0.1, 1.0, 0.9, "calibrated"),
        (0.1, 1.0, 0.7, "near"),
        (0.1, 0.3, 0.4, "collapsed"),
        (0.1, 2.0, 0.99, "too wide"),
        (1.5, 0.1, 0.0, "off"),
    ],
)
def test_a_verdict_under_the_gaussian_prior(error, ratio, coverage, word):
    assert verdict({"mean_error_sd": error, "sd_ratio": ratio, "coverage": coverage}) == word


@pytest.mark.parametrize(
    ("found", "exact", "error", "word"),
    [
        ("0.60 0.40", "0.50 0.50", 0.1, "weights ok"),
        ("0.90 0.10", "0.50 0.50", 0.4, "weights wrong"),
        ("1.00 0.00", "0.50 0.50", 0.5, "one mode"),
        ("1.00 0.00", "0.99 0.01", 0.01, "weights ok"),
    ],
)
def test_a_verdict_under_a_mixture(found, exact, error, word):
    given = {"weights": found, "exact_weights": exact, "weight_error": error, "weight_floor": 0.02}
    assert verdict(given) == word


def test_scores_at_the_exact_draws_are_ties_and_bounds_are_marked():
    found = judged(row(EXACT, 0.104), row("clipped", 0.0, 100), row("near", 0.129), row("exact", 0.2, kind="exact"))
    assert list(found.mark) == ["", "<=", ">=", ""]
    assert list(found.distance) == [0.104, 0.104, 0.129, 0.2]


def test_of_ties_the_one_with_the_best_weights_and_then_the_cheapest_is_the_best():
    line = [row("x", 0.0, 300), row("x", 0.09, 30), row("x", 0.5, 10)]
    assert judged(row(EXACT, 0.1), *line).steps["x"] == 30
    assert judged(row(EXACT, 0.05), *line).steps["x"] == 300
    modes = [mixture("x", 0.4, 300), mixture("x", 0.4, 30, weight_error=0.4)]
    found = judged(mixture(EXACT, 0.3), *modes)
    assert found.steps["x"] == 300
    assert found.distance["x"] == 1.0  # the larger floor, over that of as many exact draws
    failed = judged(row(EXACT, 0.1), row("y", 0.1, status="diverged"))
    assert (failed.verdict["y"], pd.isna(failed.distance["y"])) == ("diverged", True)


def test_more_steps_are_not_judged_below_what_can_be_told():
    line = [row("clipped", 0.1, 10), row("clipped", 0.0, 100), row("falls", 1.0), row("falls", 0.0, 100)]
    found = judged(row(EXACT, 0.1), *line)
    assert found.change["clipped"] == 1
    assert found.change["falls"] == pytest.approx(0.1)


def target(psi: str, scale: str, task: str = "denoising", **scores) -> dict:
    right = {"mean_error_sd": 0.0, "sd_ratio": 1.0, "coverage": 0.9, "w2": 0.0, "sd_low": 1.0, "sd_high": 1.0}
    return {"task": task, "psi": psi, "scale": scale, **right, **scores}


WEIGHED, SAME = "as weighed", "same strength"


@pytest.mark.parametrize(
    ("weighed", "same", "differs"), [(0.0, 0.0, "nothing"), (0.38, 0.08, "strength"), (0.154, 0.11, "shape")]
)
def test_the_verdict_on_psi(weighed, same, differs):
    rows = [target("it", WEIGHED, w2=weighed, sd_ratio=1.2, coverage=0.949), target("it", SAME, w2=same)]
    rows += [target("it", WEIGHED, "other", sd_ratio=0.9), target("it", SAME, "other", mean_error_sd=0.03)]
    found = psi_verdicts(pd.DataFrame(rows)).iloc[0]
    assert found.differs == differs
    assert found["sd ratio, as weighed"] == (0.9, 1.2)
    assert found["mean error, same strength"] == 0.03
    assert found.coverage == 0.949


def test_the_samplers_own_distance_beside_what_psi_shifts():
    rows = [target("full", WEIGHED, w2=0.15), target("full", SAME, w2=0.11)]
    rows += [target("pixel", WEIGHED), target("pixel", SAME)]
    own = [row(EXACT, 0.0, task="denoising"), row("safari", 0.4, 1000, task="denoising")]
    own.append(row("dps", 0.37, kind="exact", task="denoising"))
    guided = {"safari": "full", "dps": "pixel", "absent": "full"}
    found = explained(pd.DataFrame(rows), verdicts(pd.DataFrame(own)), guided).set_index("method")
    assert list(found.index) == ["safari", "dps"]
    assert tuple(found.loc["safari", ["least", "most"]]) == (0.11, 0.15)
    assert list(found.own) == pytest.approx([0.25, 0.37])
    assert list(found.mark) == [">=", ""]


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


def test_where_the_bound_is_informative():
    rows = [bound(0.05, 0, -1.0, -30.0), bound(0.05, 500, 1.0, -0.1)]
    rows += [bound(5.0, 0, -1.0, -3.0), bound(5.0, 100, -0.5, -0.4), bound(5.0, 300, -0.2, -0.3)]
    first, second = bound_verdicts(pd.DataFrame(rows)).itertuples()
    assert (first.points, first.violated, first.below, first.informative, first.times) == (2, 0, 1, 0, "")
    assert first.tightest == "t = 500, denoising, full"
    assert (second.points, second.below, second.informative, second.times) == (3, 3, 2, "100 to 300")
    rows[0]["log10_ratio"] = 0.1
    assert bound_verdicts(pd.DataFrame(rows)).violated[0] == 1


def test_numbers_as_text():
    assert [number(x) for x in (0.12345, 0.01234, 1234.0, 1e-6, float("nan"))] == ["0.123", "0.012", "1.2e+03", "0", ""]
    assert [power_of_ten(x) for x in (-13.6162, 0.0, float("-inf"))] == ["2.42e-14", "1.00e+0", "0"]


def test_the_page_is_made_from_the_files_alone(tmp_path):
    rows = [row(EXACT, 0.1), row("timed", 0.2), row("elsewhere", 0.05, seconds=float("nan"))]
    rows += [row(EXACT, 0.1, task="denoising"), row("timed", 3.0, task="denoising", mean_error_sd=2.0)]
    rows += [row("elsewhere", 0.3, task="denoising", status="unsupported")]
    (tmp_path / "exact.csv").write_bytes(to_csv(rows))
    (tmp_path / "mixture.csv").write_bytes(to_csv([mixture(EXACT, 0.3), mixture("timed", 1.5)]))
    page = render(tmp_path, {}, missing=3)
    lines = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}
    for words in ("8 points", "1 points ran on a GPU", "**3 planned points", "unsupported", "**<= 0.1** (10)", "psi"):
        assert (words in page) == (words != "psi")
    assert "weights ok: **3, 0.05** (10)" in lines["timed"]
    found = pd.read_csv(tmp_path / "verdicts.csv").set_index(["section", "task", "method"]).verdict
    assert found["gaussian-64", "denoising", "timed"] == "off"
    assert found["gaussian-64", "denoising", "elsewhere"] == "unsupported"
    assert (tmp_path / "gaussian-64-inpaint_box.png").stat().st_size > 0
    assert render(tmp_path, {}, missing=3) == page
