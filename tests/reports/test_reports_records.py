"""Which cells stand together, what they are called, and which are refused."""

import subprocess
import sys
from pathlib import Path

import pytest

import safari_bench
from safari_bench.ledger import cells
from safari_bench.reports import TableError, build, pack, render_text
from safari_bench.reports.records import lines, load
from safari_bench.reports.variants import name_variants

pytestmark = pytest.mark.usefixtures("no_figures")


def labels(run) -> list[str]:
    return [line.first.label for line in lines(load(run.folder))]


def names(sampler: str, *specs: dict) -> list[str]:
    found = name_variants(sampler, {str(n): spec for n, spec in enumerate(specs)})
    assert len({label for label, _ in found.values()}) == len(specs)
    return [found[str(n)][0] for n in range(len(specs))]


def test_a_lone_variant_is_called_by_its_sampler(run) -> None:
    run.cell("safari", {"psnr": 1.0}, options={"zeta": 1.0, "fidelity": {"spatial": 0.5}})
    run.cell("safari", {"psnr": 1.0}, options={"zeta": 0.3, "fidelity": {"spatial": 1.0}}, task="denoising")
    assert labels(run) == ["safari", "safari"]  # tuned differently per task, alone in each


def test_variants_are_named_by_what_differs(run) -> None:
    for spatial, high in ((0.5, 1), (10, 0), (2, 0.25)):
        run.cell(
            "safari", {"psnr": 1.0}, options={"zeta": 1.0, "fidelity": {"spatial": spatial, "low": 1, "high": high}}
        )
    expected = ["safari [spatial=0.5, high=1]", "safari [spatial=2, high=0.25]", "safari [spatial=10, high=0]"]
    assert labels(run) == expected  # sorted as numbers, not as text
    run.cell("safari", {"psnr": 1.0}, options={"zeta": 1.0, "fidelity": {"spatial": 2, "low": 1, "high": 0.25}}, seed=7)
    assert labels(run) == expected  # another seed is no variant
    assert [record.spec["seed"] for record in load(run.folder)] == [0, 0, 7, 0]


def test_names_of_variants() -> None:
    assert names("s", {"prior": {"name": "a", "sha256": "1"}}, {"prior": {"name": "b", "sha256": "2"}}) == [
        "s [prior=a]",
        "s [prior=b]",
    ]
    assert names("s", {"prior": {"sha256": "1"}}, {"prior": {"sha256": "2"}}) == ['s [sha256="1"]', 's [sha256="2"]']
    assert names("s", {"a": {"x": 1}, "b": {"x": 2}}, {"a": {"x": 2}, "b": {"x": 1}}) == [
        "s [a.x=1, b.x=2]",
        "s [a.x=2, b.x=1]",
    ]
    assert names("s", {"x": 1}, {"x": "1"}, {"x": True}, {"x": None}, {}) == [
        "s [x=1]",
        's [x="1"]',
        "s [x=true]",
        "s [x=null]",
        "s",
    ]
    assert names("s", {"f": {"_target_": "m.A", "w": 1.0}}, {"f": {"_target_": "m.B", "w": 2}}) == [
        "s [w=1]",
        "s [w=2]",
    ]
    drawn = [1.0160177584759034, 1.0160188, 0.25, 3e-5, 2]
    found = [name.removeprefix("s [x=").removesuffix("]") for name in names("s", *({"x": x} for x in drawn))]
    assert found == ["1.016018", "1.016019", "0.25", "3e-05", "2"]  # as many digits as tell them apart
    assert names("s", {"x": 0.123456789}, {"x": 0.2}) == ["s [x=0.1235]", "s [x=0.2]"]
    assert names("s", {"x": 2.00001}, {"x": 2}) == ["s [x=2.00001]", "s [x=2]"]
    assert names("s", {"f": [1, 2]}, {"f": [1]}, {"f": ""}) == ["s [f=[1, 2]]", "s [f=[1]]", 's [f=""]']


def test_order_of_datasets_tasks_and_samplers(run) -> None:
    for sampler in ("zeus", "daps", "dps", "apollo", "safari", "unconditional", "degraded"):
        run.cell(sampler, {"psnr": 1.0})
    assert labels(run) == ["degraded", "unconditional", "safari", "dps", "daps", "apollo", "zeus"]
    run.cell("dps", {"psnr": 1.0}, task="another")
    run.cell("dps", {"psnr": 1.0}, task="denoising")
    run.cell("dps", {"psnr": 1.0}, task="zz", dataset="faces")
    found = dict.fromkeys((r.dataset, r.task) for r in load(run.folder))
    assert list(found) == [("faces", "zz"), ("photos", "denoising"), ("photos", "sr_x4"), ("photos", "another")]


def test_nothing_to_show(run, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"there is no folder .*/nowhere; expected a run folder.* holds: table1$"):
        (tmp_path / "table1").mkdir()
        build(tmp_path / "nowhere")
    with pytest.raises(TableError, match=r"table1 holds no cells; .*holds: nothing"):
        build(run.folder)
    run.cell("dps", {"psnr": 1.0})
    with pytest.raises(TableError, match=rf"{tmp_path} holds no cells; .*<dataset>/<task>/.* holds: table1$"):
        render_text(tmp_path)
    with pytest.raises(TableError, match=r"there is no folder .*deeper; .* holds: nothing"):
        render_text(tmp_path / "not" / "deeper")


def test_several_runs_make_one_table(new_run) -> None:
    one, two = new_run("x"), new_run("y")
    one.folder, two.folder = one.folder.with_name("one"), two.folder.with_name("two")
    one.cell("degraded", {"psnr": 10.0}, color=(9, 9, 9))
    one.cell("dps", {"psnr": 20.0}, count=1)
    two.cell("degraded", {"psnr": 11.0})
    two.cell("dps", {"psnr": 21.0})
    two.cell("safari", {"psnr": 30.0})
    records = load(one.folder, two.folder)
    assert [r.label for r in records] == ["degraded", "safari", "dps"]
    assert [r.rows.psnr[0] for r in records] == [10.0, 30.0, 21.0]  # the first named where even, else the fuller one
    text = render_text(one.folder, two.folder)
    assert text.startswith("# one + two\n") and "runs: one, two · images: 4" in text
    files = build(one.folder, two.folder)
    assert {path.parent for path in files} == {one.folder.with_name("one+two")}
    assert not (one.folder / "table1.md").exists()


def test_damaged_cells_are_named(run) -> None:
    folder = run.cell("dps", {"psnr": 1.0})
    (folder / "rows.csv").write_text("x")
    with pytest.raises(TableError, match=r"rows.csv is damaged"):
        build(run.folder)


def test_torch_is_not_needed() -> None:
    code = "import sys, safari_bench.ledger, safari_bench.reports; sys.exit('torch' in sys.modules)"
    environment = {"PYTHONPATH": str(Path(safari_bench.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_a_cell_computed_again_by_newer_code_replaces_the_older_one(run) -> None:
    run.cell("dps", {"psnr": 1.0}, spec={"numbers": 2})
    run.cell("ilvr", {"psnr": 1.0}, spec={"numbers": 2})
    run.cell("ilvr", {"psnr": 2.0}, spec={"numbers": 3}, count=2)
    assert [record.rows.psnr[0] for record in load(run.folder)] == [1.0, 1.0]  # not while it is unfinished
    run.cell("mcg", {"psnr": 1.0}, spec={"numbers": 2})
    run.cell("mcg", {"psnr": 2.0}, spec={"numbers": 3})
    assert [(r.label, r.rows.psnr[0]) for r in load(run.folder)] == [("dps", 1.0), ("ilvr", 1.0), ("mcg", 2.0)]
    assert " · version of the numbers: 2, 3 (mcg)" in render_text(run.folder)
    assert pack(run.folder) and len(list(cells(run.folder))) == 5 + 3  # the archive holds one of each
