"""safari-bench weights: the files that learned scores need."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from safari_bench.errors import ConfigError, WeightsError

if TYPE_CHECKING:  # it imports torch
    from safari_bench.metrics.weights import Backbone

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "the files that learned scores need: where they are, whether they are right"
DESCRIPTION = """
The files that LPIPS, FID, KID and deep_distance need: where each is looked for, and whether its sha256 is right. check
ends with 1 unless all are right; fetch downloads what is absent.
"""
EXAMPLE = "safari-bench weights fetch metrics.weights_dir=weights"

_ACTIONS = ("list", "check", "fetch")
_KEY = "metrics.weights_dir="


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "words", nargs="*", metavar="list|check|fetch", help=f"list, if none is given; also {_KEY}DIR, their folder"
    )


def main(args: Namespace) -> int:
    """List the files and where they are, check them, or download what is absent.

    Raises:
        ConfigError: another word.
    """
    from safari_bench.metrics.weights import BACKBONES, folders

    words = [word for word in args.words if not word.startswith(_KEY)]
    places = [word.removeprefix(_KEY) for word in args.words if word.startswith(_KEY)]
    action = words[0] if words else "list"
    if len(words) > 1 or action not in _ACTIONS or len(places) > 1:
        raise ConfigError(f"safari-bench weights takes {', '.join(_ACTIONS)} and {_KEY}DIR, got {' '.join(args.words)}")
    place = places[0] if places else None
    print(f"looked for in {', then '.join(map(str, folders(place)))}; a download goes to {folders(place)[0]}")
    right = [_line(backbone, place, action == "fetch") for backbone in BACKBONES.values()]
    return 0 if all(right) or action == "list" else 1


def _line(backbone: "Backbone", place: str | None, download: bool) -> bool:
    """Prints how it stands with one file, after fetching it if asked to. Returns whether it is there and right."""
    from safari_bench.metrics.downloads import fetch
    from safari_bench.metrics.weights import find, folders, remedy

    what = f"{backbone.scores:10}  {backbone.file}  {backbone.megabytes} MB"
    try:
        found = find(backbone, place)
    except WeightsError as error:
        print(f"{what}  not usable: {error}")
        return False
    said = backbone.url or remedy(backbone)
    if found is None and download:
        try:
            found = fetch(backbone, place)
        except WeightsError as error:
            said = f"{error}; put that file into {folders(place)[0]}" if backbone.url else str(error)
    if found is None:
        print(f"{what}  absent; {said}")
        return False
    print(f"{what}  ok: {found.path}, sha256 {found.sha256}")
    return True
