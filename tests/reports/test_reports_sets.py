"""Scores of sets in the tables: with their N, without an interval, and n/a where weights were absent."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_reports_render import bold, cells

from safari_bench.ledger import attach
from safari_bench.reports import TableError, build, render_text

NAN = math.nan


def scored(folder: Path, n: int = 4, notes: tuple[str, ...] = (), **scores: float | None) -> None:
    attach(folder, "set_scores", {"n": n, "scores": scores, "notes": list(notes)})


def table(run: Any) -> pd.DataFrame:
    build(run.folder)
    return pd.read_csv(run.folder / "table1.csv").set_index(["sampler", "metric"])


def test_set_scores_stand_in_the_tables_with_their_number_of_pictures(run) -> None:
    scored(run.cell("dps", {"psnr": 20.0}), fid=12.345, kid=0.01234)
    scored(run.cell("safari", {"psnr": 21.0}), fid=23.456, kid=-0.00012)
    found = cells(render_text(run.folder))
    assert found["dps"]["FID"] == "**12.35 (4)**" and found["safari"]["FID"] == "23.46 (4)"
    assert found["safari"]["KID"] == "**-0.0001 (4)**"
    assert list(found["dps"]).index("PSNR") < list(found["dps"]).index("FID") < list(found["dps"]).index("KID")
    numbers = table(run)
    assert numbers.loc[("dps", "fid"), ["n", "mean"]].tolist() == [4, 12.345]
    assert math.isnan(numbers.loc[("dps", "fid"), "ci_low"])
    text = render_text(run.folder)
    assert "FID ↓ (N)" in text and "- KID ↓ (N): kernel inception distance" in text


def test_sets_of_fewer_pictures_are_not_compared(run) -> None:
    scored(run.cell("dps", {"psnr": 20.0}), n=3, fid=1.0)
    scored(run.cell("safari", {"psnr": 21.0}), fid=2.0)
    scored(run.cell("mcg", {"psnr": 21.0}), fid=3.0)
    assert bold(cells(render_text(run.folder)), "FID") == ["safari"]


def test_seeds_are_averaged(run) -> None:
    scored(run.cell("dps", {"psnr": 20.0}, seed=0), fid=10.0)
    scored(run.cell("dps", {"psnr": 20.0}, seed=1), n=3, fid=11.0)
    assert table(run).loc[("dps", "fid"), ["n", "mean"]].tolist() == [3, 10.5]


def test_a_line_without_set_scores_has_a_dash(run) -> None:
    scored(run.cell("dps", {"psnr": 20.0}), fid=10.0)
    run.cell("safari", {"psnr": 20.0})
    found = cells(render_text(run.folder))
    assert found["safari"]["FID"] == "\N{EN DASH}" and found["dps"]["FID"].startswith("**10.00")


def test_absent_weights_read_n_a_and_the_legend_says_why(run) -> None:
    scored(run.cell("dps", {"psnr": 20.0, "lpips_vgg": NAN, "new": NAN}), fid=None, kid=None)
    run.cell("safari", {"psnr": 20.0, "lpips_vgg": 0.25})
    text = render_text(run.folder)
    found = cells(text)
    assert found["dps"]["LPIPS"] == found["dps"]["FID"] == found["dps"]["KID"] == "n/a"
    assert found["dps"]["new"] == "\N{EN DASH}"  # no weights would help
    assert found["safari"]["LPIPS"].startswith("**0.250")
    assert "n/a: " in text and "safari-bench weights" in text and "safari-bench score" in text
    assert table(run).loc[("dps", "fid"), "n"] == 0


def test_failed_and_unsupported_lines_say_so_rather_than_n_a(run) -> None:
    run.cell("dps", {"lpips_vgg": NAN}, statuses=dict.fromkeys("abcd", ("failed", "why")))
    run.cell("ddrm", {"lpips_vgg": NAN}, statuses=dict.fromkeys("abcd", ("unsupported", "why")))
    scored(run.cell("safari", {"lpips_vgg": 0.1}), fid=3.0)
    found = cells(render_text(run.folder))
    rows = {name.split(" ")[0]: row for name, row in found.items()}
    assert rows["dps"]["LPIPS"] == rows["dps"]["FID"] == "failed"
    assert rows["ddrm"]["LPIPS"] == rows["ddrm"]["FID"] == "n/s"


def test_no_legend_of_weights_where_no_score_needs_them(run) -> None:
    run.cell("dps", {"psnr": 20.0})
    assert "safari-bench weights" not in render_text(run.folder)


def test_notes_stand_below_the_table_once(run) -> None:
    note = "FID and KID of 4 pictures, fewer than 2048: they compare at equal N only"
    scored(run.cell("dps", {"psnr": 20.0}), notes=(note,), fid=1.0)
    scored(run.cell("safari", {"psnr": 20.0}), notes=(note,), fid=2.0)
    text = render_text(run.folder)
    assert text.count(note) == 1
    assert {name.split(" ")[-1] for name in cells(text)} == {"(1)"}


def test_a_damaged_file_is_named(run) -> None:
    (run.cell("dps", {"psnr": 20.0}) / "set_scores.json").write_text("{")
    with pytest.raises(TableError, match=r"set_scores\.json is damaged"):
        build(run.folder)
