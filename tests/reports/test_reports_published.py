"""Published values: which stand beside a measured one, which do not and why."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from safari_bench.reports import build, render_text
from safari_bench.reports.published import _DETAILS, compare, published
from safari_bench.reports.records import lines, load
from safari_bench.reports.registered import order, published_name
from safari_bench.reports.statistics import summary

IDS = tuple(f"{k:05d}" for k in range(1000))
SR = {"_target_": "safari_bench.operators.BicubicDownsample", "factor": 4}
NOISE = {"noise": "gaussian", "sigma": 0.05, "sigma_range": "minus_one_one"}


def spec(operator: Mapping[str, Any] = SR, **changes: Any) -> dict[str, Any]:
    dataset = {"name": "ffhq", "size": [256, 256], "split": "validation", "manifest_sha256": "m"}
    whole = {"dataset": dataset, "prior": {"name": "ffhq256"}, "task": {"name": "sr_x4", "operator": operator, **NOISE}}
    for key, value in changes.items():
        group, _, name = key.partition("__")
        whole[group] = {**whole[group], name: value}
    return whole


def measured(run: Any, sampler: str = "dps", *, ids: tuple[str, ...] = IDS, nfe: int = 1000, **options: Any) -> list:
    scores = {"psnr": 25.0, "lpips_vgg": 0.2, "nfe": nfe}
    run.cell(sampler, scores, dataset="ffhq", ids=ids, spec=spec(**options), row={"prior": "ffhq256"})
    found = list(lines(load(run.folder)))
    return compare(found, summary(found))


def beside(found: list, source: str = "DPS") -> list:
    return [p for p in found if not p.reasons and source in p.row["source"]]


def reasons(found: list, method: str = "DPS", metric: str = "psnr", source: str = "Table 6", detail: str = "antialias"):
    (one,) = [
        p
        for p in found
        if (p.row["method"], p.row["metric"], p.row["dataset"]) == (method, metric, "ffhq")
        and p.row["task_detail"].startswith(detail)
        and source in p.row["source"]
    ]
    return one.reasons


def test_every_fact_has_a_reading(run) -> None:
    facts = published()
    assert len(facts) == 434 and set(facts.task_detail) == set(_DETAILS)
    assert {name for name in map(published_name, order()) if name} <= set(facts.method)
    assert facts.value.notna().all() and set(facts.sigma_range) == {"minus_one_one", "zero_one"}


def test_the_same_protocol_stands_beside_with_its_difference(run) -> None:
    found = beside(measured(run))
    values = {p.row["metric"]: (p.row["value"], p.here) for p in found}
    assert values == {"lpips_vgg": (0.214, pytest.approx(0.2)), "psnr": (25.67, 25.0)}
    text = render_text(run.folder)
    assert "-0.67" in text and "-0.014" in text and "DPS (Chung et al., ICLR 2023), Table 1" in text
    assert "DiffPIR (Zhu" not in text and "other protocols" not in text


def test_a_file_says_the_same_to_programs(run, tmp_path) -> None:
    measured(run)
    build(run.folder, into=tmp_path)
    beside = pd.read_csv(tmp_path / "published.csv").set_index("metric")
    assert (
        list(beside.index) == ["lpips_vgg", "psnr"]
        and set(beside.sampler) == {"dps"}
        and set(beside.n_images) == {1000}
    )
    assert beside.published.to_dict() == {"lpips_vgg": 0.214, "psnr": 25.67}
    assert beside.difference.to_dict() == pytest.approx({"lpips_vgg": -0.014, "psnr": -0.67})


def test_there_is_no_file_where_nothing_compares(run, tmp_path) -> None:
    measured(run, task__sigma=0.1)
    build(run.folder, into=tmp_path)
    assert not (tmp_path / "published.csv").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task__sigma_range": "zero_one"}, "gaussian noise of 0.05 on [0, 1] here, gaussian of 0.05 on [-1, 1] there"),
        ({"task__sigma": 0.1}, "gaussian noise of 0.1 on [-1, 1] here, gaussian of 0.05 on [-1, 1] there"),
        ({"task__noise": "poisson"}, "poisson noise of 0.05 on [-1, 1] here"),
        ({"operator": {**SR, "factor": 8}}, "factor 8 here, 4 there"),
        ({"prior__name": "gaussian"}, "prior gaussian here, that of ffhq256 there"),
        ({"dataset__size": [64, 64]}, "size [64, 64] here, [256, 256] there"),
        ({"dataset__split": "tuning"}, "split tuning here, validation there"),
        ({"ids": IDS[:20]}, "20 images here, 1000 there"),
        ({"nfe": 100}, "100 calls of the network here, 1000 there"),
    ],
)
def test_one_difference_is_enough_to_leave_a_value_out_and_is_named(run, change, said) -> None:
    found = measured(run, **change)
    assert not beside(found)
    (reason,) = reasons(found)
    assert said in reason


def test_a_boundary_an_own_denoiser_and_an_unknown_kernel_are_differences(run) -> None:
    motion = {"_target_": "safari_bench.operators.MotionBlur", "taps": 61, "intensity": 0.5}
    run.cell("dps", {"psnr": 20.0}, dataset="ffhq", task="deblur_motion", spec=spec(motion, task__name="deblur_motion"))
    found = measured(run, "pnp_admm", nfe=50)
    assert "a DnCNN denoises there, the diffusion prior here" in reasons(found, "PnP-ADMM")
    assert "boundary circular here, reflect there" in reasons(found, detail="61x61 intensity 0.5")
    assert reasons(found, "DDRM") == ("not measured here",)


def test_presets_count_as_their_method_and_metrics_of_other_backbones_do_not_compare(run) -> None:
    found = measured(run, "dps_author_code")
    assert len(beside(found)) == 2
    others = [p for p in found if p.row["metric"] in ("lpips_piq", "fid_torchvision")]
    assert others and all(p.reasons for p in others)


def test_all_published_lists_every_other_fact_with_a_reason(run) -> None:
    found = measured(run)
    text = render_text(run.folder, all_published=True)
    others = [p for p in found if p.reasons]
    assert len(others) + len({id(p) for p in found if not p.reasons}) >= len(published())
    assert text.count("not measured here") > 300 and "Published values of other protocols" in text
