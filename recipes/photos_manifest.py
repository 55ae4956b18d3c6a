"""How photos.csv is made: `python -m recipes.photos_manifest > src/safari_bench/data/photos.csv`.

Test and tuning crops, and all crops of 256 px, were chosen by eye for what restoration gets wrong: faces, eyes, print,
rims, roofs, fur, wood. Train crops of 64 px are tiles of three grids, evenly spaced among those with content.
"""

import csv
import io
import sys
from collections.abc import Iterable
from itertools import chain, zip_longest

from safari_bench.data.contract import Pixels, digest
from safari_bench.data.pip_photographs import SPLITS, Crop, whole_photographs

__all__ = ["COLUMNS", "build_manifest", "has_content"]

COLUMNS = ("split", "size", "id", "photograph", "left", "top", "box", "scale", "sha256")

#: size -> photograph -> (left, top, scale)
_CHOSEN: dict[int, dict[str, list[tuple[int, int, int]]]] = {
    64: {
        "astronaut": [
            (158, 40, 2),  # face
            (192, 70, 1),  # eyes
            (256, 32, 4),  # shuttle
            (276, 330, 1),  # name tag
            (106, 322, 2),  # mission patch
            (0, 16, 1),  # stars
            (176, 170, 2),  # collar ring
            (140, 448, 1),  # metal fitting
        ],
        "coffee": [
            (170, 20, 2),  # rim
            (0, 180, 1),  # wood grain
            (72, 140, 4),  # cup and saucer
            (372, 60, 1),  # spoon's end
            (304, 216, 2),  # spoon's bowl
            (192, 236, 1),  # handle
            (472, 272, 2),  # table
            (288, 96, 1),  # crema
        ],
        "china": [
            (140, 26, 2),  # top roof
            (224, 152, 1),  # eaves
            (64, 72, 4),  # pavilion
            (176, 188, 1),  # lattice windows
            (400, 290, 2),  # trees
            (216, 346, 1),  # roof tiles
            (0, 150, 2),  # branches and city
            (552, 160, 1),  # leaves against the sky
        ],
        "chelsea": [
            (138, 78, 1),  # eye
            (196, 164, 2),  # nose
            (110, 22, 4),  # face
            (220, 8, 1),  # fur
            (64, 170, 2),  # whiskers
            (288, 104, 1),  # other eye
            (20, 50, 2),  # cheek
        ],
        "grace_hopper": [
            (226, 28, 1),  # badge
            (192, 140, 2),  # glasses
            (136, 96, 4),  # face
            (76, 476, 1),  # name plate
            (0, 40, 2),  # stars
            (380, 478, 1),  # ribbons
            (64, 216, 2),  # stripes and cord
            (192, 336, 2),  # collar
        ],
    },
    256: {
        "astronaut": [(96, 8, 1), (0, 0, 2)],
        "coffee": [(160, 8, 1), (0, 144, 1)],
        "china": [(72, 20, 1), (384, 171, 1)],
        "chelsea": [(96, 22, 1)],
        "grace_hopper": [(132, 80, 1), (0, 44, 2)],
        "rocket": [],  # no square of this size has content, see has_content
        "motorcycle_left": [(96, 120, 1), (400, 80, 1)],
        "hubble_deep_field": [(600, 400, 1), (0, 0, 2)],
        "retina": [(100, 480, 1), (180, 140, 4)],
        "ihc": [(200, 240, 1), (0, 0, 2)],
        "flower": [(170, 90, 1)],
    },
}

#: scale -> how many tiles of 64 px of each train photograph
_TRAIN_TILES = {1: 12, 2: 8, 4: 2}


def build_manifest() -> str:
    """The text of photos.csv, from the installed photographs.

    Rows are ordered by split and size; within those the photographs take turns.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for split, names in SPLITS.items():
        for size in _CHOSEN:
            for c in _take_turns(_crops(name, size) for name in names):
                writer.writerow([split, size, c.id, c.photograph, c.left, c.top, c.box, c.scale, digest(c.pixels())])
    return text.getvalue()


def has_content(pixels: Pixels) -> bool:
    """Whether a crop is worth restoring, judged by the standard deviation of grey in blocks of 8 x 8 pixels.

    Their mean must reach 4 levels of 255, and at most a quarter of the blocks may be flat (below 1 level).
    """
    n = len(pixels) // 8
    contrast = pixels.mean(axis=2).reshape(n, 8, n, 8).std(axis=(1, 3))
    return bool(contrast.mean() >= 4 and (contrast < 1).mean() <= 0.25)


def _crops(photograph: str, size: int) -> list[Crop]:
    chosen = _CHOSEN[size].get(photograph)
    if chosen is None:
        return _tiles(photograph, size)
    return [Crop(photograph, left, top, scale, size) for left, top, scale in chosen]


def _tiles(photograph: str, size: int) -> list[Crop]:
    """Tiles of centred grids, evenly spaced in raster order among those with content; the scales take turns."""
    height, width, _ = whole_photographs("train")[photograph].shape
    scales = []
    for scale, count in _TRAIN_TILES.items():
        box = size * scale
        corners = [
            (left, top)
            for top in range(height % box // 2, height - box + 1, box)
            for left in range(width % box // 2, width - box + 1, box)
        ]
        tiles = [t for t in (Crop(photograph, *corner, scale, size) for corner in corners) if has_content(t.pixels())]
        count = min(count, len(tiles))
        scales.append([tiles[i * len(tiles) // count] for i in range(count)])
    return _take_turns(scales)


def _take_turns(lists: Iterable[list[Crop]]) -> list[Crop]:
    return [crop for crop in chain.from_iterable(zip_longest(*lists)) if crop is not None]


if __name__ == "__main__":
    sys.stdout.write(build_manifest())
