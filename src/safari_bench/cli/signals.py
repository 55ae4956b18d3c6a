"""How a process ends: Ctrl-C, SIGTERM, and the death of the process that started it."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType

__all__ = ["Interrupt", "die_with_parent", "ended_like_ctrl_c"]

#: SIGTERM is what Slurm, docker stop and timeout send
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Meanwhile SIGTERM raises KeyboardInterrupt, as Ctrl-C does. Without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Interrupt:
    """The first Ctrl-C or SIGTERM lets what is in hand finish, the second one drops it."""

    def __init__(self, saved: str) -> None:
        self.requested = False
        self._saved = saved

    def __enter__(self) -> "Interrupt":
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"\nstopping after {self._saved}; Ctrl-C again drops it", file=sys.stderr)


@cache
def die_with_parent(seconds: float = 1.0) -> None:
    """In a worker of joblib: end this process within some seconds of the death of the one that started the sweep.

    Otherwise kill -9 of the command would leave workers that compute on and hold the locks of their cells.
    """
    if not multiprocessing.current_process().name.startswith("Loky"):
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os._exit(1)  # rows are appended whole, and the kernel drops the locks

    threading.Thread(target=watch, daemon=True).start()
