"""Scores set again in rows that are there, and files attached to a cell."""

import json
import math
from pathlib import Path

import pytest

from safari_bench.ledger import HEAD, Cell, LedgerError, attach, attached, run_id

SPEC = {"dataset": {"name": "photos"}, "seed": 0}
IDS = ["a", "b", "c"]
ODD = 0.1 + 0.2


def row(image: str, status: str = "ok", **more: object) -> dict[str, object]:
    text = {name: f"{name} of {image}" for name in HEAD}
    return {**text, "image_id": image, "sigma": ODD, "seed": 0, "status": status, "psnr": ODD, **more}


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    made = Cell(tmp_path / "photos" / "sr_x4" / "dps" / run_id(SPEC), IDS)
    with made.lock():
        made.open({"spec": SPEC})
        made.append([row("a"), row("b", status="failed", psnr=None)])
    return made


def close(cell: Cell) -> None:
    with cell.lock():
        cell.append([row("c", gmsd=math.inf)])
        cell.close()


@pytest.mark.parametrize("complete", [False, True])
def test_scores_are_set_and_nothing_else_changes(cell: Cell, complete: bool) -> None:
    if complete:
        close(cell)
    before = cell.rows().set_index("image_id")
    with cell.lock():
        cell.amend({"a": {"lpips_vgg": 1 / 3, "psnr": 2.0}, "b": {"psnr": 5.0}})
        assert cell.rows().psnr[0] == 2.0
    after = Cell.at(cell.folder).rows().set_index("image_id")
    assert (after.psnr["a"], after.lpips_vgg["a"]) == (2.0, 1 / 3)
    assert math.isnan(after.psnr["b"])  # it failed: there is no picture that could have a score
    others = after.drop(columns=["psnr", "lpips_vgg"])
    assert others.equals(before.drop(columns="psnr"))
    assert complete == (cell.folder / "rows.csv").exists()


def test_the_same_scores_again_are_the_same_bytes(cell: Cell) -> None:
    close(cell)
    before = (cell.folder / "rows.csv").read_bytes()
    with cell.lock():
        cell.amend({"a": {"psnr": ODD}, "c": {"gmsd": math.inf}})
    assert (cell.folder / "rows.csv").read_bytes() == before


def test_a_retried_image_has_its_scores_set_in_its_newest_row(cell: Cell) -> None:
    close(cell)
    with cell.lock():
        cell.append([row("b")])
        cell.amend({"b": {"psnr": 7.0}})
        assert cell.close().psnr[1] == 7.0


@pytest.mark.parametrize("column", ["status", "image_id", "nfe", "seconds", "image_file", "sigma"])
def test_only_metrics_can_be_set(cell: Cell, column: str) -> None:
    with cell.lock(), pytest.raises(LedgerError, match=f"{column}.* no metrics"):
        cell.amend({"a": {column: 1.0}})


def test_amending_needs_the_lock(cell: Cell) -> None:
    with pytest.raises(LedgerError, match="not locked"):
        cell.amend({"a": {"psnr": 1.0}})


def test_what_is_attached_is_read_back_and_replaced(tmp_path: Path) -> None:
    assert attached(tmp_path, "set_scores") == {}
    attach(tmp_path, "set_scores", {"n": 3, "scores": {"fid": ODD, "kid": None}})
    attach(tmp_path, "set_scores", {"n": 4, "scores": {"fid": ODD, "kid": None}})
    assert attached(tmp_path, "set_scores") == {"n": 4, "scores": {"fid": ODD, "kid": None}}
    assert [path.name for path in tmp_path.iterdir()] == ["set_scores.json"]
    assert json.loads((tmp_path / "set_scores.json").read_text())["n"] == 4


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}])
def test_what_is_not_json_is_not_attached(tmp_path: Path, value: object) -> None:
    with pytest.raises(LedgerError, match=r"set_scores.json: .*; attach text"):
        attach(tmp_path, "set_scores", {"value": value})
    assert attached(tmp_path, "set_scores") == {}


@pytest.mark.parametrize("damage", [b"{", b"[1]", b"\xff"])
def test_a_damaged_attachment_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "set_scores.json").write_bytes(damage)
    with pytest.raises(LedgerError, match=r"set_scores.json is damaged"):
        attached(tmp_path, "set_scores")
