"""Effects that were put into invented scores are found again; analyses agree with statsmodels' own linear model."""

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from safari_bench.ablation import ablate
from safari_bench.ablation.components import components, means, smallest_p, together
from safari_bench.ablation.effects import complete, effects
from safari_bench.ablation.frame import KEYS, RESPONSES, absent, load_study, varied
from safari_bench.ablation.page import render
from safari_bench.ablation.verdicts import both, verdict, verdicts
from safari_bench.ledger import Cell, run_id
from safari_bench.reports import TableError

LEVELS = (0.0, 0.5, 1.0)
IDS = [f"image{k}" for k in range(6)]


def factorial(score, tasks=("sr_x4",)) -> pd.DataFrame:
    """score(image number, spatial, low, high) for every setting; the same numbers in every response."""
    found = []
    for task, spatial, low, high, (number, image) in product(tasks, LEVELS, LEVELS, LEVELS, enumerate(IDS)):
        settings = dict(zip(KEYS, (0.0, spatial, low, high, 0.25, 2), strict=True))
        value = score(number, spatial, low, high)
        label = f"safari [{spatial},{low},{high}]"
        found.append({"dataset": "photos", "task": task, "label": label, **settings, "zeta": 9.0, "image_id": image}
                     | dict.fromkeys(RESPONSES, value))  # fmt: skip
    return pd.DataFrame(found)


def of(table: pd.DataFrame, effect: str) -> pd.Series:
    (row,) = (row for _, row in table[(table.effect == effect) & (table.response == "psnr")].iterrows())
    return row


def test_effects_that_were_put_in_come_out() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 1000)
    draw = iter(noise)
    frame = factorial(lambda n, s, low, h: 20 + n + 3 * s - 2 * low + 4 * s * h + next(draw))
    table = effects(frame)
    assert list(table.effect.unique()) == [
        "spatial", "low", "high", "spatial x low", "spatial x high", "low x high", "spatial + frequency",
        "frequency beside spatial", "spatial beside frequency",
    ]  # fmt: skip
    expected = {"spatial": 3 + 4 * 0.5, "low": -2, "high": 4 * 0.5, "spatial x high": 4, "low x high": 0}
    for effect, value in expected.items():
        row = of(table, effect)
        assert row.value == pytest.approx(value, abs=0.03), effect
        assert row.ci_low < value < row.ci_high or abs(value - row.value) < 0.02
        assert (row.p < 0.001) == (row.p_f < 0.001) == (value != 0), effect
    assert of(table, "spatial + frequency").value == pytest.approx(4, abs=0.05)
    assert of(table, "frequency beside spatial").value == pytest.approx(-2 + 4, abs=0.05)
    assert of(table, "spatial beside frequency").value == pytest.approx(3 + 4, abs=0.05)


def test_an_effect_is_the_contrast_of_a_linear_model_with_images_as_blocks() -> None:
    import statsmodels.formula.api as smf

    draw = np.random.default_rng(1)
    frame = factorial(lambda *_: draw.normal())
    row = of(effects(frame), "spatial x high")
    ends = frame[frame.spatial.isin([0, 1]) & frame.high.isin([0, 1])]
    fit = smf.ols("psnr ~ C(image_id) + C(low) + spatial * high", ends).fit()
    assert row.value == pytest.approx(fit.params["spatial:high"])
    by_hand = [
        sum((1 if s == h else -1) * g[(g.spatial == s) & (g.high == h)].psnr.mean() for s in (0, 1) for h in (0, 1))
        for _, g in frame.groupby("image_id", sort=False)
    ]
    half = 2.5706 * np.std(by_hand, ddof=1) / np.sqrt(6)  # Student's t, 5 degrees of freedom
    assert (row.ci_low, row.ci_high) == pytest.approx((np.mean(by_hand) - half, np.mean(by_hand) + half), rel=1e-4)


def test_what_is_no_full_factorial_gives_no_effects() -> None:
    frame = factorial(lambda n, s, low, h: n + s)
    holes = frame.drop(index=frame[(frame.spatial == 1) & (frame.low == 1)].index)
    one_factor = frame[(frame.low == 0) & (frame.high == 0)]
    for bad in (holes, one_factor, frame[frame.image_id == IDS[0]]):
        assert not complete(bad, varied(bad)) and len(effects(bad)) == 0


@pytest.mark.parametrize(
    ("ends", "word"),
    [((-2.0, -1.0), "lower"), ((1.0, 2.0), "higher"), ((-1.0, 1.0), "unclear"), ((np.nan, np.nan), "unclear")],
)
def test_a_verdict_follows_the_interval(ends, word) -> None:
    assert verdict(*ends) == word


@pytest.mark.parametrize(
    ("frequency", "spatial", "words"),
    [
        ((1.0, 2.0), (3.0, 4.0), "better than either"),
        ((1.0, 2.0), (-1.0, 1.0), "better than one"),
        ((1.0, 2.0), (-3.0, -2.0), "better than one"),
        ((-1.0, 1.0), (-3.0, -2.0), "worse than one"),
        ((-1.0, 1.0), (-2.0, 1.0), "unclear"),
    ],
)
def test_the_verdict_on_both_follows_both_intervals(frequency, spatial, words) -> None:
    place = {"dataset": "photos", "task": "sr_x4", "response": "psnr", "images": 6, "value": 0.0}
    parts = {"frequency beside spatial": frequency, "spatial beside frequency": spatial}
    rows = [place | {"effect": name, "ci_low": low, "ci_high": high} for name, (low, high) in parts.items()]
    assert both(verdicts({"together": pd.DataFrame(rows)})).both.item() == words


def test_verdicts_follow_the_test_of_the_contrast_and_not_the_f_test() -> None:
    """The middle level stands out on every image, and the ends are alike but for noise: F sees it alone."""
    draw = np.random.default_rng(3)
    frame = factorial(lambda n, s, low, h: n + 5 * (s == 0.5) + 2 * h + draw.normal(0, 0.3))
    table = effects(frame)
    row = of(table, "spatial")
    assert row.p_f < 0.001 and row.p > 0.05 and row.ci_low < 0 < row.ci_high
    clear = verdicts({"effects": table}).verdict != "unclear"
    assert list(clear) == list(table.p < 0.05) and 0 < clear.sum() < len(clear)


SETTINGS = {
    "no conditioning": {},
    "spatial only": {"spatial": 1.0},
    "frequency only": {"low": 1.0, "high": 0.5},
    "pixel only (DPS)": {"pixel": 1.0},
    "all together": {"pixel": 1.0, "spatial": 1.0, "low": 1.0, "high": 0.5},
}


def write(
    folder: Path,
    weights: dict[str, float] | None,
    gain: float,
    ids=IDS,
    sampler="safari",
    zeta=9.0,
    planned=IDS,
    **rows,
) -> None:
    """One cell; weights: of psi, None for a method without it. The gain counts in every score."""
    fidelity = dict(zip(KEYS, (0.0, 0.0, 0.0, 0.0, 0.25, 2), strict=True)) | (weights or {})
    spec = {
        "dataset": {"name": "photos", "manifest_sha256": "m"},
        "prior": {"name": "gaussian"},
        "task": {"name": "sr_x4", "operator": {}, "noise": "gaussian", "sigma": 0.05, "sigma_range": "minus_one_one"},
        "sampler": {"name": sampler} | ({} if weights is None else {"fidelity": fidelity, "zeta": zeta}),
        "seed": 0,
    }
    cell = Cell(folder / "photos" / "sr_x4" / sampler / run_id(spec), planned)
    with cell.lock():
        cell.open({"spec": spec})
        cell.append(
            [
                dict(dataset="photos", image_id=image, image_sha256="i", y_sha256="y", task="sr_x4", sigma=0.05,
                     sigma_range="minus_one_one", sampler=sampler, prior="gaussian", run_id=run_id(spec), seed=0,
                     status="ok", reason="", psnr=20 + k + gain + 0.01 * k * gain, haarpsi=0.5 + 0.01 * gain,
                     spectrum_mid=-1.0, spectrum_high=gain - 5, phase_high=0.1 * k)
                | {name: value(k) for name, value in rows.items()}
                for k, image in enumerate(ids)
            ]
        )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for number, weights in enumerate(SETTINGS.values()):
        write(tmp_path / "ablation", weights, 2.0 * number)
    return tmp_path / "ablation"


def test_gains_are_per_image_against_no_conditioning(run: Path) -> None:
    table = components(load_study(run))
    psnr = table[table.response == "psnr"].set_index("setting")
    assert list(psnr.index) == list(SETTINGS)
    mean_k = 2.5
    for number, name in enumerate(SETTINGS):
        assert psnr.gain[name] == pytest.approx(2 * number * (1 + 0.01 * mean_k))
    assert psnr.ci_low["spatial only"] < psnr.gain["spatial only"] < psnr.ci_high["spatial only"]
    assert psnr.p_holm["spatial only"] == pytest.approx(4 * 2 / 2**6)  # six images, all better; four comparisons
    detail = table[(table.response == "detail") & (table.setting == "all together")].iloc[0]
    assert (detail["mean"], detail.gain) == (pytest.approx(3.0), pytest.approx(8.0))


def test_signatures_have_the_sign_they_promise(run: Path) -> None:
    frame = load_study(run)
    dull, sharp = frame[frame.label.str.contains("spatial=0, low=0") & (frame.pixel == 0)], frame[frame.detail == 3]
    assert set(dull.detail) == {-5.0} and set(dull.blur) == {4.0} and set(dull.excess) == {0.0}
    assert set(sharp.blur) == {-4.0} and set(sharp.excess) == {3.0}


def test_the_page_shows_the_numbers_of_the_files(run: Path) -> None:
    files, left_out = ablate(run)
    written = {path.name for path in files}
    tables = {f"{name}.csv" for name in ("datasets", "means", "components", "failures", "verdicts")}
    assert written == tables | {"signatures.png", "ablation.md"} and left_out == []
    page = (run / "ablation.md").read_text()
    table = pd.read_csv(run / "components.csv")
    for row in table[table.response == "psnr"].itertuples():
        assert f"{row.mean:.2f} ±" in page
        assert row.setting == "no conditioning" or f"{row.gain:+.2f} [" in page
    before = {name: (run / name).read_bytes() for name in written}
    ablate(run)
    assert {name: (run / name).read_bytes() for name in written} == before


def test_a_sweep_of_one_key_has_a_curve(tmp_path: Path) -> None:
    for number, cutoff in enumerate((0.125, 0.25, 0.5)):
        write(tmp_path / "cutoff", {"low": 1.0, "cutoff": cutoff}, float(number))
    written = {path.name for path in ablate(tmp_path / "cutoff")[0]}
    assert {"curve_cutoff.png", "curve_cutoff.csv", "best.csv", "means.csv"} <= written
    page = (tmp_path / "cutoff" / "ablation.md").read_text()
    assert "## Best cutoff" in page and "| cutoff 0.25 - cutoff 0.125 | **+1.0" in page
    table = means(load_study(tmp_path / "cutoff"))
    assert list(table[table.response == "psnr"]["mean"]) == pytest.approx([22.5, 23.525, 24.55])


def test_a_factorial_has_effects_and_heat_maps(tmp_path: Path) -> None:
    for spatial, low, high in product((0.0, 1.0), repeat=3):
        write(tmp_path / "f", {"spatial": spatial, "low": low, "high": high}, 2 * spatial + low)
    written = {path.name for path in ablate(tmp_path / "f")[0]}
    assert {"effects.csv", "heat_psnr.png", "heat_haarpsi.png"} <= written
    assert "sum of gains" in (tmp_path / "f" / "ablation.md").read_text()
    # power above half of Nyquist was made to follow 2 spatial + low, and nothing else
    table = pd.read_csv(tmp_path / "f" / "verdicts.csv")
    detail = table[table.response == "detail"].set_index("comparison")
    assert list(detail.value[["spatial", "low", "high"]]) == pytest.approx([2, 1, 0])
    assert list(detail.verdict[["spatial", "low", "high"]]) == ["higher", "higher", "unclear"]
    assert set(table.verdict[table.response == "phase_high"]) == {"unclear"}


@pytest.mark.parametrize("images", [6, 8])
def test_a_star_needs_enough_images_and_the_page_says_so(images: int, tmp_path: Path) -> None:
    for number, weights in enumerate((*SETTINGS.values(), {"spatial": 1.0, "low": 1.0})):
        write(tmp_path / "c", weights, 2.0 * number)
    frame = load_study(tmp_path / "c")
    more = frame[frame.image_id.isin(IDS[: images - 6])]
    frame = pd.concat([frame, more.assign(image_id=more.image_id + "b")])
    table = components(frame)
    assert table.p_smallest.unique() == pytest.approx([5 * 2 / 2**images])
    assert smallest_p(images, 5) == pytest.approx(5 * 2 / 2**images)
    said = render("c", {"means": means(frame), "components": table, **extra(table)}, [])
    assert ("Too few images" in said, "]** \\*" in said) == ((True, False) if images == 6 else (False, True))


def extra(table: pd.DataFrame, sources: int = 6) -> dict[str, pd.DataFrame]:
    said = [("photos", 6, sources, "photos: images: 6")]
    datasets = pd.DataFrame(said, columns=["dataset", "images", "sources", "caption"])
    return {"datasets": datasets, "verdicts": verdicts({"components": table} if len(table) else {})}


def test_the_parts_together_are_compared_with_their_sum_and_with_each(tmp_path: Path) -> None:
    for weights, gain in (({}, 0.0), ({"spatial": 1.0}, 3.0), ({"low": 1.0}, 2.0), ({"spatial": 1.0, "low": 1.0}, 4.0)):
        write(tmp_path / "c", weights, gain)
    table = together(load_study(tmp_path / "c"))
    scale = 1 + 0.01 * 2.5  # write() lets later images gain more
    assert of(table, "spatial + frequency").value == pytest.approx((4 - 3 - 2) * scale)
    assert of(table, "frequency beside spatial").value == pytest.approx((4 - 3) * scale)
    assert of(table, "spatial beside frequency").value == pytest.approx((4 - 2) * scale)
    ablate(tmp_path / "c")
    found = pd.read_csv(tmp_path / "c" / "verdicts.csv").query("response == 'psnr'").set_index("comparison").verdict
    assert found["gain of both - sum of gains"] == "lower"
    assert both(verdicts({"together": together(load_study(tmp_path / "c"))})).both.iloc[0] == "better than either"
    together_without = together(load_study(tmp_path / "c").query("spatial == 0"))
    assert len(together_without) == 0


def test_the_page_names_a_shared_step_size_and_crops_of_few_photographs() -> None:
    frame = factorial(lambda n, s, low, h: n)
    none = components(frame.iloc[:0])

    def page(rows: pd.DataFrame, sources: int = 6) -> str:
        return render("f", {"means": means(rows)} | extra(none, sources), [])

    assert "one zeta (sr_x4 9)" in page(frame) and "photographs" not in page(frame)
    assert "one zeta" not in page(frame.assign(zeta=9 + frame.spatial))
    assert "one zeta" not in page(frame[frame.label == frame.label.iloc[0]])  # nothing to compare
    assert "6 crops of 2 photographs" in page(frame, 2)


def test_crops_of_one_photograph_are_one_source(tmp_path: Path) -> None:
    crops = ["cup-1", "cup-2", "cat-1"]
    write(tmp_path / "crops", {"spatial": 1.0}, 0.0, ids=crops, planned=crops)
    ablate(tmp_path / "crops")
    row = pd.read_csv(tmp_path / "crops" / "datasets.csv").iloc[0]
    assert (row.images, row.sources) == (3, 2)


def test_scores_that_a_run_lacks_are_left_out_and_named(tmp_path: Path) -> None:
    for weights, gain in (({}, 0.0), ({"spatial": 1.0}, 3.0)):
        write(tmp_path / "few", weights, gain, phase_high=lambda k: np.nan)
    frame = load_study(tmp_path / "few")
    assert absent(frame) == ["high phase"] and "phase_high" not in frame
    _, left_out = ablate(tmp_path / "few")
    assert left_out == ["high phase"]
    assert "Left out: high phase" in (tmp_path / "few" / "ablation.md").read_text()
    assert "phase_high" not in set(pd.read_csv(tmp_path / "few" / "means.csv").response)


def test_a_folder_of_tables_without_cells_is_read_from_them(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in ablate(run)[0]}
    shutil.rmtree(run / "photos")
    (run / "ablation.md").unlink()
    ablate(run)
    assert {name: (run / name).read_bytes() for name in before} == before


def test_what_cannot_be_studied_is_refused_with_the_remedy(run: Path, tmp_path: Path) -> None:
    write(run, {"spatial": 0.5}, 0.0, ids=IDS[:3])
    with pytest.raises(TableError, match="3 of 6 images are done"):
        load_study(run)
    with pytest.raises(TableError, match="there is no folder"):
        load_study(tmp_path / "nothing")
