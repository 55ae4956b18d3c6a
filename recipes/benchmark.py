"""Make the photographs of dataset=photographs from the Debian packages they come in.

    python -m recipes.benchmark --photographs photographs

benchmark.csv names each picture by the sha256 of its file, its split, author and licence, and where the square lies on
its free side, 0 to 1. docs/credits.md and its picture are written too. The command fails if a
shipped photograph is a near-duplicate of one of the other split or of one that the prior was trained on.
"""

import argparse
import csv
import hashlib
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import safari_bench
from recipes.duplicates import Bits, difference_hash, near_duplicates
from recipes.photographs import PACK, manifest, pack, unpacked
from safari_bench.data import digest, whole_photographs
from safari_bench.data.photographs import SIDE, SIZES, credits, reduced, shipped

__all__ = ["CHOICE", "FOLDER", "build", "contact_sheet", "credits_page", "duplicates"]

CHOICE = Path(__file__).with_name("benchmark.csv")
FOLDER = Path(safari_bench.__file__).parent / "data" / "photographs_256"
_DOCS = Path(__file__).parents[1] / "docs"
_COLUMNS = ("id", "split", "licence", "author", "page", "package", "version", "file", "source_sha256")
_COLUMNS += ("left", "top", "box", *(f"sha256_{size}" for size in SIZES))


def build(packages: Path, folder: Path = FOLDER) -> list[Image.Image]:
    """Write the pictures and credits.csv into folder.

    Args:
        packages: folder of unpacked packages, see `photographs.fetch`.
    Returns:
        the pictures, 256 x 256 RGB, in the order of benchmark.csv.
    Raises:
        LookupError: a picture is in no package.
    """
    with CHOICE.open(newline="", encoding="utf-8") as file:
        choice = list(csv.DictReader(file))
    sources = {row["sha256"]: row for row in manifest()}
    wanted = {row["source_sha256"] for row in choice}
    files = {sha256: data for data in unpacked(packages) if (sha256 := hashlib.sha256(data).hexdigest()) in wanted}
    if len(files) < len(wanted):
        raise LookupError(f"{packages}: holds {len(files)} of {len(wanted)} pictures; run recipes.photographs first")
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    with (folder / "credits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for row in choice:
            picture, place = _square(files[row["source_sha256"]], float(row["position"]))
            picture.save(folder / f"{row['id']}.webp", "WEBP", lossless=True, quality=100, method=6)
            pixels = np.asarray(picture)
            hashes = {f"sha256_{size}": digest(reduced(pixels, size)) for size in SIZES}
            writer.writerow(sources[row["source_sha256"]] | row | place | hashes)
            pictures.append(picture)
    return pictures


def _square(data: bytes, position: float) -> tuple[Image.Image, Mapping[str, int]]:
    """The square on the shorter side, reduced by area means, and where it lies in the file."""
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    box = min(whole.size)
    left, top = round(position * (whole.width - box)), round(position * (whole.height - box))
    square = whole.resize((SIDE, SIDE), Image.Resampling.BOX, box=(left, top, left + box, top + box))
    return square, {"left": left, "top": top, "box": box}


def contact_sheet(columns: int = 7, side: int = 128) -> Image.Image:
    """All shipped photographs in the order of credits.csv, numbered from 1."""
    rows = credits()
    sheet = Image.new("RGB", (columns * side, -(-len(rows) // columns) * side))
    for place, row in enumerate(rows):
        tile = Image.fromarray(reduced(shipped(row["id"]), side))
        draw = ImageDraw.Draw(tile)
        draw.rectangle((0, 0, 16, 12), fill="black")
        draw.text((3, 0), str(place + 1), fill="white")
        sheet.paste(tile, (place % columns * side, place // columns * side))
    return sheet


def credits_page() -> str:
    """docs/credits.md: one row a photograph, with a link to where its author published it."""
    lines = [
        "# The photographs of dataset=photographs",
        "",
        "All are CC0 or in the public domain, as their Debian packages state. Squares were cut from them and",
        "reduced to 256 px. `credits.csv` beside the files gives package, version, file and hashes.",
        "",
        "![All photographs, numbered as in the table](pictures/photographs.webp)",
        "",
        "| | photograph | split | author | licence | package |",
        "|--:|:--|:--|:--|:--|:--|",
    ]
    for place, row in enumerate(credits(), 1):
        page = row["page"].replace("(", "%28").replace(")", "%29")
        name = f"[{row['id']}]({page})" if page else row["id"]
        cells = (str(place), name, row["split"], row["author"], row["licence"], row["package"])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def duplicates(archive: Path) -> list[tuple[str, str, int]]:
    """Near-duplicates between splits, all photographs of training included.

    Args:
        archive: the zip of `recipes.photographs`.
    """
    hashes: dict[str, dict[str, Bits]] = {"test": {}, "tuning": {}, "train": {}}
    with zipfile.ZipFile(archive) as pictures:
        for name in pictures.namelist():
            split = name.split("/")[0]
            if split in hashes:
                hashes[split][name] = difference_hash(Image.open(io.BytesIO(pictures.read(name))))
    for split in hashes:
        hashes[split] |= {
            name: difference_hash(Image.fromarray(pixels)) for name, pixels in whole_photographs(split).items()
        }
    pairs = (("test", "tuning"), ("test", "train"), ("tuning", "train"))
    return [found for one, other in pairs for found in near_duplicates(hashes[one], hashes[other])]


def main() -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, default=Path("photographs"), help="folder of recipes.photographs")
    folder = parser.parse_args().photographs
    try:
        pack(folder)
        build(folder / "packages")
        credits.cache_clear()
        (_DOCS / "credits.md").write_text(credits_page(), encoding="utf-8")
        contact_sheet().save(_DOCS / "pictures" / "photographs.webp", "WEBP", quality=85)
        found = duplicates(folder / PACK)
    except (LookupError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for one, other, apart in found:
        print(f"near-duplicates, {apart} of 64 bits apart: {one} and {other}", file=sys.stderr)
    print(f"{FOLDER}: {sum(path.stat().st_size for path in FOLDER.iterdir()) / 1e6:.1f} MB")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
