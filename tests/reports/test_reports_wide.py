"""Ranks, the wide CSV and the LaTeX document."""

import math
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from safari_bench.reports import build

pytestmark = pytest.mark.usefixtures("no_figures")

NAN = math.nan


def read(run, name: str) -> pd.DataFrame:
    build(run.folder)
    return pd.read_csv(run.folder / name)


def ranks(run, metric: str = "psnr") -> dict[str, tuple[int, float]]:
    frame = read(run, "ranks.csv")
    return {row.sampler: (row.tasks, row["rank"]) for _, row in frame[frame.metric == metric].iterrows()}


def test_ranks_are_averaged_over_tasks_with_ties_shared(run) -> None:
    for task, values in {"denoising": (30.0, 20.0, 10.0), "sr_x4": (20.0, 20.001, 30.0)}.items():
        for sampler, value in zip(("tv", "safari", "dps"), values, strict=True):
            run.cell(sampler, {"psnr": value, "gmsd": value}, task=task)
    assert ranks(run) == {"tv": (2, (1 + 2.5) / 2), "safari": (2, (2 + 2.5) / 2), "dps": (2, (3 + 1) / 2)}
    assert ranks(run, "gmsd")["dps"] == (2, (1 + 3) / 2)  # low is best


def test_who_has_no_score_or_fewer_images_shares_the_last_places(run) -> None:
    run.cell("tv", {"psnr": 10.0})
    run.cell("safari", {"psnr": [50.0] * 4}, statuses={"b": ("failed", "x")})
    run.cell("ddrm", statuses=dict.fromkeys("abcd", ("unsupported", "no SVD")))
    assert ranks(run) == {"tv": (1, 1.0), "safari": (1, 2.5), "ddrm": (1, 2.5)}
    assert set(read(run, "ranks.csv").metric) == {"psnr"}


def test_who_was_not_run_on_every_task_has_no_rank(run) -> None:
    run.cell("tv", {"psnr": 10.0}, task="denoising")
    run.cell("tv", {"psnr": 10.0})
    run.cell("dps", {"psnr": 10.0})
    found = ranks(run)
    assert found["tv"] == (2, 1.25) and found["dps"][0] == 1 and math.isnan(found["dps"][1])


def test_the_wide_table_holds_what_the_tidy_one_does(run) -> None:
    run.cell("dps", {"psnr": [20, 22, 24, 26], "seconds": 1.5}, seed=0)
    run.cell("dps", {"psnr": 22.0}, seed=1, statuses={"a": ("failed", "x")})
    run.cell("ddrm", statuses=dict.fromkeys("abcd", ("unsupported", "no SVD")))
    run.cell("dps", {"ssim": 0.5}, task="denoising")
    wide, tidy = read(run, "table1_wide.csv"), read(run, "table1.csv")
    assert list(zip(wide.task, wide.sampler, strict=True)) == [
        ("denoising", "dps"),
        ("sr_x4", "dps"),
        ("sr_x4", "ddrm"),
    ]
    assert wide[["images", "seeds", "ok", "failed", "unsupported"]].to_numpy().tolist() == [
        [4, 1, 4, 0, 0],
        [4, 2, 7, 1, 0],
        [4, 1, 0, 0, 4],
    ]
    for row in tidy.itertuples():
        of = wide[(wide.task == row.task) & (wide.sampler == row.sampler)].iloc[0]
        for name, value in {"": row.mean, "_n": row.n, "_ci_low": row.ci_low, "_ci_high": row.ci_high}.items():
            assert of[row.metric + name] == value or (math.isnan(of[row.metric + name]) and math.isnan(value))
    assert {"nfe", "n_backward", "seconds", "peak_mem_mb"} <= set(wide)


def document(run) -> str:
    """With every kind of entry, and text that LaTeX would trip over."""
    ids, steady = "abcdefgh", [20.0, 22, 24, 26, 28, 30, 32, 34]
    nasty = r"50 % of {x}_1 & #2 ~ $3 \ ^ <é> " + '"ü" 中 a--b [c]'
    for task in ("denoising", "inpaint_box"):
        run.cell("dps", {"psnr": steady, "spectrum_mid": -1.5, "haarpsi": 0.5}, ids=ids, task=task)
        run.cell("safari", {"psnr": [v - 0.1 for v in steady]}, ids=ids, task=task, options={"rule": "a|b_c"})
        run.cell("safari", {"psnr": [v - 0.1 for v in steady]}, ids=ids, task=task, options={"rule": nasty})
        run.cell("mcg", {"psnr": [v + (3 if k % 2 else -4) for k, v in enumerate(steady)]}, ids=ids, task=task)
        run.cell("ddrm", statuses=dict.fromkeys(ids, ("failed", nasty)), ids=ids, task=task)
    build(run.folder)
    return (run.folder / "table1.tex").read_text()


def test_latex_is_escaped_marked_and_balanced(run) -> None:
    text = document(run)
    assert text.isascii() and text.startswith("\\documentclass") and text.rstrip().endswith("\\end{document}")
    row = next(line for line in text.splitlines() if line.startswith("dps & ") and "$-$1.5" in line)
    assert r"& \textbf{27.00 $\pm$ " in row and row.endswith(r"\\")
    assert re.search(r"^mcg & \\underline\{26\.50 \$\\pm\$ ", text, re.MULTILINE)
    assert r"gaussian noise of sigma 0.05 on {[}-{}1, 1{]}" in text  # the unit, in the caption
    begun, ended = re.findall(r"\\begin\{(\w+)\}", text), re.findall(r"\\end\{(\w+)\}", text)
    assert sorted(begun) == sorted(ended) and begun.count("tabular") == 3
    for block in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in block[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {block[0].count("r")}
    bare = re.sub(r"\\[\\#$%&_{}]", "", text)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert not re.search(r"[%#~^<>|\"]", bare.split("\\begin{document}")[1])


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
def test_latex_compiles_on_its_own(run, tmp_path: Path) -> None:
    document(run)
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table1.tex"]
    done = subprocess.run(words, cwd=run.folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout
    assert "(4 pages" in done.stdout  # the overview, two tasks, the legend
