"""safari-bench manifest: which images a dataset is made of."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from safari_bench.cli.words import add_keys, add_shows
from safari_bench.errors import ConfigError

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "write, or with --check compare, the list of images of a dataset"
DESCRIPTION = """
Write down which images dataset=... is made of: ids, sha256 of the pixels, recipe of preprocessing. With --check,
compare the dataset with such a file, name every difference, and end with 1 if there is one.
"""
EXAMPLE = "safari-bench manifest ffhq.csv dataset=ffhq dataset.root=DIR"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("file", metavar="FILE", help="the CSV file to write, or to compare with")
    parser.add_argument("--check", action="store_true", help="compare; write nothing")
    add_keys(parser)
    add_shows(parser)


def main(args: Namespace) -> int:
    """Write or compare.

    Raises:
        ConfigError: no file is named; see also `manifests`.
    """
    if "=" in args.file:
        raise ConfigError(f"safari-bench manifest takes a CSV file first, got {args.file}; e.g. ffhq.csv dataset=ffhq")
    from safari_bench.cli.launch import launch
    from safari_bench.cli.manifests import check_manifest, make_manifest

    path, same = Path(args.file), []
    if args.check:
        return launch(args, lambda cfg: same.append(check_manifest(cfg, path))) or int(not all(same))
    return launch(args, lambda cfg: make_manifest(cfg, path))
