"""Reads what an offline W&B run wrote, without W&B's own reader.

A .wandb file is a header of 7 bytes (":W&B", the magic number 0xBEE1, a version) and a LevelDB log: blocks of 32 KiB
with records that are cut at their borders; each piece has a CRC-32 of its type and data, a length and a type (1 whole,
2 first, 3 middle, 4 last). A record is a protobuf message.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32 * 1024, struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    data = path.read_bytes()
    assert struct.unpack("<4sHB", data[:7])[:2] == (b":W&B", 0xBEE1)
    place, pieces = 7, b""
    while place + HEADER.size <= len(data):
        rest = BLOCK - place % BLOCK
        if rest < HEADER.size:  # padding
            place += rest
            continue
        checksum, length, kind = HEADER.unpack_from(data, place)
        piece = data[place + HEADER.size : place + HEADER.size + length]
        assert zlib.crc32(bytes([kind]) + piece) == checksum
        place += HEADER.size + length
        pieces = piece if kind in (WHOLE, FIRST) else pieces + piece
        if kind in (WHOLE, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pieces)
            yield record


class Run:
    """What one run holds; keys of nested values are joined by "/"."""

    def __init__(self, path: Path) -> None:
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.files: dict[str, Path] = {}
        self.exit_code: int | None = None
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.id, self.group = record.run.run_id, record.run.run_group
                self.config |= _items(record.run.config.update)
            elif kind == "config":
                self.config |= _items(record.config.update)
            elif kind == "summary":
                self.summary |= _items(record.summary.update)
            elif kind == "history":
                self.history.append(_items(record.history.item))
            elif kind == "artifact":
                self.files |= {entry.path: Path(entry.local_path) for entry in record.artifact.manifest.contents}
            elif kind == "exit":
                self.exit_code = record.exit.exit_code


def _items(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
