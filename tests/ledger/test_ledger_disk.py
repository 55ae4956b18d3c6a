"""A full disk, a quota, a place that cannot be written: nothing finished is lost, and the message says how to go on."""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from safari_bench.ledger import HEAD, Cell, LedgerError, write_atomic

IDS = [f"{n:03d}" for n in range(60)]


def row(image: str) -> dict[str, object]:
    return dict.fromkeys(HEAD, "t") | {"image_id": image, "seed": 3, "sigma": 0.1, "status": "ok"}


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int) -> None:
    cell = Cell(tmp_path / "cell", IDS)

    def refuse(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    with cell.lock():
        cell.open({"spec": {}})
        cell.append([row("000")])
        with monkeypatch.context() as patch:
            patch.setattr(os, step, refuse)
            with pytest.raises(
                LedgerError, match=r"cannot write .*000002.json: .*finished rows are safe.* same command"
            ):
                cell.append([row("001")])
        assert cell.done() == {"000"} == set(Cell.at(cell.folder).rows().image_id)
        assert not list(tmp_path.rglob("*.tmp"))
        cell.append([row("001")])
    assert cell.done() == {"000", "001"}


def test_writes_in_several_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:7]))
    write_atomic(tmp_path / "file", bytes(range(256)))
    assert (tmp_path / "file").read_bytes() == bytes(range(256))


def test_nothing_is_renamed_before_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def note(name: str, real: object) -> None:
        monkeypatch.setattr(os, name, lambda *a: (calls.append(name), real(*a))[1])  # type: ignore[operator]

    for name in ("write", "fsync", "replace"):
        note(name, getattr(os, name))
    write_atomic(tmp_path / "file", b"data")
    assert calls == ["write", "fsync", "replace", "fsync"]


def test_a_real_file_size_limit(tmp_path: Path) -> None:
    """The kernel's own refusal, after a first part of the file was written."""
    cell = Cell(tmp_path / "cell", IDS)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with cell.lock():
        cell.open({"spec": {}})
        cell.append([row("000")])
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(LedgerError, match=r"rows/000002.json: file-size limit reached; .*free some space"):
                cell.append([row(image) for image in IDS[1:]])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert cell.missing() == IDS[1:] and not list(tmp_path.rglob("*.tmp"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    cell, done = Cell(small_disk / "cell", IDS), 0
    with cell.lock():
        cell.open({"spec": {}})
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(32 << 10))
        with pytest.raises(
            LedgerError, match=r"cannot write .*json: disk full; finished rows are safe.*free some space"
        ):
            for done, image in enumerate(IDS):  # noqa: B007
                cell.append([row(image)])
        assert done > 2
    assert cell.missing() == IDS[done:] and not list(small_disk.rglob("*.tmp"))
    ballast.unlink()
    with cell.lock():
        cell.open({"spec": {}})
        cell.append([row(image) for image in cell.missing()])
        assert len(cell.close()) == len(IDS)


def test_a_folder_in_place_of_a_file_or_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with (
        pytest.raises(LedgerError, match=r"cannot write .*taken: .*make it writable"),
        Cell(tmp_path / "taken", []).lock(),
    ):
        pass
    (tmp_path / "cell" / ".lock").mkdir(parents=True)
    with pytest.raises(LedgerError, match=r"cannot write .*\.lock: "), Cell(tmp_path / "cell", []).lock():
        pass
