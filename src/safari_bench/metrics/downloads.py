"""Files of weights, downloaded once: checked by hash, given up after seconds of silence, not retried for a day."""

import http.client
import importlib.util
import queue
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from filelock import FileLock

from safari_bench.metrics.weights import Absent, Backbone, Found, WeightsError, checked, find, folders, remedy

__all__ = ["PATIENCE", "fetch", "obtain"]

#: seconds without a byte after which a download is given up
PATIENCE = 10.0
#: seconds for which a failed download is not tried again
_DAY = 24 * 3600.0


def fetch(backbone: Backbone, weights_dir: str | None = None, seconds: float = PATIENCE) -> Found:
    """Downloads a file into the first of `folders`. It appears there whole and checked, or not at all.

    Args:
        seconds: the longest wait for the first byte, and for each byte after it.

    Raises:
        WeightsError: no network, a stalled download, no space, or the bytes that came are not the published ones.
    """
    if not backbone.url:
        raise WeightsError(f"{backbone.file} is part of a package; {remedy(backbone)}")
    path = folders(weights_dir)[0] / backbone.file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _probe(backbone.url, seconds)
        print(f"fetching {backbone.file} ({backbone.megabytes} MB) for {backbone.scores}", file=sys.stderr)
        with _socket_timeout(seconds):
            torch.hub.download_url_to_file(backbone.url, str(path), backbone.prefix, progress=sys.stderr.isatty())
        _memory(path).unlink(missing_ok=True)
    except (
        OSError,
        http.client.HTTPException,
        RuntimeError,
    ) as error:  # torch.hub raises RuntimeError for a wrong hash
        raise WeightsError(f"{backbone.url}: {error}; no download") from error
    return checked(backbone, path)


def _probe(url: str, seconds: float) -> None:
    """Waits for the first byte of an answer, in a thread: a silent name server ignores every timeout.

    Raises:
        OSError, HTTPException: there is no answer within the time, or a refusal.
    """
    answers: queue.Queue[Exception | None] = queue.Queue()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "safari-bench"})
            with urllib.request.urlopen(request, timeout=seconds) as response:
                response.read(1)
            answers.put(None)
        except (OSError, http.client.HTTPException) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        refusal = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if refusal is not None:
        raise refusal


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torch.hub sets no timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def obtain(backbone: Backbone, weights_dir: str | None = None, seconds: float = PATIENCE) -> Found | Absent:
    """The file, downloaded first if need be and possible; or what to say.

    A failed download is not tried again by this process, nor by any other for a day.

    Args:
        seconds: see `fetch`; 0 touches no network.

    Raises:
        WeightsError: see `find`: a wrong file is never ignored.
    """
    if importlib.util.find_spec(backbone.module) is None:
        why = f"the package {backbone.package} is not installed"
        return Absent(f"{backbone.scores} n/a: {why}; pip install {backbone.package}", why)
    return find(backbone, weights_dir) or _fetched(backbone, weights_dir, seconds, folders(weights_dir)[0])


@lru_cache(maxsize=16)
def _fetched(backbone: Backbone, weights_dir: str | None, seconds: float, folder: Path) -> Found | Absent:
    gone, why, goes = f"{Path(backbone.file).name} not found", "", f"put {backbone.url} into {folder}"
    if backbone.url and seconds > 0:
        try:
            return _once_a_day(backbone, weights_dir, seconds, folder)
        except WeightsError as error:
            why = str(error)
    said = f"{gone}, and {why}" if why else gone
    return Absent(f"{backbone.scores} n/a: {said}; {goes if backbone.url else remedy(backbone)}", why)


def _once_a_day(backbone: Backbone, weights_dir: str | None, seconds: float, folder: Path) -> Found:
    memory = _memory(folder / backbone.file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{backbone.file}.lock"):  # processes of a sweep wait for the first one's download
            found = find(backbone, weights_dir)
            if found:
                return found
            if memory.is_file() and 0 <= time.time() - memory.stat().st_mtime < _DAY:
                raise WeightsError(f"a download failed less than a day ago ({memory.read_text()})")
            try:
                return fetch(backbone, weights_dir, seconds)
            except WeightsError as error:
                memory.write_text(str(error))
                raise
    except OSError as error:
        raise WeightsError(f"{folder}: {error.strerror}; no download") from error


def _memory(path: Path) -> Path:
    """Holds why the last download failed; its time is that of the attempt."""
    return path.with_name(f".{path.name}.failed")
