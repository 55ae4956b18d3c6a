"""Paired tests against SciPy's and against enumeration by hand; what is paired; what is corrected over what."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test
from statsmodels.stats.multitest import multipletests

from safari_bench.reports import build
from safari_bench.reports.comparisons import ALPHA, EXACT, holm, permutation
from safari_bench.reports.vocabulary import metric

pytestmark = pytest.mark.usefixtures("no_figures")

IDS = "abcdefgh"
STEADY = [20.0, 22, 24, 26, 28, 30, 32, 34]


def comparisons(run) -> pd.DataFrame:
    build(run.folder)
    return pd.read_csv(run.folder / "comparisons.csv", keep_default_na=False, na_values=[""])


def psnr(frame: pd.DataFrame) -> dict[str, pd.Series]:
    return {row.other: row for _, row in frame[frame.metric == "psnr"].iterrows()}


@pytest.mark.parametrize("name", ["psnr", "gmsd", "data_consistency", "spectrum_mid"])
@pytest.mark.parametrize("n", [3, 8])
def test_exact_p_values_are_scipys(name: str, n: int) -> None:
    draw = np.random.default_rng(n)
    a, b = draw.normal(1.0, 0.5, n), draw.normal(1.4, 0.5, n)
    loss = metric(name).loss
    expected = permutation_test(
        (a, b),
        lambda x, y: abs(loss(float(x.mean())) - loss(float(y.mean()))),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
    )
    assert permutation(metric(name), a, b) == pytest.approx(expected.pvalue, abs=1e-12)
    assert permutation(metric(name), a, b) == permutation(metric(name), b, a)


def test_exact_p_value_enumerated_by_hand() -> None:
    a, b = np.array([3.0, 5.0, 4.0, 9.0]), np.array([1.0, 6.0, 2.0, 4.0])
    d = a - b  # 2, -1, 2, 5: sum 8; sums of +-2, +-1, +-2, +-5
    as_large = sum(abs(np.dot(signs, d)) >= 8 for signs in product((1, -1), repeat=4))
    assert permutation(metric("psnr"), a, b) == as_large / 16 == 4 / 16


def test_random_exchanges_agree_with_a_t_test_and_never_say_zero() -> None:
    from scipy.stats import ttest_rel

    draw = np.random.default_rng(0)
    a = draw.normal(size=200)
    b = a + draw.normal(0.1, 1, size=200)
    assert permutation(metric("psnr"), a, b) == pytest.approx(ttest_rel(a, b).pvalue, abs=0.02)
    assert permutation(metric("psnr"), a, a + 1) == 1 / 10_000


def test_the_test_rejects_as_often_as_it_says_where_there_is_no_difference() -> None:
    draw = np.random.default_rng(1)
    p = [permutation(metric("psnr"), *draw.normal(size=(2, 12))) for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.085


def test_equal_scores_and_no_scores() -> None:
    same = np.array([0.1, 0.2, 0.3])
    assert permutation(metric("psnr"), same, same) == 1.0
    assert math.isnan(permutation(metric("psnr"), np.empty(0), np.empty(0)))


def test_holm_by_hand() -> None:
    nan = math.nan
    # ordered 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04 and then never falling
    assert holm([0.04, 0.01, nan, 0.03, 0.02]) == pytest.approx([0.06, 0.04, nan, 0.06, 0.06], nan_ok=True)
    assert list(holm([0.9, 0.8])) == [1.0, 1.0]
    assert len(holm([])) == 0


def test_holm_agrees_with_statsmodels() -> None:
    p = (np.random.default_rng(0).uniform(size=50).round(1) ** 3).tolist()  # with ties, zeros and ones
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=0, atol=1e-15)


def test_the_best_of_a_column_is_compared_with_the_rest(run) -> None:
    run.cell("dps", {"psnr": STEADY}, ids=IDS)
    run.cell("safari", {"psnr": [v - 0.1 for v in STEADY]}, ids=IDS)
    run.cell("ddrm", {"psnr": [v + (3 if k % 2 else -4) for k, v in enumerate(STEADY)]}, ids=IDS)
    run.cell("pigdm", statuses=dict.fromkeys(IDS, ("unsupported", "no")), ids=IDS)
    frame = comparisons(run)
    assert set(frame.metric) == {"psnr"}  # costs have no best
    assert set(frame.best) == {"dps"} and set(frame.images) == {8, 0}
    found = psnr(frame)
    assert found["safari"].p == 2 / 2**8 and found["safari"].p_holm == 2 * 2 / 2**8  # two have scores, not three
    assert found["safari"].verdict == "worse" and found["ddrm"].verdict == "not distinguishable"
    assert found["pigdm"].images == 0 and math.isnan(found["pigdm"].p)
    assert found["pigdm"].verdict == "too few images"
    assert found["safari"].test == "exact, 256 exchanges" and EXACT >= 8


def test_six_images_can_tell_two_methods_apart_but_not_three(run) -> None:
    values = STEADY[:6]
    run.cell("dps", {"psnr": values}, ids=IDS[:6])
    run.cell("safari", {"psnr": [v - 1 for v in values]}, ids=IDS[:6])
    assert psnr(comparisons(run))["safari"].verdict == "worse" and 2 / 2**6 < ALPHA < 2 * 2 / 2**6
    run.cell("ddrm", {"psnr": [v - 2 for v in values]}, ids=IDS[:6])
    assert {row.verdict for row in psnr(comparisons(run)).values()} == {"too few images"}


def test_only_images_scored_by_both_are_paired(run) -> None:
    run.cell("dps", {"psnr": STEADY}, ids=IDS)
    run.cell("safari", {"psnr": [math.nan, *STEADY[1:]]}, ids=IDS, statuses={"c": ("failed", "x")})
    found = psnr(comparisons(run))["safari"]
    shared = [20 + 2 * k for k in (1, 3, 4, 5, 6, 7)]
    assert found.images == 6 and found.best_mean == found.other_mean == np.mean(shared)


def test_only_the_same_measurements_are_paired(run) -> None:
    run.cell("dps", {"psnr": STEADY}, ids=IDS)
    run.cell("safari", {"psnr": 1.0}, ids=IDS, row={"y_sha256": "another"})
    found = psnr(comparisons(run))["safari"]
    assert found.images == 0 and found.verdict == "too few images"


def test_seeds_are_averaged_per_image_and_only_shared_ones_count(run) -> None:
    """One sampler has a second seed, with other measurements: the pairs are of the first alone."""
    run.cell("dps", {"psnr": STEADY}, ids=IDS, seed=0)
    run.cell("dps", {"psnr": 90.0}, ids=IDS, seed=1)
    run.cell("safari", {"psnr": [v - 1 for v in STEADY]}, ids=IDS, seed=0)
    found = psnr(comparisons(run))["safari"]
    assert (found.images, found.best_mean, found.other_mean) == (8, 27.0, 26.0)
    run.cell("safari", {"psnr": 80.0}, ids=IDS, seed=1)
    found = psnr(comparisons(run))["safari"]
    assert (found.images, found.best_mean, found.other_mean) == (8, (27 + 90) / 2, (26 + 80) / 2)


def test_what_is_near_a_number_is_judged_by_its_mean_as_in_the_table(run) -> None:
    """Residuals of 0.5 and 1.5 are as good as 1 on average; the table says so, hence the test must."""
    run.cell("dps", {"data_consistency": [0.5, 1.5] * 4}, ids=IDS)
    run.cell("safari", {"data_consistency": 1.3}, ids=IDS)
    frame = comparisons(run)
    assert set(frame.best) == {"dps"} and frame.p[0] > ALPHA
