"""`safari-bench weights`: the files that learned scores need."""

from collections.abc import Sequence

from safari_bench.cli.schema import ConfigError
from safari_bench.metrics.downloads import fetch
from safari_bench.metrics.weights import BACKBONES, Backbone, WeightsError, find, folders, remedy

__all__ = ["weights"]

_ACTIONS = ("list", "check", "fetch")
_KEY = "metrics.weights_dir="


def weights(arguments: Sequence[str]) -> int:
    """List the files and where they are; `check` ends with 1 unless all are right; `fetch` downloads what is absent.

    Returns:
        the exit code.

    Raises:
        ConfigError: another word.
    """
    words = [word for word in arguments if not word.startswith(_KEY)]
    places = [word.removeprefix(_KEY) for word in arguments if word.startswith(_KEY)]
    action = words[0] if words else "list"
    if len(words) > 1 or action not in _ACTIONS or len(places) > 1:
        raise ConfigError(f"safari-bench weights takes {', '.join(_ACTIONS)} and {_KEY}DIR, got {' '.join(arguments)}")
    place = places[0] if places else None
    print(f"looked for in {', then '.join(map(str, folders(place)))}; a download goes to {folders(place)[0]}")
    right = [_line(backbone, place, action == "fetch") for backbone in BACKBONES.values()]
    return 0 if all(right) or action == "list" else 1


def _line(backbone: Backbone, place: str | None, download: bool) -> bool:
    """Prints how it stands with one file, after fetching it if asked to. Returns whether it is there and right."""
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
