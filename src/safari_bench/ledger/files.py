"""Files that are whole or absent, whatever happens to the process, the machine or the disk."""

import errno
import os
from pathlib import Path

from safari_bench.errors import LedgerError

__all__ = ["LedgerError", "make_folder", "unwritable", "write_atomic"]

_FULL = {errno.ENOSPC: "disk full", errno.EDQUOT: "quota used up", errno.EFBIG: "file-size limit reached"}


def write_atomic(path: Path, data: bytes) -> None:
    """Puts data at path, so that a reader, or a process killed on the way, sees the old file or the new one, whole.

    Raises:
        LedgerError: the disk is full, the quota used up, or the place not writable. The old file, if any, is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(temporary, "wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file.fileno(), rest) :]
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def make_folder(folder: Path) -> None:
    """Creates a folder and its parents, so that they survive a power cut.

    Raises:
        LedgerError: it cannot be created.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(path: Path, error: OSError) -> LedgerError:
    """The error to raise when writing path failed."""
    full = _FULL.get(error.errno or 0)
    remedy = "free some space" if full else "make it writable"
    return LedgerError(
        f"cannot write {path}: {full or error.strerror or error}; finished rows are safe. "
        f"To resume, {remedy} and run the same command again"
    )


def _sync(folder: Path) -> None:
    # a rename or a new entry is durable only once its folder is
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
