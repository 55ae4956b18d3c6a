"""Means and intervals against independent computations; what is averaged over what; what per_image.csv holds."""

import math

import numpy as np
import pandas as pd
import pytest

from safari_bench.ledger import COST
from safari_bench.reports import build
from safari_bench.reports.statistics import interval

pytestmark = pytest.mark.usefixtures("no_figures")

NAN, INF = math.nan, math.inf


def table(run, name: str = "table1.csv") -> pd.DataFrame:
    build(run.folder)
    return pd.read_csv(run.folder / name, keep_default_na=False, na_values=[""])


def line(frame: pd.DataFrame, sampler: str, metric: str) -> pd.Series:
    found = frame[(frame.sampler == sampler) & (frame.metric == metric)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.parametrize("n", [5, 40, 300])
def test_interval_against_a_bootstrap_written_out(n: int) -> None:
    values = np.random.default_rng(n).gamma(2.0, size=n)
    resample = np.random.default_rng(1000).choice(values, size=(40_000, n)).mean(1)
    low, high = np.quantile(resample, [0.025, 0.975])
    got = interval(values, "x")
    assert got[:2] == (n, pytest.approx(values.mean(), rel=1e-14))
    spread = resample.std()
    assert got[2] == pytest.approx(low, abs=0.15 * spread) and got[3] == pytest.approx(high, abs=0.15 * spread)


def test_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(3.0, size=(200, 50))
    covered = [low <= 3.0 <= high for _, _, low, high in (interval(v, str(k)) for k, v in enumerate(draws))]
    assert 0.90 < np.mean(covered) < 0.98


def test_interval_of_few_values() -> None:
    assert interval(np.array([0.0, 1.0]), "x") == (2, 0.5, 0.0, 1.0)
    assert np.isnan(interval(np.array([2.0]), "x")[2:]).all()
    n, *rest = interval(np.array([NAN]), "x")
    assert n == 0 and np.isnan(rest).all()
    assert interval(np.full(9, 0.1), "x")[2:] == (pytest.approx(0.1), pytest.approx(0.1))


def test_an_infinite_score_makes_the_mean_infinite() -> None:
    """The PSNR of equal images."""
    assert interval(np.array([NAN, INF]), "x")[:2] == (1, INF)
    assert interval(np.array([2.0, NAN, INF]), "x") == (2, INF, 2.0, INF)
    n, mean, low, high = interval(np.array([20.0] * 39 + [INF]), "x")
    assert (n, mean, low, high) == (40, INF, 20.0, INF)  # 36 % of the resamples hold no infinite one
    assert interval(np.full(40, INF), "x") == (40, INF, INF, INF)


def test_perfect_restorations_are_best_everywhere(run) -> None:
    ids = "abcdefgh"
    run.cell("biharmonic", {"psnr": INF, "haarpsi": 1.0}, ids=ids)
    run.cell("dps", {"psnr": [20, 22, 24, 26, 20, 22, 24, 26], "haarpsi": 0.8}, ids=ids)
    run.cell("degraded", {"psnr": [10, 12, 14, 16, 10, 12, 14, 16], "haarpsi": 0.5}, ids=ids)
    frame = table(run)
    assert line(frame, "biharmonic", "psnr")[["n", "mean", "ci_low"]].tolist() == [8, INF, INF]
    text = (run.folder / "table1.md").read_text()
    row = next(row for row in text.splitlines() if row.startswith("| biharmonic"))
    assert "**∞**" in row
    assert r"\textbf{$\infty$}" in (run.folder / "table1.tex").read_text()
    ranks = table(run, "ranks.csv").set_index(["sampler", "metric"])["rank"]
    assert ranks["biharmonic", "psnr"] == 1 and ranks["dps", "psnr"] == 2
    pairs = table(run, "comparisons.csv")
    against = pairs[(pairs.metric == "psnr") & (pairs.other == "dps")].iloc[0]
    assert (against.best, against.best_mean, against.images) == ("biharmonic", INF, 8)
    assert against.p == pytest.approx(2 / 2**8) and against.verdict == "worse"


def test_a_mean_over_fewer_images_says_so(run) -> None:
    run.cell("dps", {"psnr": [20, NAN, 24, 25], "haarpsi": 0.8})
    build(run.folder)
    row = next(row for row in (run.folder / "table1.md").read_text().splitlines() if row.startswith("| dps"))
    assert "23.00" in row
    assert "(3 of 4 images)" in (run.folder / "table1.md").read_text()


def test_interval_depends_on_values_and_name_alone() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert interval(values, "a") == interval(values.copy(), "a") != interval(values, "b")


def test_large_sets_are_resampled_in_portions() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    _, mean, low, high = interval(values, "x")
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (mean - low, high - mean) == (pytest.approx(half, rel=0.1), pytest.approx(half, rel=0.1))


def test_table1_is_tidy(run) -> None:
    run.cell("dps", {"psnr": [20, 22, 24, 26], "seconds": 1.5, "spectrum_low": -0.5, "zz_new": 3.0})
    frame = table(run)
    assert ",".join(frame.columns) == "dataset,task,sigma,sigma_range,sampler,metric,n,seeds,mean,ci_low,ci_high"
    assert list(frame.metric) == ["psnr", "spectrum_low", "zz_new", *COST]
    psnr = line(frame, "dps", "psnr")
    assert tuple(psnr[:5]) == ("photos", "sr_x4", 0.05, "minus_one_one", "dps")
    assert (psnr.n, psnr["mean"]) == (4, 23.0) and 20 < psnr.ci_low < 23 < psnr.ci_high < 26
    assert line(frame, "dps", "seconds")["mean"] == 1.5 and line(frame, "dps", "nfe").n == 0


def test_seeds_are_averaged_per_image_first(run) -> None:
    run.cell("dps", {"psnr": [10, 20, 30, 40]}, seed=0)
    run.cell("dps", {"psnr": [20, 20, 20, NAN]}, seed=1, statuses={"a": ("failed", "x")})
    rows = table(run, "per_image.csv")
    assert list(rows.image_id) == list("aabbccdd") and list(rows.seed) == [0, 1] * 4
    psnr = line(table(run), "dps", "psnr")
    assert (psnr.n, psnr.seeds) == (4, 2)  # images, not runs
    assert psnr["mean"] == (10 + 20 + 25 + 40) / 4  # a pooled mean would be 160 / 6
    assert psnr.ci_high <= 40


def test_unfinished_failed_and_unsupported_images_are_left_out_of_means_but_not_of_the_table(run) -> None:
    run.cell("degraded", {"psnr": [10, 11, 12, 13], "lpips": 0.5})
    run.cell("dps", {"psnr": [20, 99, 24, 26]}, count=3, statuses={"b": ("failed", "diverged")})
    run.cell("ddrm", statuses=dict.fromkeys("abcd", ("unsupported", "no SVD")))
    frame = table(run)
    assert (line(frame, "dps", "psnr").n, line(frame, "dps", "psnr")["mean"]) == (2, 22.0)
    assert line(frame, "ddrm", "psnr").n == 0 == line(frame, "ddrm", "lpips").n and pd.isna(
        line(frame, "ddrm", "psnr")["mean"]
    )
    rows = table(run, "per_image.csv")
    assert list(rows.image_id) == [*"abcd", *"abc", *"abcd"]
    assert (
        list(rows.status[4:7]) == ["ok", "failed", "ok"] and rows.reason[5] == "diverged" and rows.reason[7] == "no SVD"
    )


def test_per_image_keeps_every_number_and_a_fixed_order(run) -> None:
    exact = [0.1, 1 / 3, 5e-324, 1e22]
    extra = {"new": 1, "spectrum_high": 2, "gmsd": 3, "lpips_vgg": 4, "ssim": 5, "data_consistency": 6, "haarpsi": 7}
    run.cell("zeus", {"psnr": exact, **extra}, ids=("007", "10", "9", "1e5"), row={"psi_injective": True})
    run.cell("safari", {"psnr": 1.0}, ids=("007", "10", "9", "1e5"), options={"spatial": 1.0})
    run.cell("safari", {"psnr": 2.0}, ids=("007", "10", "9", "1e5"), options={"spatial": 0.5})
    run.cell("degraded", {"psnr": 3.0}, ids=("007", "10", "9", "1e5"))
    build(run.folder)
    rows = pd.read_csv(run.folder / "per_image.csv", dtype=str)
    head = "dataset image_id image_sha256 y_sha256 task sigma sigma_range sampler variant sampler.spatial prior run_id"
    head += " seed status reason"
    metrics = "psnr ssim haarpsi gmsd lpips_vgg data_consistency spectrum_high new psi_injective"
    assert list(rows.columns) == [*head.split(), *metrics.split(), *COST, "image_file"]
    assert list(rows.variant[::4]) == ["degraded", "safari [spatial=0.5]", "safari [spatial=1]", "zeus"]
    assert list(rows.image_id) == ["007", "10", "9", "1e5"] * 4
    assert list(map(float, rows.psnr[-4:])) == exact
