"""Files inside Qt's binary resources (.rcc), a tree of names beside blocks of data."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["files"]

_FOLDER, _ZLIB, _ZSTD = 2, 1, 4  # flags of a node


def files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and contents of every file in a resource.

    Raises:
        ValueError: not a Qt binary resource, or a block is compressed by Zstandard.
    """
    blob = path.read_bytes()
    if blob[:4] != b"qres":
        raise ValueError(f"{path}: not a Qt binary resource")
    version, tree, data, names = struct.unpack(">IIII", blob[4:20])
    size = 22 if version >= 2 else 14

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", blob, names + offset)
        start = names + offset + 6  # after the length and a hash
        return blob[start : start + 2 * length].decode("utf-16-be")

    def walk(index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        at = tree + index * size
        offset, flags = struct.unpack_from(">IH", blob, at)
        here = f"{folder}/{name(offset)}" if index else folder
        if flags & _FOLDER:
            count, first = struct.unpack_from(">II", blob, at + 6)
            for child in range(first, first + count):
                yield from walk(child, here)
            return
        if flags & _ZSTD:
            raise ValueError(f"{path}: {here} is compressed by Zstandard, which this reader does not know")
        (start,) = struct.unpack_from(">I", blob, at + 10)
        (length,) = struct.unpack_from(">I", blob, data + start)
        block = blob[data + start + 4 : data + start + 4 + length]
        yield here.lstrip("/"), zlib.decompress(block[4:]) if flags & _ZLIB else block

    yield from walk(0, "")
