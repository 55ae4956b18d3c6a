"""Pictures side by side: the reference, then every line of the tables, for a few images of each task."""

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from safari_bench.reports.pictures import finest_window, load, restoration
from safari_bench.reports.records import Line
from safari_bench.reports.vocabulary import NOTHING, SAMPLERS, metric, rank

__all__ = ["draw"]

_SMALLEST = 192  # px; pictures smaller than half of this are shown enlarged
_GAP = 6
_MARGIN = 170  # px for what stands left of a row of pictures
_FONT_SIZE, _CHARACTER, _LEADING = 13, 8.2, 17  # px; the width is that of a wide character
_GREY, _INK, _FRAME = (214, 214, 214), (20, 20, 20), (255, 210, 0)
_ZOOM = 2  # an inset shows its window this much larger than the picture around it
_SHARE = 5  # the window's side is 1 / _SHARE of the picture's: the inset covers (2/5)^2 of it
_TOO_SMALL = 32  # px; smaller pictures have no inset


@dataclass(frozen=True)
class _Tile:
    """A picture, or what stands in its place; and what stands below it."""

    picture: Image.Image | str
    below: str = ""


def draw(lines: Sequence[Line], images_per_task: int) -> bytes | None:
    """A PNG, or None if no picture was saved at all, as in a folder of rows that someone else computed.

    Saved pictures are enlarged by whole factors only; a grey tile stands where there is none.

    An inset shows the square in which the reference has most gradient energy, the same one for every method, in the
    corner furthest from it. Below stands the PSNR of that very picture.

    Args:
        lines: as `records.lines` gives them.
        images_per_task: how many images of each dataset are shown.

    Raises:
        TableError: a picture cannot be read.
    """
    rows: list[tuple[str, dict[str, _Tile]]] = []
    for _, group in groupby(lines, key=lambda line: (line.first.dataset, line.first.heading)):
        rows += _rows(list(group), images_per_task)
    pictures = [t.picture for _, tiles in rows for t in tiles.values() if isinstance(t.picture, Image.Image)]
    if not pictures:
        return None
    width = max(picture.width for picture in pictures)
    height = max(picture.height for picture in pictures)
    return _paint(_columns(lines), rows, width, height)


def _columns(lines: Sequence[Line]) -> list[str]:
    ordered = sorted(lines, key=lambda line: rank(line.first.sampler, SAMPLERS))  # stable: configurations stay in order
    return ["reference", *dict.fromkeys(line.first.label for line in ordered)]


def _rows(group: list[Line], count: int) -> list[tuple[str, dict[str, _Tile]]]:
    """What stands left of each row, and its tiles by column."""
    first = group[0].first
    found = []
    for image in group[0].ids[:count]:
        paths = {line.first.label: restoration(line, image) for line in group}
        clean = [line.first.reference(path.name) for line in group if (path := paths[line.first.label][0])]
        reference = next((picture for picture in map(load, dict.fromkeys(clean)) if picture), None)
        window = _window(reference)
        tiles = {"reference": _Tile(_shown(reference, window) if reference else NOTHING)}
        for line in group:
            path, status = paths[line.first.label]
            picture = load(path) if path else None
            word = {"unsupported": "n/s", "failed": "failed"}.get(status, NOTHING)
            below = _psnr(line, image) if picture else ""
            tiles[line.first.label] = _Tile(_shown(picture, window) if picture else word, below)
        found.append((f"{first.dataset}\n{first.heading}\n{image}", tiles))
    return found


def _psnr(line: Line, image: str) -> str:
    rows = line.first.rows.set_index("image_id")
    psnr = float(rows.psnr[image]) if "psnr" in rows else math.nan
    return "" if math.isnan(psnr) else f"{metric('psnr').text(psnr)} dB"


def _window(reference: Image.Image | None) -> tuple[int, int, int] | None:
    """Left, top and side of what the inset shows."""
    if reference is None or min(reference.size) < _TOO_SMALL:
        return None
    side = min(reference.size) // _SHARE
    return *finest_window(reference, side), side


def _shown(picture: Image.Image, window: tuple[int, int, int] | None) -> Image.Image:
    """Enlarged, with its inset."""
    factor = max(1, _SMALLEST // max(picture.size))
    shown = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    if window is None:
        return shown
    left, top, side = window
    edge = side * factor * _ZOOM
    inset = picture.crop((left, top, left + side, top + side)).resize((edge, edge), Image.Resampling.NEAREST)
    x = 0 if left + side / 2 > picture.width / 2 else shown.width - edge
    y = 0 if top + side / 2 > picture.height / 2 else shown.height - edge
    pen = ImageDraw.Draw(shown)
    corner = left * factor, top * factor
    pen.rectangle((*corner, corner[0] + side * factor - 1, corner[1] + side * factor - 1), outline=_FRAME)
    shown.paste(inset, (x, y))
    pen.rectangle((x, y, x + edge - 1, y + edge - 1), outline=_FRAME)
    return shown


def _paint(columns: Sequence[str], rows: Sequence[tuple[str, dict[str, _Tile]]], width: int, height: int) -> bytes:
    heads = [textwrap.wrap(column, int(width / _CHARACTER)) for column in columns]
    top = 2 * _GAP + _LEADING * max(len(head) for head in heads)
    step = height + _LEADING + _GAP
    canvas = Image.new("RGB", (_MARGIN + len(columns) * (width + _GAP), top + len(rows) * step), "white")
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _FONT_SIZE)
    for number, head in enumerate(heads):
        x = _MARGIN + number * (width + _GAP) + width // 2
        for k, text in enumerate(head):
            pen.text((x, top - _GAP - _LEADING * (len(head) - k)), text, _INK, font, anchor="ma")
    for line, (label, tiles) in enumerate(rows):
        y = top + line * step
        said = [part for text in label.split("\n") for part in textwrap.wrap(text, int(_MARGIN / _CHARACTER))]
        for k, text in enumerate(said):
            pen.text((_GAP, y + k * _LEADING), text, _INK, font)
        for number, column in enumerate(columns):
            x = _MARGIN + number * (width + _GAP)
            tile = tiles.get(column, _Tile(NOTHING))
            if isinstance(tile.picture, str):
                pen.rectangle((x, y, x + width - 1, y + height - 1), _GREY)
                pen.text((x + width // 2, y + height // 2), tile.picture, _INK, font, anchor="mm")
            else:
                canvas.paste(
                    tile.picture, (x + (width - tile.picture.width) // 2, y + (height - tile.picture.height) // 2)
                )
            pen.text((x + width // 2, y + height + 1), tile.below, _INK, font, anchor="ma")
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()
