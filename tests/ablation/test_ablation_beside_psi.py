"""Curves, step sizes and failures find what was put into invented scores; methods without psi count where they can."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_ablation import IDS, factorial, write

from safari_bench.ablation import ablate
from safari_bench.ablation.components import means
from safari_bench.ablation.curves import best_levels, changes, curve_key
from safari_bench.ablation.failures import failures
from safari_bench.ablation.frame import RESPONSES, failing, load_study, with_psi
from safari_bench.ablation.page import render
from safari_bench.ablation.steps import chosen, pairs
from safari_bench.ablation.verdicts import order, turned, verdicts


def along_cutoff() -> pd.DataFrame:
    """Images differ by whole units, levels by tenths; the same everywhere but for a little noise."""
    draw = np.random.default_rng(0)
    frame = factorial(lambda n, s, low, h: 10 * n + 0.1 * (low != 0.0) + draw.normal(0, 0.01))
    frame = frame[(frame.spatial == 0) & (frame.high == 0)]
    return frame.assign(cutoff=frame.low.map({0.0: 0.125, 0.5: 0.25, 1.0: 0.5}), low=1.0)


def test_a_curve_is_of_changes_within_images() -> None:
    frame = along_cutoff()
    assert curve_key(frame) == "cutoff"
    table = changes(frame, "cutoff")
    psnr = table[table.response == "psnr"].set_index("cutoff")
    assert psnr.change[0.125] == 0 and np.isnan(psnr.ci_low[0.125])
    for level in (0.25, 0.5):
        assert psnr.change[level] == pytest.approx(0.1, abs=0.02)
        assert 0.05 < psnr.ci_low[level] < psnr.change[level] < psnr.ci_high[level] < 0.15
    apart = frame[frame.cutoff == 0.25].psnr.std()
    assert apart > 10  # between images a difference of 0.1 could not be seen


def test_the_best_level_is_the_one_with_the_highest_score_or_the_least_failure() -> None:
    frame = along_cutoff()
    steps = frame.cutoff.map({0.125: 0.0, 0.25: 1.0, 0.5: 2.0})
    table = best_levels(frame.assign(detail=-3 + steps, excess=steps, phase_high=0.1 * steps), "cutoff")
    best = table.groupby("response").best.first()
    assert (best["detail"], best["excess"], best["phase_high"]) == (0.5, 0.125, 0.5)
    psnr = table[(table.response == "psnr") & (table.other == 0.125)].iloc[0]
    assert psnr.best in (0.25, 0.5) and psnr.ci_low > 0
    rival = table[(table.response == "psnr") & (table.other != 0.125)].iloc[0]
    assert rival.ci_low < 0 < rival.ci_high or rival.advantage < 0.03


def test_the_page_says_what_the_best_level_can_be_told_from() -> None:
    frame = along_cutoff()
    level = frame.cutoff.map({0.125: 0.0, 0.25: 1.0, 0.5: 1.0})
    frame = frame.assign(haarpsi=0.5 + level + 0.001 * frame.psnr, excess=0.0)
    text = page(frame, curve_cutoff=changes(frame, "cutoff"), best=best_levels(frame, "cutoff"))
    best = text[text.index("## Best cutoff") :].splitlines()
    (cells,) = ([cell.strip() for cell in line.split("|")[3:6]] for line in best if "| sr_x4  | HaarPSI  " in line)
    assert cells[0] in ("0.25", "0.5") and cells[1] == "0.125" and cells[2] in ("0.25", "0.5")
    assert any("excess of power" in line and "| all " in line for line in text.splitlines())


def page(frame: pd.DataFrame, **tables: pd.DataFrame) -> str:
    datasets = pd.DataFrame([("photos", 6, 6, "six")], columns=["dataset", "images", "sources", "caption"])
    return render("it", {"datasets": datasets, "means": means(frame), **tables, "verdicts": verdicts(tables)}, [])


def test_two_keys_or_step_sizes_have_no_curve() -> None:
    frame = along_cutoff()
    other = frame.assign(zeta=12.0)
    assert curve_key(pd.concat([frame, other])) is None
    assert curve_key(frame.assign(factor=[2, 3] * (len(frame) // 2))) is None


def steps_frame(best: dict[str, float], zetas=(6.0, 8.5, 12.0), gap: float = 0.0) -> pd.DataFrame:
    """HaarPSI that falls off from each setting's best zeta; `gap` is what spatial loses even there."""
    weights = {"spatial and frequency": (1.0, 1.0), "spatial only": (1.0, 0.0), "frequency only": (0.0, 1.0)}
    draw = np.random.default_rng(2)
    found = []
    for name, (spatial, low) in weights.items():
        for zeta in zetas:
            score = 0.7 - 0.05 * abs(np.log2(zeta / best[name])) - gap * (name == "spatial only")
            for n, image in enumerate(IDS):
                value = score + 0.02 * n + draw.normal(0, 1e-4)
                found.append(
                    {"dataset": "leaves", "task": "sr_x4", "label": f"safari {spatial} {low} {zeta}", "pixel": 0.0}
                    | {"spatial": spatial, "low": low, "high": 0.0, "cutoff": 0.25, "factor": 2, "zeta": zeta}
                    | {"image_id": image} | dict.fromkeys(RESPONSES, value)
                )  # fmt: skip
    return pd.DataFrame(found)


ALIKE = {"spatial and frequency": 8.5, "spatial only": 12.0, "frequency only": 8.5}


def test_a_difference_that_is_only_of_step_size_vanishes_at_each_settings_own() -> None:
    frame = steps_frame(ALIKE)
    zetas = chosen(frame).query("best").set_index("setting")
    assert zetas.zeta.to_dict() == ALIKE
    assert zetas.edge.to_dict() == {name: zeta == 12 for name, zeta in ALIKE.items()}
    table = pairs(frame).query("response == 'haarpsi' and one == 'spatial and frequency' and other == 'spatial only'")
    rows = table.set_index("steps")
    assert rows.difference["shared"] == pytest.approx(0.05 * np.log2(12 / 8.5), abs=1e-3) and rows.ci_low["shared"] > 0
    assert rows.difference["own"] == pytest.approx(0, abs=1e-3) and rows.ci_low["own"] < 0 < rows.ci_high["own"]


@pytest.mark.parametrize(("gap", "opposite"), [(0.02, 0), (-0.02, 2)])
def test_the_page_counts_verdicts_that_turn(gap: float, opposite: int) -> None:
    """Spatial only gains 0.02 on both others at its own zeta, and lies 0.005 behind them at theirs."""
    frame = steps_frame(ALIKE, gap=gap)
    zetas, found = chosen(frame), pairs(frame)
    assert turned(found)["opposite"] == opposite
    assert list(order(zetas).same) == [gap >= 0]
    rows = verdicts({"pairs": found}).query("response == 'haarpsi'").set_index("comparison").verdict
    of = "spatial and frequency - spatial only, {} zeta".format
    assert (rows[of("shared")], rows[of("own")]) == ("higher", "lower" if gap < 0 else "higher")
    text = page(frame, steps=zetas, pairs=found)
    assert "spatial only (12)" in text and "At the edge of the values tried: spatial only." in text


def test_no_image_chooses_its_own_step_size() -> None:
    """One image alone makes zeta = 12 look best; for itself it is judged at what the others prefer."""
    frame = steps_frame(dict.fromkeys(ALIKE, 8.5))
    lucky = (frame.image_id == IDS[0]) & (frame.zeta == 12) & (frame.low == 0)
    frame.loc[lucky, "haarpsi"] += 1.0
    assert chosen(frame).query("best and setting == 'spatial only'").zeta.item() == 12
    own = pairs(frame).query("response == 'haarpsi' and steps == 'own' and one == 'spatial and frequency'")
    lost = own[own.other == "spatial only"].iloc[0]
    # the lucky image is judged at 8.5 and loses nothing; the other five are led to 12
    assert lost.difference == pytest.approx(5 / 6 * 0.05 * np.log2(12 / 8.5), abs=1e-3)


def test_without_several_step_sizes_there_is_nothing_to_choose() -> None:
    frame = steps_frame(ALIKE)
    assert len(chosen(frame[frame.zeta == 12])) == len(pairs(frame[frame.zeta == 12])) == 0
    assert len(chosen(frame.drop(index=frame.index[0]))) == 0  # an image lacks a score


def test_failures_count_only_on_their_side() -> None:
    frame = pd.DataFrame({"detail": [-3.0, 2.0], "blur": [4.0, -1.0], "excess": [0.0, 2.0], "phase_high": [0.25, 1.0]})
    table = failing(frame)
    assert [list(table[name]) for name in frame] == [[3, 0], [4, 0], [0, 2], [0.75, 0]]


@pytest.fixture
def methods(tmp_path: Path) -> Path:
    """dps loses 5 dB of detail, safari 3, tv 8; the degraded pictures are no method."""
    run = tmp_path / "methods"
    for sampler, gain in (("dps", 0.0), ("tv", -3.0), ("degraded", 1.0)):
        write(run, None, gain, sampler=sampler, spectrum_high=lambda k, gain=gain: gain - 5 + 0.01 * k)
    write(run, {"spatial": 1.0}, 2.0, spectrum_high=lambda k: -3 + 0.02 * k)
    return run


def test_methods_without_psi_have_signatures_and_no_weights(methods: Path) -> None:
    frame = load_study(methods)
    assert set(frame.sampler) == {"safari", "dps", "tv"}
    assert set(with_psi(frame).sampler) == {"safari"}
    written = {path.name for path in ablate(methods)[0]}
    assert {"failures.csv", "means.csv", "signatures.png", "ablation.md"} <= written
    page = (methods / "ablation.md").read_text()
    (line,) = (line for line in page.splitlines() if line.startswith("| tv ") and "±" in line)
    assert "| safari " in page and "spatial only" not in page  # a method among methods
    assert "| **-7.98 ± 0.02** " in line  # mean of -8 + 0.01 k, and on the failing side


def test_a_failure_is_prevented_where_there_is_less_of_it_on_the_same_images(methods: Path) -> None:
    table = failures(load_study(methods))
    detail = table[(table.failure == "detail") & (table.against == "dps")].set_index("setting")
    assert detail.change["safari"] == pytest.approx(-2 - 0.01 * 2.5) and detail.ci_high["safari"] < 0
    assert detail.change["tv"] == pytest.approx(3) and detail.ci_low["tv"] > 0
    ablate(methods)
    page = (methods / "ablation.md").read_text()
    against_dps = page[page.index("Against dps, 1 task") :]
    rows = {line.split()[1]: line for line in against_dps.splitlines()[:10] if line.startswith("| ")}
    assert [cell.strip() for cell in rows["safari"].split("|")[2:6]] == ["1 / 0", "1 / 0", "0 / 0", "0 / 0"]
    assert rows["tv"].split("|")[2].strip() == "0 / 1"
