"""safari-bench ablate: what sweeps over psi's weights say of them."""

import sys
from argparse import ArgumentParser, Namespace

from safari_bench.errors import ConfigError

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "effects, interactions and curves of a sweep over guidance.* (also: study)"
DESCRIPTION = """
What a sweep over guidance.* says: the gain of each part, main effects and interactions of a factorial, curves, and
signatures of failure. It needs a finished run and computes no image.

Writes ablation.md, CSV files and figures into each run folder.
"""
EXAMPLE = "safari-bench ablate ablation_factorial"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run folder, or the name of one in results/")


def main(args: Namespace) -> int:
    """Write the page of each run.

    Raises:
        ConfigError: the package that does the statistics is not installed.
        TableError: see `ablation.ablate`.
    """
    from safari_bench.ledger import find_run

    try:
        from safari_bench.ablation import ablate
    except ImportError as error:
        raise ConfigError(f"safari-bench ablate needs a package that is not installed ({error}); make setup") from error
    for folder in map(find_run, args.runs):
        files, absent = ablate(folder)
        if absent:
            print(f"{folder}: left out {', '.join(absent)}: metrics=signatures adds them", file=sys.stderr)
        print(f"in {folder}: {', '.join(path.name for path in files)}")
    return 0
