"""The best of several seeds: beside the mean, under its own name, and out of everything that compares."""

import math
from pathlib import Path

import pandas as pd
import pytest

from safari_bench.reports import build

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture
def files(run):
    """dps: three seeds, of which the last fails on image d. safari, tv: two seeds and one."""
    last = {"d": ("failed", "NaN at 3")}
    run.cell("dps", {"psnr": [20, 30, 10, 90], "haarpsi": 0.3, "gmsd": 0.2}, seed=0)
    run.cell("dps", {"psnr": [24, 27, 10, 90], "haarpsi": 0.5, "gmsd": 0.1}, seed=1)
    run.cell("dps", {"psnr": [22, 24, 40, 90], "haarpsi": 0.4, "gmsd": 0.3}, seed=2, statuses=last)
    run.cell("safari", {"psnr": [60, 61, 62, 63], "haarpsi": 0.1}, seed=0)
    run.cell("safari", {"psnr": [50, 71, 52, 73], "haarpsi": 0.2}, seed=1)
    run.cell("tv", {"psnr": 1.0, "haarpsi": 0.9})
    build(run.folder)
    return run.folder


def test_the_best_is_of_each_image_and_of_images_that_every_seed_restored(files):
    tidy = pd.read_csv(files / "table1.csv").set_index(["sampler", "metric"])
    assert tidy.loc[("dps", "psnr_best_of_3"), ["n", "seeds", "mean"]].tolist() == [3, 3, (24 + 30 + 40) / 3]
    assert tidy.loc[("dps", "haarpsi_best_of_3"), "mean"] == 0.5
    assert tidy.loc[("safari", "psnr_best_of_2"), ["n", "mean"]].tolist() == [4, (60 + 71 + 62 + 73) / 4]
    assert tidy.loc[("dps", "psnr"), "mean"] == pytest.approx((22 + 27 + 20 + 90) / 4)  # the estimate is untouched
    assert tidy.loc[("dps", "psnr_best_of_2"), "n"] == tidy.loc[("tv", "psnr_best_of_3"), "n"] == 0
    assert not any("gmsd_best" in name for name in tidy.reset_index().metric)
    wide = pd.read_csv(files / "table1_wide.csv").set_index("sampler")
    assert wide.loc["dps", ["psnr_best_of_3", "psnr_best_of_3_n"]].tolist() == [(24 + 30 + 40) / 3, 3]
    assert math.isnan(wide.loc["tv", "psnr_best_of_3"])


def test_nothing_compares_it(files):
    for name in ("comparisons.csv", "ranks.csv"):
        assert set(pd.read_csv(files / name).metric) == {"psnr", "haarpsi", "gmsd"}
    text = (files / "table1.md").read_text()
    head, *rows = (line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| "))
    column = [cell.strip() for cell in head].index("PSNR best of 3")
    cells = [row[column].strip() for row in rows]
    assert cells[:2] == ["\N{EN DASH}"] * 2 and cells[2].startswith("31.33 \N{PLUS-MINUS SIGN} ")
    assert not any(sign in "".join(cells) for sign in "*_")
    assert "- PSNR best of 3: PSNR, best of 3 seeds per image, chosen with the reference: not an estimate" in text


def test_one_seed_has_no_such_column(run):
    run.cell("dps", {"psnr": 20.0, "haarpsi": 0.5})
    build(run.folder)
    assert not any("best of 1" in text or "best_of" in text for text in map(Path.read_text, run.folder.glob("t*.*")))
