"""The overlays of paper scale: what their comments promise, and settings that have to agree."""

import re

import pytest
from paper import DIFFPIR_TASKS, SAMPLERS, TASKS, header_of

from safari_bench.cli.grids import configurations
from safari_bench.cli.schema import root
from safari_bench.reports.published import published as published_values


@pytest.mark.parametrize(
    ("overlay", "source", "method", "metrics"),
    [
        ("table1", "DPS (Chung", "DPS", ["fid", "lpips_vgg"]),
        ("table1_diffpir", "DiffPIR (Zhu", "DiffPIR", ["psnr", "fid", "lpips_vgg"]),
    ],
)
def test_the_numbers_that_a_header_expects_are_the_published_ones(overlay, source, method, metrics):
    facts = published_values()
    facts = facts[facts.source.str.startswith(source) & (facts.method == method)]
    expected = header_of(overlay).partition("Expected:")[2]
    swept = set()
    for dataset in ("ffhq", "imagenet"):
        part = re.search(rf"{dataset}: ((\w+ [\d., ]+;? ?)+)", expected).group(1)
        for task, values in re.findall(r"(\w+) ([\d.]+(?:, [\d.]+)+)", part):
            chosen = facts[(facts.dataset == dataset) & (facts.task == task.removesuffix("_92"))].set_index("metric")
            assert [float(value) for value in values.split(", ")] == [chosen.value[metric] for metric in metrics], task
            swept.add((dataset, task))
    tasks = TASKS if overlay == "table1" else DIFFPIR_TASKS
    assert swept == {(dataset, task) for dataset in ("ffhq", "imagenet") for task in tasks}


@pytest.mark.parametrize("overlay", ["table1", "table1_diffpir"])
def test_the_overlays_have_as_many_images_as_their_fid_takes_and_choose_the_batch(overlay):
    for cfg in configurations([f"experiments={overlay}", "task=sr_x4", "sampler=dps"]):
        assert cfg.dataset.n >= cfg.metrics.sets.fid_from and cfg.compute.batch_size == 0


@pytest.mark.parametrize("task", ["deblur_gaussian", "deblur_motion", "sr_x4"])
def test_safari_runs_at_the_step_size_of_dps(task):
    words = [f"task={task}", "experiments=table1", "sampler=dps,safari"]
    steps = {(cfg.prior.name, cfg.sampler.name): cfg.sampler.zeta for cfg in configurations(words)}
    assert len(steps) == 4
    assert all(steps[prior, "safari"] == steps[prior, "dps"] for prior in ("ffhq256", "imagenet256"))


def test_the_overlay_sweeps_what_these_tests_run():
    overlay = (root() / "experiments" / "table1.yaml").read_text()
    assert "prior: ffhq256,imagenet256\n" in overlay
    assert f"task: {','.join(TASKS)}\n" in overlay and f"sampler: {','.join(SAMPLERS)},tv\n" in overlay
    overlay = (root() / "experiments" / "table1_diffpir.yaml").read_text()
    assert f"task: {','.join(DIFFPIR_TASKS)}\n" in overlay
