"""Where conf/ and experiments/ are, and the options of a group, read from the names of its files."""

from pathlib import Path

__all__ = ["groups", "options", "root"]

#: folders of conf/ that hold no choices: found by the names of others, or only for searches
_HIDDEN = {"tuned", "search"}

#: files of experiments/ that a verb of that name reads, which is no overlay
_OWN_VERB = {"exact"}


def root() -> Path:
    """The folder that holds conf/ and experiments/: the package's if installed from a wheel, else the checkout's."""
    package = Path(__file__).resolve().parents[1]
    return package if (package / "conf").is_dir() else package.parents[1]


def groups() -> list[str]:
    """The groups of conf/ that a person chooses from."""
    found = [path.name for path in (root() / "conf").iterdir() if path.is_dir() and path.name not in _HIDDEN]
    return sorted([*found, "settings"])


def options(group: str) -> list[str]:
    """The options of a group; of experiments, the overlays; of settings, tuned, paper and the files of conf/tuned."""
    if group == "settings":
        return ["tuned", "paper", *sorted(path.stem for path in (root() / "conf" / "tuned").glob("*.yaml"))]
    folder = root() / group if group == "experiments" else root() / "conf" / group
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem not in _OWN_VERB)
