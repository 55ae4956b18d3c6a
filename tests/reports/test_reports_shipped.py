"""The rows that ship give the tables that ship."""

from pathlib import Path

import pytest

from safari_bench.reports import TableError, build, render_text

RESULTS = Path(__file__).parents[2] / "results"


SLOW = [pytest.param(study, marks=pytest.mark.slow) for study in ("table1", "table1_long")]


@pytest.mark.parametrize("study", ["leaves24", *SLOW])
def test_shipped_rows_give_the_shipped_table(study: str) -> None:
    assert render_text(RESULTS / study) == (RESULTS / study / "table1.md").read_text()


def test_a_packed_run_is_built_without_pictures(tmp_path: Path) -> None:
    files = {path.name for path in build(RESULTS / "leaves24", into=tmp_path)}
    assert {"per_image.csv", "table1.csv", "comparisons.csv", "cost.png"} <= files
    assert not files & {"grid.png", "spectrum.png"}  # which need saved restorations


def test_means_without_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "table1.csv").touch()
    with pytest.raises(TableError, match=r"holds no cells.*table1\.csv"):
        render_text(tmp_path)
