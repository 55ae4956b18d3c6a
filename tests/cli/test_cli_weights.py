"""`safari-bench weights`: the files of LPIPS, FID and KID listed, checked and fetched."""

import dataclasses
import shutil

import pytest

from safari_bench.cli import main
from safari_bench.metrics.weights import BACKBONES


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """A TORCH_HOME without weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    return tmp_path / "empty" / "hub" / "checkpoints"


def test_weights_are_listed_and_checked(published, capsys):
    assert main(["weights"]) == 0
    said = capsys.readouterr().out
    for backbone in [backbone for backbone in BACKBONES.values() if backbone.url]:
        assert f"ok: {published / backbone.file}, sha256 {backbone.prefix}" in said
    assert main(["weights", "check"]) == 0


def test_what_is_absent_or_wrong_is_listed_and_fails_the_check(published, nothing, tmp_path, capsys):
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(published / BACKBONES["alexnet"].file, own)
    (own / BACKBONES["vgg16"].file).write_bytes(b"half a download")
    for action, code in (("list", 0), ("check", 1)):
        assert main(["weights", action, f"metrics.weights_dir={own}"]) == code
        vgg, alex, inception, deep = capsys.readouterr().out.splitlines()[1:]
        assert "deep_distance" in deep and "ok: " in deep  # it came with the installation
        assert "not usable" in vgg and "expected" in vgg
        assert "ok: " in alex and str(own) in alex
        assert "absent" in inception and BACKBONES["inception"].url in inception
    assert main(["weights", "check", f"metrics.weights_dir={published}"]) == 0


def test_weights_are_fetched_where_there_is_network(published, nothing, tmp_path, monkeypatch, capsys):
    for name, backbone in [(name, backbone) for name, backbone in BACKBONES.items() if backbone.url]:
        near = (published / backbone.file).as_uri()
        monkeypatch.setitem(BACKBONES, name, dataclasses.replace(backbone, url=near))
    assert main(["weights", "fetch"]) == 0
    assert capsys.readouterr().out.count(f"ok: {nothing}") == 3
    assert sorted(path.name for path in nothing.iterdir()) == sorted(b.file for b in BACKBONES.values() if b.url)
    monkeypatch.setitem(BACKBONES, "vgg16", dataclasses.replace(BACKBONES["vgg16"], url="http://127.0.0.1:9/none"))
    assert main(["weights", "fetch", f"metrics.weights_dir={tmp_path / 'own'}"]) == 0  # in torch hub's folder by now
    shutil.rmtree(nothing)
    assert main(["weights", "fetch", f"metrics.weights_dir={tmp_path / 'own'}"]) == 1
    said = capsys.readouterr().out
    assert said.count(f"ok: {tmp_path / 'own'}") == 2 and "not usable" not in said  # there is nothing to use
    (line,) = (line for line in said.splitlines() if "absent" in line)
    assert (
        "absent; http://127.0.0.1:9/none: " in line and "refused" in line and f"put that file into {tmp_path}" in line
    )
