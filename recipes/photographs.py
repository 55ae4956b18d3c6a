"""Free photographs from Debian packages: downloaded by name and version, checked, unpacked, packed into one file.

    python -m recipes.photographs --into photographs

Nothing is installed and no root is needed: `apt-get download` and `dpkg-deb --extract`. photographs.csv lists every
picture with its package, sha256, licence, author and split; a picture whose sha256 differs is an error. No picture is
committed.
"""

import argparse
import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

from recipes.qt_resources import files as resource_files

__all__ = ["MANIFEST", "PACK", "fetch", "manifest", "pack", "unpacked"]

MANIFEST = Path(__file__).with_name("photographs.csv")
#: what `pack` writes into its folder
PACK = "photographs.zip"
#: longest allowed short side of a packed photograph, pixels; the zip then travels to a machine with a GPU
SHORT_SIDE = 512
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def manifest(split: str | None = None) -> list[dict[str, str]]:
    """Rows of photographs.csv: package, version, file, sha256, licence, author, kind, split (train, tuning, test).

    Args:
        split: only rows of this split; None for all.
    """
    with MANIFEST.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if split in (None, row["split"])]


def fetch(packages: Mapping[str, str], folder: Path) -> None:
    """Download Debian packages (name -> version) into folder and extract each into folder/<name>.

    Raises:
        subprocess.CalledProcessError: apt-get or dpkg-deb failed; `apt-get update` may help.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in packages.items():
        if (folder / name).is_dir():
            continue
        before = set(folder.glob("*.deb"))
        subprocess.run(["apt-get", "download", "-qq", f"{name}={version}"], cwd=folder, check=True)
        (archive,) = set(folder.glob("*.deb")) - before
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(folder / name)], check=True)
        archive.unlink()


def unpacked(folder: Path) -> Iterator[bytes]:
    """Contents of every picture under folder, also of those inside Qt resource files."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        if path.suffix == ".rcc":
            yield from (data for name, data in resource_files(path) if name.lower().endswith(_SUFFIXES))
        elif path.suffix.lower() in _SUFFIXES:
            yield path.read_bytes()


def pack(folder: Path) -> Path:
    """Download what photographs.csv names and write folder/photographs.zip.

    It holds <split>/<sha256>.webp, reduced by area means to a short side of at most 512 px, WebP of quality 95, and
    stamps/<sha256>.webp with transparency. A finished file is returned as it is.

    Raises:
        LookupError: a picture of photographs.csv is in no package.
    """
    target = folder / PACK
    if target.exists():
        return target
    rows = {row["sha256"]: row for row in manifest()}
    fetch({row["package"]: row["version"] for row in rows.values()}, folder / "packages")
    missing = set(rows)
    partial = target.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for data in unpacked(folder / "packages"):
            digest = hashlib.sha256(data).hexdigest()
            if digest in missing:
                missing.remove(digest)
                stamp = rows[digest]["kind"] == "stamp-alpha"
                place = "stamps" if stamp else rows[digest]["split"]
                archive.writestr(f"{place}/{digest}.webp", _reduced(data, "RGBA" if stamp else "RGB"))
    if missing:
        partial.unlink()
        first = rows[min(missing)]
        raise LookupError(f"{len(missing)} pictures were not found, the first is {first['file']} of {first['package']}")
    partial.rename(target)
    return target


def _reduced(data: bytes, mode: str) -> bytes:
    picture = Image.open(io.BytesIO(data)).convert(mode)
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        size = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize(tuple(size), Image.Resampling.BOX)  # type: ignore[arg-type]
    stored = io.BytesIO()
    picture.save(stored, "WEBP", quality=95, method=4)
    return stored.getvalue()


def main() -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--into", type=Path, default=Path("photographs"), help="folder for packages and the packed file"
    )
    try:
        target = pack(parser.parse_args().into)
    except (LookupError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, {len(manifest())} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
