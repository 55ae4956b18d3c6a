"""Which images a folder holds, and what they are called."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from safari_bench.data.contract import DataError

__all__ = ["EXTENSIONS", "choose", "find_images", "safe_name"]

#: lower case; files are matched in any case
EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

_LONGEST_NAME = 120


def find_images(root: Path) -> dict[str, str]:
    """id -> path relative to root (with "/"), sorted by path, for every image under root, at any depth.

    An id is the path without its extension if no other image would share it, else the path itself. Links are followed.
    Hidden files and folders are left out: they hold thumbnails and the like.

    Raises:
        DataError: if root is missing, no folder, unreadable or without images, if links lead to a folder twice, or if a
            name holds control characters or bytes that are not UTF-8.
    """
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing there"
        raise DataError(f"dataset.root {root}: got {got}, expected a folder of images; check dataset.root")
    paths = sorted(_walk(root))
    if not paths:
        raise DataError(
            f"dataset.root {root}: got no image, expected at least one, at any depth, ending in one of "
            f"{' '.join(EXTENSIONS)} (any case); check dataset.root and dataset.split"
        )
    odd = [p for p in paths if any(unicodedata.category(c) in ("Cc", "Cs") for c in p)]
    if odd:
        raise DataError(
            f"dataset.root {root}: got file names with control characters or bytes that are not UTF-8: {odd}; ids must "
            "be printable: rename the files"
        )
    taken = set(paths)
    stems = Counter(map(_stem, paths))
    return {_stem(p) if stems[_stem(p)] == 1 and _stem(p) not in taken else p: p for p in paths}


def choose(
    images: Mapping[str, str],
    subset: Path | str,
    canonical: Callable[[str], str] = lambda entry: entry,
    of: str = "the folder",
) -> dict[str, str]:
    """The images that a text file names, in its order; one that is named twice is there once.

    Args:
        images: id -> relative path.
        subset: a file with one id or relative path a line; blank lines and lines that begin with # are skipped.
        canonical: applied to every entry first.
        of: what `images` are of, for messages.
    Raises:
        DataError: if the file cannot be read, names nothing, or names what is not there.
    """
    try:
        text = Path(subset).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"dataset.subset {subset}: cannot be read ({error}); expected a UTF-8 text file") from error
    lines = [line.strip() for line in text.splitlines()]
    entries = dict.fromkeys(canonical(line) for line in lines if line and not line.startswith("#"))
    of_path = {path: image for image, path in images.items()}
    unknown = sorted(entry for entry in entries if entry not in images and entry not in of_path)
    if unknown:
        raise DataError(
            f"dataset.subset {subset}: got {len(unknown)} entries that are no image of {of}: {', '.join(unknown)}"
            "; expected ids or paths relative to dataset.root: correct or delete these lines"
        )
    if not entries:
        raise DataError(f"dataset.subset {subset}: got no entry, expected one id or path a line; fill it or unset it")
    chosen = [entry if entry in images else of_path[entry] for entry in entries]
    return {image: images[image] for image in chosen}


def safe_name(image_id: str) -> str:
    """A flat file name, without extension, of ASCII letters, digits, "." "_" "-" and "~"; different for different ids.

    "/" becomes "__". Where that would lose something, other characters become "_" and "~" with 12 digits of the id's
    SHA-256 is appended.
    """
    flat = re.sub(r"[^A-Za-z0-9._-]", "_", image_id.replace("/", "__"))
    if re.match(r"[A-Za-z0-9_]", flat) and flat.replace("__", "/") == image_id and len(flat) <= _LONGEST_NAME:
        return flat
    # neither hidden nor an option to a shell command
    return f"{flat[:_LONGEST_NAME].lstrip('.-')}~{hashlib.sha256(image_id.encode()).hexdigest()[:12]}"


def _stem(path: str) -> str:
    return path[: path.rindex(".")]


def _walk(root: Path) -> Iterable[str]:
    seen: dict[Path, Path] = {}
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        here = Path(folder)
        twin = seen.setdefault(here.resolve(), here)
        if twin != here:
            raise DataError(
                f"dataset.root {root}: {here} and {twin} are one folder, its images would count twice; delete the link"
            )
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.lower().endswith(EXTENSIONS):
                yield (here / name).relative_to(root).as_posix()


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"dataset.root: cannot list {error.filename} ({error.strerror}); grant read access") from error
