"""Whatever differs between cells of a task splits its table, becomes a column, and where it is a number an axis."""

from typing import Any

import pandas as pd
import pytest

from safari_bench.reports import build, render_text
from safari_bench.reports.records import lines, load

TASK = {"name": "sr_x4", "noise": "gaussian", "sigma": 0.05, "sigma_range": "minus_one_one"}
SHIPPED = {"_target_": "safari_bench.operators.BicubicDownsample", "factor": 4}
NONE = {"prior": {"name": "none"}}


def task(**change: Any) -> dict[str, Any]:
    return {"task": {**TASK, "operator": SHIPPED, **change}}


def headings(run) -> list[str]:
    return list(dict.fromkeys(line.first.heading for line in lines(load(run.folder))))


def members(run) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines(load(run.folder)):
        found.setdefault(line.first.heading, []).append(line.first.label)
    return found


@pytest.mark.parametrize(
    ("one", "two", "expected", "column"),
    [
        (task(sigma=0.2), task(), ["sigma 0.05", "sigma 0.2"], "sigma"),
        (task(operator={**SHIPPED, "factor": 16}), task(), ["factor 4", "factor 16"], "task.operator.factor"),
        (task(noise="poisson"), task(), ["noise gaussian", "noise poisson"], "task.noise"),
        (task(sigma_range="zero_one"), task(), ["sigma_range minus_one_one", "sigma_range zero_one"], "sigma_range"),
        ({"precision": "bf16"}, {}, ["precision bf16", "precision fp32"], "precision"),
        ({"prior": {"name": "a", "sha256": "1"}}, {}, ["prior a", "prior gaussian"], "prior"),
        (
            {"prior": {"name": "gaussian", "sha256": "0123456789"}},
            {},
            ["weights 01234567", "weights p"],
            "prior.sha256",
        ),
        (
            {"dataset": {"name": "photos", "size": [32, 32], "manifest_sha256": "n"}},
            {"dataset": {"name": "photos", "size": [64, 64], "manifest_sha256": "m"}},
            ["size 32", "size 64"],
            "dataset.size",
        ),
        (
            {"dataset": {"name": "photos", "manifest_sha256": "0123456789"}},
            {},
            ["images 01234567", "images m"],
            "dataset.manifest_sha256",
        ),
    ],
)
@pytest.mark.usefixtures("no_figures")
def test_a_difference_is_a_facet_and_a_column(run, one: dict, two: dict, expected: list[str], column: str) -> None:
    for spec, psnr in ((one, 10.0), (two, 20.0)):
        run.cell("dps", {"psnr": psnr}, spec=spec)
        run.cell("mcg", {"psnr": psnr + 1}, spec=spec)
    assert headings(run) == [f"sr_x4, {name}" for name in expected]
    files = {path.name for path in build(run.folder, tables_only=True)}
    assert {"per_image.csv", "table1.csv", "table1.md"} <= files and not any(name.endswith(".png") for name in files)
    rows, table = (pd.read_csv(run.folder / name) for name in ("per_image.csv", "table1.csv"))
    assert column in rows and column in table and set(table.task) == {"sr_x4"} and len(rows) == 16
    assert table[(table.metric == "psnr")].groupby(column)["mean"].mean().sort_values().tolist() in ([10.5, 20.5],)
    text = (run.folder / "table1.md").read_text()
    assert all(f"### sr_x4, {name}, " in text for name in expected)
    assert text.count("**11.00 ± 0.00**") == text.count("**21.00 ± 0.00**") == 1  # the best of its own facet


def test_a_lone_value_that_is_not_the_task_files_is_named(run) -> None:
    run.cell("dps", {"psnr": 1.0}, spec=task(operator={**SHIPPED, "factor": 8}))
    assert headings(run) == ["sr_x4, factor 8"]


def test_values_of_the_task_file_are_not_named_at_either_size(run) -> None:
    blur = {"_target_": "safari_bench.operators.GaussianBlur", "boundary": "reflect"}
    for dataset, size, taps, std in (("small", 64, 15, 1.5), ("large", 256, 61, 3.0), ("odd", 64, 61, 1.5)):
        of = {"dataset": {"name": dataset, "size": [size, size]}, "task": {**TASK, "name": "deblur_gaussian"}}
        of["task"]["operator"] = {**blur, "taps": taps, "std": std}
        run.cell("dps", {"psnr": 1.0}, dataset=dataset, task="deblur_gaussian", spec=of)
    of = {"task": {**TASK, "name": "inpaint_random_92"}}
    of["task"]["operator"] = {"_target_": "safari_bench.operators.RandomInpainting", "fraction": 0.92}
    run.cell("dps", {"psnr": 1.0}, task="inpaint_random_92", spec=of)
    assert headings(run) == ["deblur_gaussian", "deblur_gaussian, taps 61", "inpaint_random_92"]


def test_methods_without_a_prior_stand_beside_every_prior_and_precision(run) -> None:
    run.cell("tv", {"psnr": 1.0}, spec=NONE)
    for prior in ("a", "b"):
        for precision in ("bf16", "fp64"):
            run.cell("dps", {"psnr": 2.0}, spec={"prior": {"name": prior}, "precision": precision})
    run.cell("tv", {"psnr": 1.0}, spec={**NONE, "precision": "fp64"})
    names = [f"prior {prior}, precision {precision}" for prior in "ab" for precision in ("bf16", "fp64")]
    assert members(run) == {f"sr_x4, {name}": ["tv", "dps"] for name in names}
    build(run.folder, tables_only=True)
    rows = pd.read_csv(run.folder / "per_image.csv")
    assert len(rows) == 6 * 4  # no row twice, and each with its own values
    assert set(zip(rows.sampler, rows.precision, strict=True)) == {
        ("tv", "fp32"), ("tv", "fp64"), ("dps", "bf16"), ("dps", "fp64"),
    }  # fmt: skip


def test_other_priors_on_other_datasets_need_no_facet(run) -> None:
    run.cell("dps", {"psnr": 1.0})
    run.cell("tv", {"psnr": 1.0}, spec=NONE)
    run.cell("dps", {"psnr": 1.0}, dataset="leaves", spec={"prior": {"name": "photos64", "sha256": "q"}})
    assert headings(run) == ["sr_x4"]


def test_each_methods_own_precision_is_in_the_caption(run) -> None:
    run.cell("dps", {"psnr": 1.0})
    run.cell("mmps", {"psnr": 1.0}, spec={"precision": "bf16"})
    assert headings(run) == ["sr_x4"]


def test_measurements_are_compared_within_a_facet(run) -> None:
    for sigma in (0.05, 0.2):
        for sampler in ("dps", "mcg"):
            run.cell(sampler, {"psnr": 1.0}, spec=task(sigma=sigma), row={"y_sha256": str(sigma)})
    assert "measurements differ" not in render_text(run.folder)


def test_a_number_is_the_axis_of_a_plot(run) -> None:
    for sigma in (0.05, 0.1, 0.2):
        for prior in ("a", "b"):
            spec = {**task(sigma=sigma), "prior": {"name": prior}}
            run.cell("dps", {"psnr": [20, 21, 22, 23 - 10 * sigma], "haarpsi": 0.5}, spec=spec)
    files = {path.name for path in build(run.folder)}
    assert "axis_task.sigma.png" in files and not any("prior" in name for name in files)


def test_settings_are_named_once_or_with_their_methods(run) -> None:
    run.cell("dps", {"psnr": 1.0}, run={"settings": {"name": "tuned"}})
    run.cell("mcg", {"psnr": 1.0}, run={"settings": {"name": "tuned"}})
    assert " · settings: tuned" in render_text(run.folder)
    run.cell("daps", {"psnr": 1.0}, run={"settings": {"name": "paper"}})
    assert " · settings: tuned, paper (daps)" in render_text(run.folder)
    build(run.folder, tables_only=True)
    rows = pd.read_csv(run.folder / "per_image.csv")
    assert dict(zip(rows.sampler, rows.settings, strict=True)) == {"dps": "tuned", "mcg": "tuned", "daps": "paper"}


def test_a_samplers_own_keys_are_columns_and_axes_too(run) -> None:
    for zeta in (0.1, 0.3, 1):
        for high in (0, 1):
            run.cell("safari", {"psnr": 20 + zeta, "haarpsi": 0.5}, options={"zeta": zeta, "fidelity": {"high": high}})
    run.cell("tv", {"psnr": 1.0}, spec=NONE)
    files = {path.name for path in build(run.folder)}
    assert {"axis_sampler.zeta.png", "axis_sampler.fidelity.high.png"} <= files
    rows, table = (pd.read_csv(run.folder / name) for name in ("per_image.csv", "table1.csv"))
    for frame in (rows, table):
        of = frame[frame.sampler.str.startswith("safari")]
        assert set(of["sampler.zeta"]) == {0.1, 0.3, 1} and set(of["sampler.fidelity.high"]) == {0, 1}
        assert frame[frame.sampler == "tv"]["sampler.zeta"].isna().all()
    means = table[(table.metric == "psnr") & table["sampler.zeta"].notna()]
    assert (means["mean"] - means["sampler.zeta"] == 20).all()
