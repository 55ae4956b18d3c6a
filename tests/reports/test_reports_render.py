"""What a reader sees: which number is bold, what stands where there is none, and the notes below."""

import math
import random
import re
from pathlib import Path

import pytest

from safari_bench.reports import build, render_text
from safari_bench.reports.vocabulary import NOTHING

NAN = math.nan


def cells(text: str, task: str = "sr_x4") -> dict[str, dict[str, str]]:
    """{sampler: {metric: cell}} of one task's table."""
    block = text.split(f"### {task}, ")[1].split("\n#")[0]
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in block.splitlines() if row[:1] == "|"
    ]
    heads = [head if " best of " in head else head.split(" ")[0] for head in rows[0]]
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows[2:]}


def underscored(found: dict[str, dict[str, str]], metric: str) -> list[str]:
    return [sampler for sampler, row in found.items() if row[metric].startswith("_")]


def bold(found: dict[str, dict[str, str]], metric: str) -> list[str]:
    return [sampler for sampler, row in found.items() if row[metric].startswith("**")]


def test_the_best_is_bold_in_the_direction_of_its_metric(run) -> None:
    names = (
        "psnr",
        "ssim",
        "haarpsi",
        "gmsd",
        "lpips_vgg",
        "data_consistency",
        "spectrum_low",
        "spectrum_high",
        "seconds",
        "new",
    )
    values = {
        "degraded": (30.0, 0.1, 0.4, 0.30, 0.5, 0.20, -3.0, 0.5, 0.0, 1),
        "dps": (20.0, 0.9, 0.6, 0.10, 0.2, 1.10, 2.0, 2.0, 9.0, 2),
        "safari": (25.0, 0.5, 0.5, 0.20, 0.1, 0.95, 4.0, -0.1, 8.0, 3),
    }
    for sampler, of_sampler in values.items():
        run.cell(sampler, dict(zip(names, of_sampler, strict=True)))
    found = cells(render_text(run.folder))
    assert list(found) == ["degraded", "safari", "dps"]
    assert bold(found, "PSNR") == ["degraded"]
    assert bold(found, "SSIM") == bold(found, "HaarPSI") == bold(found, "GMSD") == ["dps"]
    assert bold(found, "LPIPS") == ["safari"]
    assert bold(found, "DC") == ["safari"]  # 0.95 is nearer to 1 than 1.1; neither the smallest nor the largest
    assert bold(found, "low") == ["dps"] and bold(found, "high") == ["safari"]
    assert bold(found, "s") == bold(found, "new") == bold(found, "NFE") == []


def test_headings_carry_the_direction(run) -> None:
    run.cell("dps", {"psnr": 1.0, "gmsd": 1.0, "data_consistency": 1.0, "spectrum_mid": 0.0, "new": 2.0})
    head = next(row for row in render_text(run.folder).splitlines() if row.startswith("| sampler"))
    assert [cell.strip() for cell in head.split("|")[2:-1]] == [
        "PSNR ↑", "GMSD ↓", "DC →1", "mid dB →0", "new", "NFE", "backward", "s", "MiB",
    ]  # fmt: skip


def test_what_reads_the_same_is_bold_together_and_one_alone_is_not(run) -> None:
    run.cell("degraded", {"psnr": 20.0})
    assert bold(cells(render_text(run.folder)), "PSNR") == []
    run.cell("dps", {"psnr": 30.001})
    run.cell("safari", {"psnr": 30.004})
    assert bold(cells(render_text(run.folder)), "PSNR") == ["safari", "dps"]


def test_a_line_with_fewer_images_is_not_the_best(run) -> None:
    run.cell("degraded", {"psnr": 20.0})
    run.cell("dps", {"psnr": [50.0, 50.0, NAN, NAN]}, count=2)
    assert bold(cells(render_text(run.folder)), "PSNR") == ["degraded"]


def test_numbers_are_means_and_half_intervals(run) -> None:
    run.cell("dps", {"psnr": [20, 22, 24, 26], "data_consistency": [0.9, 1.1, 1.0, 1.0], "spectrum_low": -0.01})
    build(run.folder)
    row = next(x for x in (run.folder / "table1.csv").read_text().splitlines() if ",psnr," in x)
    low, high = map(float, row.split(",")[-2:])
    found = cells(render_text(run.folder))["dps"]
    assert found["PSNR"] == f"23.00 ± {(high - low) / 2:.2f}"
    assert found["DC"] == "1.00" and found["low"] == "0.0"


def test_one_image_has_no_interval(run) -> None:
    run.cell("dps", {"psnr": 20.0}, ids=("a",))
    assert cells(render_text(run.folder))["dps"]["PSNR"] == "20.00"


def test_what_stands_where_there_is_no_number(run) -> None:
    traceback = "Traceback (most recent call last):\n  File\nRuntimeError: sizes 3 | 4\n"
    run.cell("degraded", {"psnr": 20.0, "data_consistency": NAN})
    run.cell("ddrm", statuses=dict.fromkeys("abcd", ("unsupported", "hdr is not linear")))
    run.cell("dps", statuses=dict.fromkeys("abcd", ("failed", traceback)))
    run.cell("safari", {"psnr": 30.0}, statuses={"b": ("failed", "NaN at 3"), "d": ("failed", "NaN at 7")})
    run.cell("mcg", {"psnr": 25.0}, count=3)
    run.cell("daps", count=0)
    text = render_text(run.folder)
    found = {name.split(" ")[0]: row for name, row in cells(text).items()}
    assert found["degraded"]["DC"] == NOTHING and found["daps"]["PSNR"] == NOTHING
    assert found["ddrm"]["PSNR"] == found["ddrm"]["DC"] == "n/s" and found["dps"]["PSNR"] == "failed"
    assert found["safari"]["PSNR"] == "30.00 ± 0.00" and found["mcg"]["PSNR"] == "25.00 ± 0.00"
    notes = dict(re.findall(r"^- \((\d)\) (.*)$", text, re.MULTILINE))
    said = {name.split(" ")[0]: notes[name[-2]] for name in cells(text) if "(" in name}
    assert said == {
        "safari": "failed, 2 of 4 images: NaN at 3 (and 1 other reasons, see per_image.csv)",
        "dps": "failed: RuntimeError: sizes 3 | 4",
        "mcg": "3 of 4 images so far",
        "ddrm": "n/s: hdr is not linear",
        "daps": "0 of 4 images so far",
    }


def test_captions_say_what_was_computed(run) -> None:
    machine = {"machine": {"device": "cpu", "processor": "Model T x 2"}, "caption": {"split": "test"}}
    run.cell("dps", {"psnr": 30.0}, run=machine)
    run.cell("dps", {"psnr": 32.0}, seed=5, run={"machine": {"device": "H100", "processor": "Model T x 2"}})
    run.cell("degraded", {"psnr": 20.0}, spec={"prior": {"name": "none"}})
    text = render_text(run.folder)
    assert text.startswith("# table1\n\n## photos\n")
    caption = (
        "images: 4 · prior: gaussian · seed: 0, 5 · precision: fp32 · computed on: Model T x 2, H100 · split: test"
    )
    assert caption in text
    run.cell("mmps", {"psnr": 31.0}, spec={"precision": "bf16"})
    run.cell("mmps", {"psnr": 31.0}, spec={"precision": "bf16"}, task="denoising")
    assert " · precision: fp32, bf16 (mmps) · " in render_text(run.folder)
    assert "- (1) mean of 2 seeds per image" in text and cells(text)["dps (1)"]["PSNR"].strip("*") == "31.00 ± 0.00"


@pytest.mark.parametrize(
    ("noise", "says"),
    [
        ({}, "gaussian noise of sigma 0.05 on [-1, 1]"),
        ({"sigma_range": "zero_one"}, "gaussian noise of sigma 0.05 on [0, 1]"),
        ({"sigma": 0.0}, "no noise"),
        ({"noise": "none"}, "no noise"),
        ({"noise": "poisson", "quality": 50}, "poisson noise rate 30"),
    ],
)
def test_noise_is_stated_with_its_unit(run, noise: dict, says: str) -> None:
    run.cell("dps", {"psnr": 30.0}, count=1)
    spec = next(run.folder.glob("*/*/*/*/run.json"))
    task = {"name": "hdr", "noise": "gaussian", "sigma": 0.05, "sigma_range": "minus_one_one", "rate": 30.0} | noise
    run.cell("dps", {"psnr": 30.0}, task="hdr", spec={"task": task})
    assert spec.exists() and f"### hdr, {says}\n" in render_text(run.folder)


def test_measurements_that_differ_between_samplers_are_reported(run) -> None:
    run.cell("degraded", {"psnr": 30.0})
    assert "differ between samplers" not in render_text(run.folder)
    run.cell("dps", {"psnr": 30.0}, row={"y_sha256": "another"})
    assert "**4 measurements differ between samplers" in render_text(run.folder)


def test_a_psi_that_is_not_injective_is_noted(run) -> None:
    run.cell("safari", {"psnr": 1.0}, options={"high": 0}, row={"psi_injective": False})
    run.cell("safari", {"psnr": 1.0}, options={"high": 1}, row={"psi_injective": True})
    text = render_text(run.folder)
    assert list(cells(text)) == ["safari [high=0] (1)", "safari [high=1]"] and "- (1) psi is not injective" in text
    assert "psi_injective" not in text


def test_every_column_is_explained_and_bars_are_escaped(run) -> None:
    run.cell("dps", {"psnr": 1.0, "new": 2.0}, options={"rule": "a|b"})
    run.cell("dps", {"psnr": 1.0, "new": 2.0}, options={"rule": "c"})
    text = render_text(run.folder)
    assert list(cells(text)) == ["dps [rule=a\\|b]", "dps [rule=c]"]
    legend = text.split("## How to read this")[1]
    for word in ("PSNR ↑: ", "new: ", "NFE: ", "in dB", "MiB: ", "n/s: ", f"{NOTHING}: ", "±: "):
        assert word in legend


def test_the_files_are_the_same_bytes_whatever_came_first(new_run) -> None:
    kinds = [("degraded", {}, 0), ("safari", {"z": 1}, 0), ("safari", {"z": 2}, 0), ("safari", {"z": 2}, 1)]
    cells = [(task, *kind, place) for place, kind in enumerate(kinds) for task in ("sr_x4", "denoising")]
    found = []
    for name in ("first", "second"):
        run = new_run(name)
        random.Random(name).shuffle(cells)
        for task, sampler, options, seed, place in cells:
            psnr = [random.Random(f"{task} {place} {image}").gauss(20, 3) for image in range(4)]
            run.cell(sampler, {"psnr": psnr}, task=task, options=options, seed=seed, color=(90, 90, 90))
        files = build(run.folder)
        assert [path.name for path in files] == [
            *("per_image.csv", "table1.csv", "table1_wide.csv", "comparisons.csv", "ranks.csv", "table1.md"),
            *("table1.tex", "axis_sampler.z.png", "distortion.png", "cost.png", "grid.png", "spectrum.png"),
        ]
        found.append([path.read_bytes() for path in files])
        assert [path.read_bytes() for path in build(run.folder)] == found[-1]
    assert found[0] == found[1]


def test_the_terminal_sees_what_the_file_holds(run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.cell("dps", {"psnr": 1.0})
    build(run.folder)
    assert (run.folder / "table1.md").read_text() == render_text(run.folder)
    monkeypatch.chdir(run.folder)
    assert render_text(Path(".")).startswith("# table1\n")


def test_the_overview_has_both_headline_scores_of_every_task_and_their_best(run) -> None:
    run.cell("dps", {"psnr": 20.0, "haarpsi": 0.6}, task="sr_x4")
    run.cell("safari", {"psnr": 19.0, "haarpsi": 0.7}, task="sr_x4")
    run.cell("dps", {"psnr": 25.0, "haarpsi": 0.8}, task="denoising")
    run.cell("safari", task="denoising", statuses={image: ("unsupported", "no") for image in "abcd"})
    title = "### All tasks, gaussian noise of sigma 0.05 on [-1, 1]: PSNR ↑ / HaarPSI ↑\n"
    block = render_text(run.folder).split(title)[1].split("\n#")[0]
    rows = {
        row.split("|")[1].strip(): [c.strip() for c in row.split("|")[2:-1]] for row in block.splitlines() if "|" in row
    }
    assert rows["sampler"] == ["denoising", "sr_x4", "mean rank"]
    assert rows["dps"] == ["**25.00** / **0.800**", "**20.00** / 0.600", "**1.0** / **1.5**"]
    assert rows["safari"] == ["n/s", "19.00 / **0.700**", "2.0 / **1.5**"]


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ({"haarpsi": 0.5, "deep_distance": 1.0}, "PSNR ↑ / deep dist. ↓"),
        ({"haarpsi": 0.5, "deep_distance": 1.0, "lpips_vgg": 0.1}, "PSNR ↑ / LPIPS VGG ↓"),
    ],
)
def test_the_overview_shows_the_best_perceptual_score_that_all_have(run, scores: dict[str, float], shown: str) -> None:
    for task in ("denoising", "sr_x4"):
        for sampler in ("dps", "safari"):
            run.cell(sampler, {"psnr": 20.0, **scores}, task=task)
    run.cell("tv", {"psnr": 20.0, "haarpsi": 0.5, "deep_distance": 1.0, "lpips_alex": 0.1, **scores}, task="hdr")
    assert f"on [-1, 1]: {shown}\n" in render_text(run.folder)


def test_the_overview_shows_no_score_that_some_lack(run) -> None:
    for task in ("denoising", "sr_x4"):
        run.cell("dps", {"psnr": 20.0, "haarpsi": 0.5, "deep_distance": 1.0}, task=task)
    run.cell("safari", {"psnr": 20.0, "haarpsi": 0.5}, task="sr_x4")
    assert "on [-1, 1]: PSNR ↑ / HaarPSI ↑\n" in render_text(run.folder)


def test_the_overview_says_which_task_has_which_noise(run) -> None:
    loud = {"name": "x", "noise": "gaussian", "sigma": 0.1, "sigma_range": "zero_one"}
    for task, spec in {"sr_x4": {}, "denoising": {"task": loud}, "hdr": {}}.items():
        run.cell("dps", {"psnr": 20.0}, task=task, spec=spec)
        run.cell("safari", {"psnr": 20.0}, task=task, spec=spec)
    said = "gaussian noise of sigma 0.1 on [0, 1] (denoising); gaussian noise of sigma 0.05 on [-1, 1] (sr_x4, hdr)"
    assert f"### All tasks, {said}: PSNR ↑\n" in render_text(run.folder)


@pytest.mark.parametrize(
    ("calls", "says"), [((50, 50), "50"), ((12, 50), "at most 50, at least 12"), ((0, 50), "50"), ((0, 0), "")]
)
def test_the_caption_bounds_the_calls_of_the_prior(run, calls: tuple[int, int], says: str) -> None:
    for sampler, nfe in zip(("tv", "dps"), calls, strict=True):
        run.cell(sampler, {"psnr": 20.0, "nfe": nfe})
    found = re.search(r"prior calls an image: (.*?) ·", render_text(run.folder))
    assert (found[1] if found else "") == says


def test_one_task_needs_no_overview_and_a_legend_can_be_left_out(run) -> None:
    run.cell("dps", {"psnr": 20.0, "haarpsi": 0.6})
    text = render_text(run.folder)
    assert "All tasks" not in text
    assert text.startswith(render_text(run.folder, legend=False).rstrip())
    assert "How to read this" in text
    assert "How to read this" not in render_text(run.folder, legend=False)


def test_what_cannot_be_told_from_the_best_is_underscored(run) -> None:
    ids, steady = "abcdefgh", [20.0, 22, 24, 26, 28, 30, 32, 34]
    run.cell("dps", {"psnr": steady}, ids=ids)
    run.cell("safari", {"psnr": [v - 0.1 for v in steady]}, ids=ids)  # a little worse, every time
    run.cell("ddrm", {"psnr": [v + (3 if k % 2 else -4) for k, v in enumerate(steady)]}, ids=ids)  # now and then
    text = render_text(run.folder)
    found = cells(text)
    assert (bold(found, "PSNR"), underscored(found, "PSNR")) == (["dps"], ["ddrm"])
    legend = text.split("## How to read this")[1]
    assert "_between underscores, in italics_: not distinguishable from the best: paired permutation test" in legend


def test_with_few_images_nothing_is_underscored(run) -> None:
    run.cell("dps", {"psnr": [20, 30, 20, 30]})
    run.cell("safari", {"psnr": [19, 31, 19, 30]})
    found = cells(render_text(run.folder))
    assert (bold(found, "PSNR"), underscored(found, "PSNR")) == (["dps"], [])
