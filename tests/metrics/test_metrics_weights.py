"""Files of weights: found, checked, fetched in bounded time, and never run as code."""

import dataclasses
import hashlib
import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import backbones
import pytest
import torch

from safari_bench.metrics import weights
from safari_bench.metrics.weights import BACKBONES, Absent, Backbone, Found, WeightsError, fetch, find, obtain, state

BYTES = b"not really weights" * 1000
ALEX = BACKBONES["alexnet"]


class Server(http.server.BaseHTTPRequestHandler):
    """Serves BYTES at /right, others at /wrong, half of what it announced at /half, and takes its time at /slow."""

    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/none":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BYTES)))
        self.end_headers()
        body = {"/wrong": BYTES[::-1], "/half": BYTES[: len(BYTES) // 2]}.get(self.path, BYTES)
        for start in range(0, len(body), len(BYTES) // 20):
            try:
                self.wfile.write(body[start : start + len(BYTES) // 20])
            except OSError:
                return  # the client has given up
            time.sleep(0.1 if self.path == "/slow" else 0)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    Server.requests.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TORCH_HOME, and downloads in portions small enough for a clock to be looked at."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(weights, "_CHUNK", 500)
    return tmp_path / "home" / "hub" / "checkpoints"


def served(url: str) -> Backbone:
    return dataclasses.replace(ALEX, url=url, prefix=hashlib.sha256(BYTES).hexdigest()[:8])


def put(folder: Path, data: bytes = BYTES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ALEX.file
    path.write_bytes(data)
    return path


def test_the_published_names_end_in_their_digest_and_their_address_ends_in_the_name() -> None:
    for backbone in BACKBONES.values():
        assert backbone.file.removesuffix(".pth").endswith(f"-{backbone.prefix}")
        assert backbone.url.endswith(f"/{backbone.file}")
    assert set(BACKBONES) == {"vgg16", "alexnet", "inception"}


def test_names_and_addresses_are_those_of_the_libraries() -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    assert BACKBONES["vgg16"].url == VGG16_Weights.IMAGENET1K_V1.url
    assert ALEX.url == AlexNet_Weights.IMAGENET1K_V1.url
    assert BACKBONES["inception"].url == URL_INCEPTION_V3


def test_a_file_is_found_in_torch_hub_and_before_that_in_weights_dir(home: Path, tmp_path: Path) -> None:
    backbone = served("")
    assert find(backbone) is None
    hub = put(home)
    assert find(backbone) == Found(hub, hashlib.sha256(BYTES).hexdigest())
    own = put(tmp_path / "own")
    assert find(backbone, str(tmp_path / "own")) == Found(own, hashlib.sha256(BYTES).hexdigest())
    assert find(backbone, str(tmp_path / "elsewhere")) == Found(hub, hashlib.sha256(BYTES).hexdigest())


@pytest.mark.parametrize("data", [BYTES[:-1], b"", BYTES[::-1]], ids=["truncated", "empty", "another"])
def test_a_wrong_file_is_refused_even_if_a_right_one_could_be_fetched(home: Path, server: str, data: bytes) -> None:
    path = put(home, data)
    with pytest.raises(
        WeightsError, match=r"sha256 is .*, expected .*\.\.\.; the file is damaged .* delete it"
    ) as error:
        obtain(served(f"{server}/right"))
    assert str(path) in str(error.value)
    assert path.read_bytes() == data


def test_a_file_that_changes_on_disk_is_looked_at_again(home: Path) -> None:
    path = put(home)
    assert find(served("")) is not None
    path.write_bytes(BYTES[::-1])
    os.utime(path, ns=(1, 1))
    with pytest.raises(WeightsError, match="sha256"):
        find(served(""))


def test_a_file_is_fetched_whole_and_checked(home: Path, server: str) -> None:
    found = fetch(served(f"{server}/right"))
    assert found == Found(home / ALEX.file, hashlib.sha256(BYTES).hexdigest())
    assert found.path.read_bytes() == BYTES
    assert [path.name for path in home.iterdir()] == [ALEX.file]


@pytest.mark.parametrize(
    ("path", "said"), [("wrong", "expected"), ("half", "expected"), ("none", "404")], ids=["wrong", "half", "none"]
)
def test_what_is_not_the_published_file_leaves_nothing_behind(home: Path, server: str, path: str, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        fetch(served(f"{server}/{path}"))
    assert list(home.iterdir()) == []


def test_a_download_goes_to_weights_dir(tmp_path: Path, server: str) -> None:
    found = obtain(served(f"{server}/right?own"), str(tmp_path / "own"), 10.0)
    assert isinstance(found, Found)
    assert found.path.parent == tmp_path / "own"


def test_a_slow_download_ends_when_it_should(home: Path, server: str) -> None:
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"not done after 0\.5 s"):
        fetch(served(f"{server}/slow"), seconds=0.5)
    assert time.monotonic() - start < 1.5
    assert list(home.iterdir()) == []


def test_a_silent_host_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "ANSWER", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(WeightsError, match=r"no answer within 0\.3 s|timed out"):
            fetch(served(f"http://127.0.0.1:{silent.getsockname()[1]}/file"))
        assert time.monotonic() - start < 2


def test_a_silent_name_server_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "ANSWER", 0.3)

    def silent(*arguments: object, **options: object) -> None:
        time.sleep(2)
        raise socket.gaierror("at last")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"no answer within 0\.3 s"):
        fetch(served("http://anywhere.invalid/file"))
    assert time.monotonic() - start < 1.5


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, server: str) -> None:
    (tmp_path / "file").write_text("")
    absent = obtain(served(f"{server}/right"), str(tmp_path / "file"), 5.0)
    assert isinstance(absent, Absent)
    assert str(tmp_path / "file") in absent.said


def test_absent_weights_are_one_line_that_says_what_to_put_where(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    backbone = served(f"http://127.0.0.1:{port}/{ALEX.file}")
    for seconds in (0.0, 5.0):
        absent = obtain(backbone, None, seconds)
        assert isinstance(absent, Absent)
        assert "\n" not in absent.said
        for word in ("lpips_alex n/a", ALEX.file, f"put {backbone.url} into {home}"):
            assert word in absent.said
    assert "refused" in absent.said


def test_in_vain_is_tried_once_and_nothing_at_all_if_told_not_to(server: str) -> None:
    backbone = dataclasses.replace(served(f"{server}/none"), scores="once")
    before = Server.requests.count("/none")
    assert isinstance(obtain(backbone, None, 0.0), Absent)
    assert Server.requests.count("/none") == before
    assert obtain(backbone, None, 5.0) == obtain(backbone, None, 5.0)
    assert Server.requests.count("/none") == before + 1


def test_a_file_put_there_later_is_found_by_the_same_process(home: Path) -> None:
    backbone = served("http://127.0.0.1:9/later")
    assert isinstance(obtain(backbone, None, 0.0), Absent)
    put(home)
    assert isinstance(obtain(backbone, None, 0.0), Found)


def test_a_package_that_is_not_installed_is_named(home: Path) -> None:
    put(home)
    absent = obtain(dataclasses.replace(served(""), package="no-such-package"))
    assert isinstance(absent, Absent)
    assert "pip install no-such-package" in absent.said


@pytest.mark.parametrize("modern", [True, False])
def test_code_in_a_file_is_not_run(tmp_path: Path, modern: bool) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    torch.save({"features.0.weight": backbones.Bomb(mark)}, path, _use_new_zipfile_serialization=modern)
    with pytest.raises(WeightsError, match="fetch the file again"):
        state(Found(path, ""))
    assert not mark.exists()
    torch.load(path, weights_only=False)  # it would have gone off
    assert mark.exists()


@pytest.mark.parametrize("held", [[torch.zeros(1)], {"a": 1}], ids=["list", "number"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, held: object) -> None:
    path = tmp_path / "weights.pth"
    torch.save(held, path)
    with pytest.raises(WeightsError, match="expected a dictionary of tensors"):
        state(Found(path, ""))
