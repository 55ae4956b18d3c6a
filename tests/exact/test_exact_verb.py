"""safari-bench exact, from its words to its tables, plots and page."""

import itertools
import shutil

import pandas as pd
import pytest
from exact_cases import PRIOR

from safari_bench.cli import main
from safari_bench.cli.exact import sections
from safari_bench.cli.exact_schema import load
from safari_bench.cli.schema import root
from safari_bench.exact.study import EXACT

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
    "other.tasks=[]",
    "ambiguous.tasks=[]",
    "bound.gammas=[null,5]",
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
    bounds = pd.read_csv(folder / "bound.csv")
    assert (bounds.log10_ratio < 0).all()
    assert list(bounds.gamma) == [0.05, 0.05, 5, 5]
    for name in ("gaussian-16-denoising.png", "mixture-8-inpaint_box.png", "bound.png", "verdicts.csv"):
        assert (folder / name).stat().st_size > 0
    text = (folder / "exact.md").read_text()
    for words in ("## Orders of convergence", "Nearest to the posterior", "## The bound", "## What SaFaRI's psi"):
        assert words in text
    assert any(line.startswith("| dps") and "| pixel |" in line for line in text.splitlines())
    assert (pd.read_csv(folder / "psi_target.csv").w2 < 1e-6).all()  # psi is the pixel's: the posterior itself
    # again: everything is there
    rows = {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()}
    (folder / "exact.md").unlink()
    assert main(["exact", *TINY_STUDY]) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()} == rows
    assert (folder / "exact.md").read_text() == text
    # a folder that ships without rows is rendered from its CSV files
    shutil.rmtree(folder / "rows")
    before = (folder / "exact.csv").read_bytes()
    assert main(["exact", *TINY_STUDY, "compute=false"]) == 0
    assert (folder / "exact.md").read_text() == text
    assert (folder / "exact.csv").read_bytes() == before
    assert not (folder / "rows").exists()


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
        (["study=larg"], ["larg", "did you mean studies.large?"]),
        (["study=large", "large.methods=[dqs]"], ["dqs", "did you mean methods.dps?"]),
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


UNUSED = ("other", "large", "small_mixture", "mixture", "ambiguous")


def test_a_study_of_another_name_leaves_the_default_ones_folder_alone():
    default, large = load(), load(["study=large"])
    assert (default.name, large.name) == ("exact", "exact_large")
    assert [s.size for s in large.sections() if s.tasks] == [256, 64]
    assert set(default.large.tasks) < set(large.large.tasks) == set(default.gaussian.tasks)
    typed = load(["study=large", "name=mine", "large.tasks=[denoising]"])  # what is typed counts most
    assert (typed.name, typed.large.tasks) == ("mine", ["denoising"])


def test_a_section_has_its_own_noise_and_operators():
    quiet, ambiguous = sections(load([f"{name}.tasks=[]" for name in ("gaussian", *UNUSED[:3])]))
    assert (quiet.name, ambiguous.name) == ("mixture-64", "mixture-64-ambiguous")
    assert (quiet.settings["sigma_y"], ambiguous.settings["sigma_y"]) == (0.05, 0.4)
    tasks = {task.name: task for task in ambiguous.tasks}
    trial = tasks["sr_avgpool_x16"].trial("reported")
    assert trial.sigma_y == 0.4
    assert trial.y.shape == (1, 3, 4, 4)
    assert {m.name for m in tasks["sr_avgpool_x16"].methods} >= {"ilvr", "mcg", "ddnm", "pigdm"}
    weights = ambiguous.truth(trial).posterior.weights[0]
    assert 0.3 < float(weights.max()) < 0.9  # y leaves it open, which is what the section is for


def test_the_shipped_study_binds():
    """Every method builds with every number of steps and every value that is tried."""
    text = (root() / "experiments" / "exact.yaml").read_text()
    assert "Question:" in text
    assert "Cost:" in text
    config = load([*(f"{name}.tasks=[]" for name in UNUSED), "gaussian.tasks=[sr_x4,deblur_motion]"])
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
