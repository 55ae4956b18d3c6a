"""One process at a time on a folder: flock, or on file systems without it a file that only one process can create."""

import errno
import fcntl
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from safari_bench.errors import CellBusy
from safari_bench.ledger.files import make_folder, unwritable

__all__ = ["exclusive"]

#: what flock fails with on Lustre mounted without it, some FUSE and CIFS mounts, and NFS without a lock server
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps other processes off a folder.

    The kernel drops the lock of a process that dies. A claim, which stands for a lock where the file system has none,
    stays; it is taken over on the machine whose process has died, and elsewhere it must be deleted.

    Raises:
        CellBusy: another live process holds it.
        LedgerError: the folder cannot be written, or its .lock is a symbolic link.
    """
    make_folder(folder)
    path, claim = folder / ".lock", None
    descriptor = _opened(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _busy(folder, os.read(descriptor, 200).decode()) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise unwritable(path, error) from error
            claim = _claimed(folder)
        else:
            os.truncate(descriptor, 0)
            os.write(descriptor, _owner())
        yield
    finally:
        if claim:
            claim.unlink(missing_ok=True)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would not do if a forked worker has the file open
        os.close(descriptor)


def _opened(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except FileExistsError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error


def _claimed(folder: Path) -> Path:
    _say(f"{folder}: this file system has no locks; .claim files stand for them")
    path = folder / ".claim"
    for _ in range(2):
        with suppress(FileExistsError):
            descriptor = _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(descriptor, _owner())
            os.close(descriptor)
            return path
        with suppress(FileNotFoundError):
            owner = path.read_text(errors="replace")
            if not _died(owner):
                raise _busy(folder, owner, f"; if it does not, delete {path}")
            path.unlink()
    raise _busy(folder, "another process")


def _owner() -> bytes:
    return f"pid {os.getpid()} on {os.uname().nodename}".encode()


def _died(owner: str) -> bool:
    """Whether it is a process of this machine that is there no more."""
    found = re.fullmatch(r"pid (\d+) on (.*)", owner)
    return bool(found and found[2] == os.uname().nodename and not Path(f"/proc/{found[1]}").exists())


def _busy(folder: Path, owner: str, more: str = "") -> CellBusy:
    return CellBusy(f"{folder}: {owner or 'unknown'} works on this cell; wait for it, or stop it{more}")


@cache
def _say(line: str) -> None:
    print(line, file=sys.stderr)
