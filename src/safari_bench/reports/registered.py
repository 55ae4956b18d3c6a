"""What the files of conf/ say for tables: the operator of a task, and of a sampler its place and its published name."""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

__all__ = ["option", "order", "published_name"]


def _folder(group: str) -> Path:
    package = Path(str(resources.files("safari_bench")))
    roots = package, package.parent.parent  # of a wheel, of a checkout
    return next((place for root in roots if (place := root / "conf" / group).is_dir()), package / "conf" / group)


@cache
def option(group: str, name: str) -> dict[str, Any]:
    """conf/<group>/<name>.yaml as it is written, nothing resolved; empty if there is no such file."""
    file = _folder(group) / f"{name}.yaml"
    return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}


@cache
def order() -> tuple[str, ...]:
    """Samplers in the order of tables, by `about.order` of their files. A file without one is not among them."""
    names = [path.stem for path in _folder("sampler").glob("*.yaml")]
    placed = {name: option("sampler", name).get("about", {}).get("order") for name in names}
    return tuple(sorted((n for n in names if placed[n] is not None), key=lambda n: (placed[n], n)))


def published_name(sampler: str) -> str | None:
    """What papers call a sampler, by `about.published` of its file or of the file it builds on."""
    node = option("sampler", sampler)
    found = [node.get("about", {}).get("published")]
    found += [published_name(base) for base in node.get("defaults", []) if isinstance(base, str) and base != "_self_"]
    return next((name for name in found if name), None)
