"""`safari-bench weights`: files of learned scores listed, checked and fetched; and metrics=auto, which fetches them."""

import dataclasses
import http.server
import json
import shutil
import threading
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from safari_bench.cli import compose, main
from safari_bench.metrics import downloads
from safari_bench.metrics.weights import BACKBONES

#: the default scores; this network is a local server
RUN = ["dataset.n=2", "sampler=wiener", "compute.device=cpu", "metrics.download_seconds=5", "prior=gaussian", "name=r"]
SHALLOW = ["+metrics.sets.layer='64'", "metrics.sets.fid_from=2"]


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


class Host(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, or 404 for all of it while it is `down`; keeps what was asked for."""

    asked: list[str]
    down: bool

    def do_GET(self) -> None:
        type(self).asked.append(self.path.removeprefix("/"))
        if type(self).down:
            self.send_error(404)
        else:
            super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def host(published, nothing, tmp_path, monkeypatch):
    """A local HTTP server with seeded weights under their real names, and a TORCH_HOME without any."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Host, "asked", [], raising=False)
    monkeypatch.setattr(Host, "down", False, raising=False)
    downloads._fetched.cache_clear()
    compose._say.cache_clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Host, directory=str(published))) as server:
        for name, backbone in [(name, backbone) for name, backbone in BACKBONES.items() if backbone.url]:
            url = f"http://127.0.0.1:{server.server_address[1]}/{backbone.file}"
            monkeypatch.setitem(BACKBONES, name, dataclasses.replace(backbone, url=url))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Host
        server.shutdown()


def cell() -> Path:
    (path,) = Path("results/r/photos/sr_x4/wiener").iterdir()
    return path


def test_the_default_scores_fetch_their_weights_once(host, nothing, capsys):
    assert main([*RUN, *SHALLOW]) == 0
    said = capsys.readouterr().err
    assert "left out" not in said
    for name in ("vgg16", "inception"):
        backbone = BACKBONES[name]
        assert f"fetching {backbone.file} ({backbone.megabytes} MB) for {backbone.scores}" in said
        assert (nothing / backbone.file).is_file()
    assert set(host.asked) == {BACKBONES["vgg16"].file, BACKBONES["inception"].file}
    rows = pd.read_csv(cell() / "rows.csv")
    assert rows[["lpips_vgg", "deep_distance", "psnr"]].notna().all(axis=None) and "lpips_alex" not in rows
    assert set(json.loads((cell() / "set_scores.json").read_text())["scores"]) == {"fid_64", "kid_64"}
    before = len(host.asked)
    downloads._fetched.cache_clear()  # as another process
    assert main([*RUN, *SHALLOW, "seed=1"]) == 0
    assert len(host.asked) == before


def test_default_scores_that_cannot_be_fetched_are_left_out_and_not_tried_again(host, nothing, capsys):
    host.down = True
    assert main(RUN) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert "lpips_vgg, fid, kid" in line and "404" in line and "safari-bench weights fetch" in line
    assert len(host.asked) == 2
    rows = pd.read_csv(cell() / "rows.csv")
    assert not {"lpips_vgg", "lpips_alex"} & set(rows) and rows.deep_distance.notna().all()
    assert not json.loads((cell() / "set_scores.json").read_text())["scores"]
    assert "LPIPS VGG" not in Path("results/r/table1.md").read_text()

    downloads._fetched.cache_clear()  # as the next job of a sweep
    compose._say.cache_clear()
    assert main([*RUN, "seed=1"]) == 0
    assert "less than a day ago" in capsys.readouterr().err
    assert len(host.asked) == 2

    # the network is back: a command fetches all, and `score` adds the columns
    host.down = False
    assert main(["weights", "fetch"]) == 0
    assert main(["score", "r", "compute.device=cpu"]) == 0
    assert "new: lpips_vgg" in capsys.readouterr().out


def test_a_plan_fetches_nothing(host):
    assert main(["plan", *RUN]) == 0
    assert host.asked == []
