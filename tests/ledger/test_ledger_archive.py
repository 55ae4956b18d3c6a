"""A packed run reads like the cells it was made of, bit for bit."""

import gzip
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from safari_bench.ledger import Cell, LedgerError, Place, attach, cells, find_run, pack, places, run_id

HEAD = dict(image_sha256="i", y_sha256="y", task="t", sigma=0.05, sigma_range="minus_one_one", prior="none", seed=0)


def cell(folder: Path, sampler: str, values: dict, ids: tuple[str, ...] = ("007", "b")) -> Place:
    spec = {"sampler": {"name": sampler}}
    place = Place(folder, "d", "t", sampler, run_id(spec))
    opened = Cell(place.folder, ids)
    with opened.lock():
        opened.open({"spec": spec})
        row = {**HEAD, "dataset": "d", "sampler": sampler, "run_id": place.run_id, "status": "ok", "reason": 'a,\n"b'}
        opened.append([{**row, "image_id": image, **values} for image in ids])
        opened.close()
        attach(place.folder, "set_scores", {"n": 2, "scores": {"fid": None}})
    return place


def test_an_archive_holds_what_the_cells_held(tmp_path: Path) -> None:
    cell(tmp_path / "run", "b", {"psnr": 0.1 + 0.2, "lpips": math.nan})
    cell(tmp_path / "run", "a", {"psnr": -0.0, "other": math.inf})
    before = list(cells(tmp_path / "run"))
    files = pack(tmp_path / "run")
    first = [path.read_bytes() for path in files]
    assert [path.read_bytes() for path in pack(tmp_path / "run")] == first
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in files:
        (alone / path.name).write_bytes(path.read_bytes())
    after = list(cells(alone))
    assert [found.place.key for found in after] == [found.place.key for found in before]
    for one, two in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(one.rows, two.rows, check_exact=True)
        assert (one.run, one.sets) == (two.run, two.sets)
    assert [path.read_bytes() for path in pack(alone)] == first  # packed again without the cells' folders


def test_what_cannot_be_packed_or_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="holds no cells"):
        pack(tmp_path)
    cell(tmp_path / "run", "a", {"psnr": 1.0})
    rows, runs = pack(tmp_path / "run")
    whole = runs.read_bytes()
    for damage in (b"", whole[:40], gzip.compress(json.dumps({"schema": 99, "cells": []}).encode())):
        runs.write_bytes(damage)
        with pytest.raises(LedgerError, match=r"cells.json.gz and .* damaged"):
            list(cells(tmp_path / "run"))
    runs.write_bytes(whole)
    rows.unlink()
    with pytest.raises(LedgerError, match=r"rows\.csv\.gz"):
        list(cells(tmp_path / "run"))


def test_paths_have_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = cell(tmp_path / "results" / "run", "a", {"psnr": 1.0})
    assert places(tmp_path / "results" / "run") == [place] == [Place.of(place.folder)]
    shared = tmp_path / "results" / "run" / "d"
    assert place.references({"references": "reference/abc"}) == shared / "reference" / "abc"
    assert place.references({}) == shared / "reference"  # of a version that kept one folder for all sets
    monkeypatch.chdir(tmp_path)
    assert find_run("run") == Path("results/run") and find_run("results/run") == Path("results/run")
    assert find_run("none") == Path("none")
