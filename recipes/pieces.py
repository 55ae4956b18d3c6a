"""Files in pieces of at most 16 MiB, for machines that hand back small files only.

python -m recipes.pieces split run/prior/diffusion_pytorch_model.safetensors --into out
python -m recipes.pieces join out --into run/prior
"""

import argparse
import hashlib
import sys
from pathlib import Path

__all__ = ["LARGEST", "join", "split"]

LARGEST = 16 * 2**20  # bytes


def split(path: Path, into: Path, largest: int = LARGEST) -> list[Path]:
    """Write into/<name>.<place>-of-<count>.<first 16 digits of the file's sha256>.

    Returns:
        the pieces in order.
    """
    data = path.read_bytes()
    into.mkdir(parents=True, exist_ok=True)
    count, sha256 = -(-len(data) // largest), hashlib.sha256(data).hexdigest()[:16]
    pieces = [into / f"{path.name}.{place + 1:03d}-of-{count:03d}.{sha256}" for place in range(count)]
    for place, piece in enumerate(pieces):
        piece.write_bytes(data[place * largest : (place + 1) * largest])
    return pieces


def join(folder: Path, into: Path) -> list[Path]:
    """Put the files together whose pieces lie in folder.

    Returns:
        the files written.
    Raises:
        ValueError: pieces are missing or damaged.
    """
    into.mkdir(parents=True, exist_ok=True)
    written = []
    for first in sorted(folder.glob("*.001-of-*.*")):
        name, _, sha256 = first.name.rsplit(".", 2)
        data = b"".join(piece.read_bytes() for piece in sorted(folder.glob(f"{name}.*-of-*.{sha256}")))
        if hashlib.sha256(data).hexdigest()[:16] != sha256:
            raise ValueError(f"{folder}: the pieces of {name} are incomplete or damaged; copy them again")
        (into / name).write_bytes(data)
        written.append(into / name)
    return written


def main() -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("split", "join"))
    parser.add_argument("path", type=Path, help="a file to split, or a folder of pieces")
    parser.add_argument("--into", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    try:
        made = split(args.path, args.into) if args.what == "split" else join(args.path, args.into)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, made)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
