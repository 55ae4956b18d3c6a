"""safari-bench exact: every sampler against posteriors that are known exactly."""

from argparse import ArgumentParser, Namespace

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "score every sampler against posteriors that are known exactly"
DESCRIPTION = """
Score every sampler against posteriors that are known exactly, as experiments/exact.yaml says. What is computed is kept,
and the same command does the rest.

Writes exact.md, CSV files and a plot per task into results/exact.
"""
EXAMPLE = "safari-bench exact max_steps=30 name=exact_short"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("keys", nargs="*", metavar="key=value", help="keys of experiments/exact.yaml")


def main(args: Namespace) -> int:
    """Compute what is missing, write the tables, plots and findings."""
    from safari_bench.cli.exact import exact
    from safari_bench.cli.explain import explained

    with explained(args.keys):
        return exact(args.keys)
