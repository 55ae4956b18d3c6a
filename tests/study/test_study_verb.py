"""safari-bench exact, from its words to its tables, plots and findings."""

import itertools

import pandas as pd
import pytest
from exact_cases import PRIOR

from safari_bench.cli import main
from safari_bench.cli.exact import sections
from safari_bench.cli.exact_schema import load
from safari_bench.cli.schema import root
from safari_bench.study.exact import EXACT

TINY_STUDY = [
    "max_steps=10",
    "processes=1",
    "gaussian.size=16",
    "gaussian.tasks=[denoising,sr_avgpool_x4]",
    "gaussian.methods=[dps,ddrm,pnp_admm,pigdm_score]",
    "gaussian.samples=4",
    "large.tasks=[]",
    "small_mixture.tasks=[inpaint_box]",
    "small_mixture.methods=[mmps]",
    "small_mixture.samples=16",
    "mixture.tasks=[]",
    "bound.size=8",
    "bound.tasks=[sr_avgpool_x4]",
    "bound.guidance=[pixel]",
    "bound.times=[0,500]",
    "orders.steps=[25,50]",
]


def test_the_verb_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["exact", *TINY_STUDY]) == 0
    said = capsys.readouterr().out
    assert "| ddrm" in said
    folder = tmp_path / "results" / "exact"
    table = pd.read_csv(folder / "exact.csv")
    assert set(table.task) == {"denoising", "sr_avgpool_x4"}
    assert set(table.method) == {EXACT, "dps", "ddrm", "pnp_admm", "pigdm_score"}
    ddrm = table[(table.method == "ddrm") & (table.task == "sr_avgpool_x4")].iloc[0]
    assert (ddrm.nfe, ddrm.n_backward, ddrm.status) == (10, 0, "ok")
    assert 0 < ddrm.mean_error_sd < 1
    exact = table[table.method == EXACT]
    assert exact.mean_error_sd.max() < 1e-6
    assert len(pd.read_csv(folder / "tuning.csv")) == 2 * 6  # two tasks, one image
    assert pd.read_csv(folder / "mixture.csv").weights.str.len().min() > 0
    assert (pd.read_csv(folder / "bound.csv").log10_ratio < 0).all()
    for name in ("gaussian-16-denoising.png", "mixture-8-inpaint_box.png", "bound.png", "bound.md"):
        assert (folder / name).stat().st_size > 0
    text = (folder / "exact.md").read_text()
    assert "coverage of 90 %" in text
    said = (folder / "findings.md").read_text()
    for words in ("## Orders of convergence", "which should converge: last order", "- nearest to the posterior on"):
        assert words in said
    assert (pd.read_csv(folder / "psi_target.csv").w2 < 1e-6).all()  # psi is the pixel's: the posterior itself
    # again: everything is there
    rows = {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()}
    (folder / "exact.md").unlink()
    assert main(["exact", *TINY_STUDY]) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()} == rows
    assert (folder / "exact.md").read_text() == text


@pytest.mark.slow
def test_two_processes_find_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for processes in (1, 2):
        assert main(["exact", *TINY_STUDY, f"processes={processes}", f"name=with{processes}"]) == 0
    one, two = (pd.read_csv(tmp_path / "results" / f"with{n}" / "exact.csv").drop(columns="seconds") for n in (1, 2))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gaussian.methods=[dqs]"], ["dqs", "did you mean methods.dps?"]),
        (["sampels=3"], ["sampels"]),
        (["gaussian.samples=many"], ["many"]),
        (["gaussian"], ["key=value, got gaussian"]),
        (["gaussian.tasks=[denoisin]", "gaussian.methods=[ddrm]", *TINY_STUDY[7:]], ["denoisin", "denoising"]),
        (["methods.ddrm.set={etta: 1}", "gaussian.methods=[ddrm]", "large.tasks=[]", *TINY_STUDY[7:]], ["etta"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_mistakes_are_explained(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(["exact", *words]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for word in said:
        assert word in message


def test_the_shipped_study_binds():
    """Every method builds with every number of steps and every value that is tried."""
    text = (root() / "experiments" / "exact.yaml").read_text()
    assert "Question:" in text
    assert "Cost:" in text
    config = load(
        ["large.tasks=[]", "mixture.tasks=[]", "small_mixture.tasks=[]", "gaussian.tasks=[sr_x4,deblur_motion]"]
    )
    (section,) = sections(config)
    built = {m.name: m for task in section.tasks for m in task.methods}
    assert set(built) == set(config.methods)
    for m in built.values():
        values = [{m.tuning.parameter: v} for v in m.tuning.values] if m.tuning else [{}]
        for steps, value in itertools.product(m.steps, values):
            assert m.build({"steps": steps, **value}).steps == steps
            assert getattr(m.build({"steps": steps}), "clip", False) is False
            spacing = getattr(m.build({"steps": steps}), "spacing", "uniform")
            assert len(PRIOR.schedule.pairs(steps, spacing)) == steps
