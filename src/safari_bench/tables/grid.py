"""Pictures side by side: the reference, then every line of the tables, for a few images of each task."""

import io
import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from safari_bench.tables.records import Line, Record, TableError, lines
from safari_bench.tables.vocabulary import NOTHING, SAMPLERS, rank

__all__ = ["draw"]

_SMALLEST = 192  # px; pictures smaller than half of this are shown enlarged
_GAP = 6
_MARGIN = 170  # px for what stands left of a row of pictures
_FONT_SIZE, _CHARACTER, _LEADING = 13, 8.2, 17  # px; the width is that of a wide character
_GREY, _INK = (214, 214, 214), (20, 20, 20)


def draw(folder: Path, records: Sequence[Record], images_per_task: int) -> bytes:
    """A PNG. Saved pictures are enlarged by whole factors only; a grey tile stands where there is none.

    Args:
        folder: the run folder; references are in <dataset>/reference/ below it.
        records: as `records.load` returns them.
        images_per_task: how many images of each dataset are shown.

    Raises:
        TableError: a picture cannot be read.
    """
    columns = _columns(records)
    rows: list[tuple[str, dict[str, Image.Image | str]]] = []
    for _, group in groupby(lines(list(records)), key=lambda line: (line.first.dataset, line.first.task)):
        rows += _rows(folder, list(group), images_per_task)
    pictures = [tile for _, tiles in rows for tile in tiles.values() if isinstance(tile, Image.Image)]
    width = max([picture.width for picture in pictures], default=_SMALLEST)
    height = max([picture.height for picture in pictures], default=_SMALLEST)
    return _paint(columns, rows, width, height)


def _columns(records: Sequence[Record]) -> list[str]:
    ordered = sorted(records, key=lambda r: rank(r.sampler, SAMPLERS))  # stable: configurations stay in their order
    return ["reference", *dict.fromkeys(record.label for record in ordered)]


def _rows(folder: Path, group: list[Line], count: int) -> list[tuple[str, dict[str, Image.Image | str]]]:
    """What stands left of each row, and its tiles by column."""
    first = group[0].first
    seen = {line.first.label: line.first.rows.set_index("image_id") for line in group}
    found = []
    for image in group[0].ids[:count]:
        files = [rows.image_file[image] for rows in seen.values() if image in rows.index and rows.image_file[image]]
        reference = folder / first.dataset / "reference" / (files[0] if files else "unknown")
        tiles = {"reference": _load(reference)}
        for line in group:
            tiles[line.first.label] = _tile(line, image)
        found.append((f"{first.dataset}\n{first.task}\n{image}", tiles))
    return found


def _tile(line: Line, image: str) -> Image.Image | str:
    rows = line.first.rows[line.first.rows.image_id == image]
    if rows.empty:
        return NOTHING
    row = rows.iloc[0]
    if row.status != "ok":
        return "n/s" if row.status == "unsupported" else "failed"
    return _load(line.first.folder / "images" / row.image_file) if row.image_file else NOTHING


def _load(path: Path) -> Image.Image | str:
    if not path.is_file():
        return NOTHING
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise TableError(f"{path} is not a picture: {error}; delete it and build the table again") from error
    factor = max(1, _SMALLEST // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _paint(
    columns: Sequence[str], rows: Sequence[tuple[str, dict[str, Image.Image | str]]], width: int, height: int
) -> bytes:
    heads = [textwrap.wrap(column, int(width / _CHARACTER)) for column in columns]
    top = 2 * _GAP + _LEADING * max(len(head) for head in heads)
    size = (_MARGIN + len(columns) * (width + _GAP), top + len(rows) * (height + _GAP))
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _FONT_SIZE)
    for number, head in enumerate(heads):
        x = _MARGIN + number * (width + _GAP) + width // 2
        for k, text in enumerate(head):
            pen.text((x, top - _GAP - _LEADING * (len(head) - k)), text, _INK, font, anchor="ma")
    for line, (label, tiles) in enumerate(rows):
        y = top + line * (height + _GAP)
        said = [part for text in label.split("\n") for part in textwrap.wrap(text, int(_MARGIN / _CHARACTER))]
        for k, text in enumerate(said):
            pen.text((_GAP, y + k * _LEADING), text, _INK, font)
        for number, column in enumerate(columns):
            x = _MARGIN + number * (width + _GAP)
            tile = tiles.get(column, NOTHING)
            if isinstance(tile, str):
                pen.rectangle((x, y, x + width - 1, y + height - 1), _GREY)
                pen.text((x + width // 2, y + height // 2), tile, _INK, font, anchor="mm")
            else:
                canvas.paste(tile, (x + (width - tile.width) // 2, y + (height - tile.height) // 2))
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()
