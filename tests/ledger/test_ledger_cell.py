"""A cell's life: opened, filled batch by batch, closed, resumed, refused."""

import errno
import fcntl
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import safari_bench
from safari_bench.ledger import COST, HEAD, Cell, CellBusy, LedgerError, run_id

SPEC = {"dataset": {"name": "photos"}, "sampler": {"name": "dps", "zeta": 1.0}, "seed": 0}
IDS = ["a", "b", "c"]


def row(image: str, status: str = "ok", **more: object) -> dict[str, object]:
    text = {name: f"{name} of {image}" for name in HEAD}
    return {**text, "image_id": image, "sigma": 0.05, "seed": 0, "status": status, "reason": None, "psnr": 30.0, **more}


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path / "photos" / "sr_x4" / "dps" / run_id(SPEC), IDS)


def fill(cell: Cell, *batches: list[dict[str, object]]) -> None:
    with cell.lock():
        cell.open({"spec": SPEC, "name": "t"})
        for batch in batches:
            cell.append(batch)


def test_a_cell_from_nothing_to_complete(cell: Cell) -> None:
    assert (cell.done(), cell.missing(), cell.complete()) == (set(), IDS, False)
    fill(cell, [row("c"), row("a")])
    assert cell.missing() == ["b"] and not cell.complete()
    assert list(cell.rows().image_id) == ["a", "c"]
    with cell.lock():
        cell.open({"spec": SPEC})
        cell.append([row("b", nfe=7)])
        frame = cell.close()
    assert cell.complete() and cell.done() == set(IDS)
    assert list(frame.image_id) == IDS
    assert [text.split(",")[1] for text in (cell.folder / "rows.csv").read_text().splitlines()[1:]] == [
        '"a"',
        '"b"',
        '"c"',
    ]
    assert not (cell.folder / "rows").exists()
    pd.testing.assert_frame_equal(frame, Cell.at(cell.folder).rows())


def test_run_json_says_what_and_for_which_images(cell: Cell) -> None:
    fill(cell)
    run = json.loads((cell.folder / "run.json").read_text())
    assert run == {"schema": 1, "run_id": run_id(SPEC), "spec": SPEC, "name": "t", "ids": IDS} == cell.run()


def test_columns_come_in_order_and_kinds(cell: Cell) -> None:
    fill(cell, [row("a", ssim=0.5, image_file="a.png")], [row("b", "unsupported", psnr=None), row("c", psi=True)])
    frame = cell.rows()
    assert list(frame.columns) == [*HEAD, "psi", "psnr", "ssim", *COST, "image_file"]
    assert frame.seed.dtype == "int64" and frame.psnr.dtype == "float64" and list(frame.reason) == ["", "", ""]
    assert math.isnan(frame.psnr[1]) and math.isnan(frame.nfe[0]) and frame.psi[2] == 1.0


def test_failed_rows_are_shown_and_tried_again(cell: Cell) -> None:
    with cell.lock():
        cell.open({"spec": SPEC})
        cell.append([row("a"), row("b", "failed", reason="diverged"), row("c", "unsupported", reason="no SVD")])
        frame = cell.close()
    assert list(frame.status) == ["ok", "failed", "unsupported"]
    assert (cell.folder / "rows.csv").exists() and not cell.complete() and cell.missing() == ["b"]
    fill(cell, [row("b", "failed", reason="diverged again")])
    fill(cell, [row("b", "failed", reason="diverged for good")])
    assert cell.rows().reason[1] == "diverged for good" and not cell.complete()
    fill(cell, [row("b", psnr=31.0)])
    assert cell.missing() == [] and not cell.complete()  # rows.csv still says failed
    with cell.lock():
        cell.open({"spec": SPEC})
        assert cell.close().psnr[1] == 31.0
    assert cell.complete()


def test_a_kill_between_the_table_and_the_removal_of_batches_is_harmless(cell: Cell) -> None:
    fill(cell, [row("a"), row("b", "failed")], [row("b", psnr=31.0), row("c")])
    with cell.lock():
        first = (cell.folder / "rows" / "000001.json").read_bytes()
        cell.close()
    table = (cell.folder / "rows.csv").read_bytes()
    (cell.folder / "rows").mkdir()  # the newer batch is gone, the older one with the failed row is still there
    (cell.folder / "rows" / "000001.json").write_bytes(first)
    assert cell.missing() == [] and cell.rows().psnr[1] == 31.0
    with cell.lock():
        cell.open({"spec": SPEC})
        cell.close()
    assert (cell.folder / "rows.csv").read_bytes() == table and cell.complete()


def test_a_reader_that_a_closing_writer_overtakes_sees_every_row(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cell, [row(image) for image in IDS])
    glob = Path.glob

    def close_after_listing(path: Path, pattern: str) -> list[Path]:
        found = list(glob(path, pattern))
        monkeypatch.setattr(Path, "glob", glob)
        with cell.lock():
            cell.open({"spec": SPEC})
            cell.close()
        return found

    monkeypatch.setattr(Path, "glob", close_after_listing)
    assert list(Cell.at(cell.folder).rows().image_id) == IDS


def test_close_refuses_holes(cell: Cell) -> None:
    fill(cell, [row("a")])
    with cell.lock(), pytest.raises(LedgerError, match=r"2 of 3 images have no row, the first is 'b'.*again"):
        cell.close()
    assert not (cell.folder / "rows.csv").exists()


@pytest.mark.parametrize(
    ("spec", "ids", "says"),
    [
        ({**SPEC, "sampler": {"name": "dps", "zeta": 0.3}}, IDS, r"sampler.zeta: got 0.3, expected 1;"),
        ({**SPEC, "clip": None}, IDS, r"clip: got null, expected nothing;"),
        (
            {"dataset": SPEC["dataset"], "seed": True},
            IDS,
            r"sampler.name: got nothing, expected \"dps\".*seed: got true",
        ),
        (SPEC, ["a", "c", "b"], r"image 1: got \"c\", expected \"b\""),
        (SPEC, ["a", "b"], r"images: got 2, expected 3"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(cell: Cell, spec: dict, ids: list[str], says: str) -> None:
    fill(cell, [row("a")])
    other = Cell(cell.folder, ids)
    with other.lock(), pytest.raises(LedgerError, match=says):
        other.open({"spec": spec})
    assert list(cell.rows().image_id) == ["a"]


def test_the_same_run_typed_differently_is_resumed(cell: Cell) -> None:
    fill(cell, [row("a")])
    with cell.lock():
        cell.open({"spec": {"seed": 0.0, "sampler": {"zeta": 1, "name": "dps"}, "dataset": {"name": "photos"}}})
        assert cell.missing() == ["b", "c"]


def test_another_schema_is_refused(cell: Cell) -> None:
    fill(cell)
    path = cell.folder / "run.json"
    path.write_text(json.dumps(cell.run() | {"schema": 99}))
    with pytest.raises(LedgerError, match=r"schema 99, expected 1"):
        Cell.at(cell.folder)
    with cell.lock(), pytest.raises(LedgerError, match=r"schema 99, expected 1"):
        cell.open({"spec": SPEC})


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ([row("z")], r"'z', not an image of this cell"),
        ([row("a")], r"'a', finished already"),
        ([row("b"), row("b")], r"'b', .*twice in this batch"),
        ([row("b", "fine")], r"'status': 'fine'.*expected .*ok, unsupported, failed"),
        ([row("b", psnr="31.2")], r"'psnr'.*holds float64 numbers, got '31.2'"),
        ([row("b", seed=0.5)], r"'seed': 0.5.*whole number"),
        ([row("b", seed=None)], r"'seed': nan.*whole number"),
        ([row("b", nfe=2**53 + 1)], r"'nfe'.*9007199254740993"),
        ([row("b", reason=7)], r"'reason'.*characters, got 7"),
        ([row("b", reason="x" * 200_000)], r"'reason'.*100000 characters"),
        ([row("b", reason="\udcff")], r"'reason'.*UTF-8"),
        ([{"image_id": "b"}], r"lacks the columns \['dataset'"),
    ],
)
def test_malformed_batches_leave_no_trace(cell: Cell, batch: list[dict[str, object]], says: str) -> None:
    fill(cell, [row("a")])
    with cell.lock():
        cell.open({"spec": SPEC})
        with pytest.raises(LedgerError, match=says):
            cell.append([row("c"), *batch])
        assert cell.missing() == ["b", "c"]
    assert len(list((cell.folder / "rows").iterdir())) == 1


def test_what_another_process_did_between_two_locks_is_seen(cell: Cell) -> None:
    fill(cell, [row("a")])
    fill(Cell(cell.folder, IDS), [row("b")])
    with cell.lock():
        cell.open({"spec": SPEC})
        assert cell.missing() == ["c"]


def test_ids_must_differ(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"3 image ids, 2 of them different"):
        Cell(tmp_path, ["a", "b", "a"])


@pytest.mark.parametrize("damage", [b"", b"[{", b"[1]", b"{}", b'[{"image_id": "a"}]', b"\xff\xfe", b"null"])
def test_damaged_files_are_named(cell: Cell, damage: bytes) -> None:
    fill(cell, [row("a")])
    for name in ("rows/000001.json", "rows.csv", "run.json"):
        path = cell.folder / name
        whole = path.read_bytes() if path.exists() else None
        path.write_bytes(damage)
        with pytest.raises(LedgerError, match=rf"{name} is damaged: .*delete it and run the same command again"):
            Cell.at(cell.folder).rows()
        path.unlink()
        if whole is not None:
            path.write_bytes(whole)
    assert list(cell.rows().image_id) == ["a"]


def test_a_table_that_lost_lines_is_damaged(cell: Cell) -> None:
    fill(cell, [row(image) for image in IDS])
    with cell.lock():
        cell.close()
    path = cell.folder / "rows.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(LedgerError, match=r"rows.csv is damaged: 2 rows"):
        cell.complete()


def test_leftovers_of_a_killed_process_are_cleared_away(cell: Cell) -> None:
    fill(cell, [row("a")])
    (cell.folder / "images" / "a.png").write_bytes(b"picture")
    leftovers = [cell.folder / name for name in (".run.json.1.tmp", "rows/.000002.json.1.tmp", "images/.b.png.1.tmp")]
    for path in leftovers:
        path.write_bytes(b"[{")
    assert cell.missing() == ["b", "c"]
    fill(cell)
    assert not any(path.exists() for path in leftovers)
    assert (cell.folder / "images" / "a.png").exists() and cell.missing() == ["b", "c"]


def test_writing_needs_the_lock(cell: Cell) -> None:
    for write in (lambda: cell.open({"spec": SPEC}), lambda: cell.append([row("a")]), cell.close):
        with pytest.raises(LedgerError, match=r"not locked.*with cell.lock"):
            write()
    assert not cell.folder.exists()


def test_two_cells_in_one_process_exclude_each_other(cell: Cell) -> None:
    other = Cell(cell.folder, IDS)
    with cell.lock():
        with pytest.raises(CellBusy, match=r"pid \d+ on .* works on this cell"), other.lock():
            pass
        fill_other = other.missing()  # reading is free
    assert fill_other == IDS
    with other.lock():
        pass


def test_a_lock_lasts_as_long_as_its_process(cell: Cell) -> None:
    code = (
        "import sys, time; from pathlib import Path; from safari_bench.ledger import Cell\n"
        "with Cell(Path(sys.argv[1]), ['a']).lock(): print('locked', flush=True); time.sleep(60)"
    )
    path = str(Path(safari_bench.__file__).parents[1])
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(cell.folder)], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": path}
    )
    with other:
        assert other.stdout is not None and other.stdout.readline() == "locked\n"
        with pytest.raises(CellBusy, match=f"pid {other.pid} "), cell.lock():
            pass
        other.kill()
    with cell.lock():
        cell.open({"spec": SPEC})


def test_rows_seen_under_the_lock_are_those_on_disk(cell: Cell) -> None:
    with cell.lock():
        cell.open({"spec": SPEC})
        cell.append([row("a")])
        cell.append([row("b", psnr=np.float32(0.1))])
        pd.testing.assert_frame_equal(cell.rows(), Cell.at(cell.folder).rows())


def test_a_lock_that_is_a_symbolic_link_is_not_followed(cell: Cell, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("kept")
    cell.folder.mkdir(parents=True)
    (cell.folder / ".lock").symlink_to(target)
    with pytest.raises(LedgerError, match="cannot write"), cell.lock():
        pass
    assert target.read_text() == "kept"


def test_file_systems_without_locks_have_claims(cell: Cell, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    claim = cell.folder / ".claim"
    with cell.lock():
        assert claim.read_text().startswith(f"pid {os.getpid()} on ")
        said = r"works on this cell; wait for it.*delete .*\.claim"
        with pytest.raises(CellBusy, match=said), Cell(cell.folder, IDS).lock():
            pass
    assert not claim.exists() and "no locks" in capsys.readouterr().err
    claim.write_text(f"pid {2**22 + 1} on {os.uname().nodename}")  # a process that died here
    with cell.lock():
        pass
    claim.write_text("pid 1 on another-machine")
    with pytest.raises(CellBusy, match="another-machine"), cell.lock():
        pass
