"""The argument parser of the verbs, and the arguments that several of them share."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from safari_bench.errors import ConfigError

__all__ = ["Parser", "add_keys", "add_own", "add_shows", "keys_of", "wide"]


class Parser(ArgumentParser):
    """An argument parser whose refusals are ConfigErrors."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")


def add_keys(parser: ArgumentParser) -> None:
    """Add what every verb takes that composes a configuration: keys, --config-dir and --allow."""
    parser.add_argument(
        "keys", nargs="*", metavar="key=value", help="choices and values of the configuration; see safari-bench --help"
    )
    add_own(parser)


def add_own(parser: ArgumentParser) -> None:
    """Add --config-dir and --allow."""
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        help="a folder of your own options, e.g. DIR/sampler/mine.yaml for sampler=mine; also for task, dataset, prior",
    )
    parser.add_argument(
        "--allow",
        metavar="MODULE",
        action="append",
        default=[],
        help="let _target_ in configuration files name callables of MODULE too, and import it from the current folder; "
        "without this, only those of safari_bench: shared files must not run other code. May be repeated",
    )


def keys_of(args: Namespace) -> list[str]:
    """The words for Hydra. A folder of the user's own options becomes a part of Hydra's search path.

    Raises:
        ConfigError: a word is no key=value; --config-dir is not a folder.
    """
    for word in args.keys:
        if word.startswith("-") or ("=" not in word and not word.startswith("~")):  # after --, Hydra's own options
            raise ConfigError(f"got {word}, expected key=value, e.g. sampler=dps; see safari-bench --help")
    return [*_searchpath(args.config_dir), *args.keys]


def _searchpath(folder: str | None) -> Iterator[str]:
    if folder is None:
        return
    if not Path(folder).is_dir():
        raise ConfigError(f"--config-dir: got {folder}, expected a folder, e.g. one that holds sampler/mine.yaml")
    from omegaconf import OmegaConf

    from safari_bench.cli.schema import register, root

    register()
    found = OmegaConf.load(root() / "conf" / "config.yaml").hydra.searchpath
    places = [*map(str, found), f"file://{Path(folder).resolve()}"]
    yield f"hydra.searchpath=[{', '.join(map(_quoted, places))}]"


def _quoted(text: str) -> str:
    """As a string of Hydra's grammar."""
    return "'" + text.replace("'", "\\'") + "'"


@contextmanager
def wide(args: Namespace) -> Iterator[list[str]]:
    """The words for Hydra, while the modules that --allow names may be called and Hydra's refusals are ConfigErrors."""
    from safari_bench.cli import allow, settings
    from safari_bench.cli.explain import explained

    words = settings.renamed(keys_of(args))
    with allow.opened(args.allow), explained(words):
        yield words


def add_shows(parser: ArgumentParser) -> None:
    """Add the options that show a configuration, or run many."""
    parser.add_argument("-m", "--multirun", action="store_true", help="run every combination of key=a,b,c")
    parser.add_argument("--cfg", choices=["job", "hydra", "all"], help="show the configuration; nothing is run")
    parser.add_argument("--package", metavar="KEY", help="with --cfg: show this part only")
    parser.add_argument("--resolve", action="store_true", help="with --cfg: fill in what refers to other keys")
    parser.add_argument(
        "--info",
        choices=["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"],
        help="show what the configuration is composed of; nothing is run",
    )
