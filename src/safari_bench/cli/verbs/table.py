"""safari-bench table: the tables of runs, from their rows."""

from argparse import ArgumentParser, Namespace

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "rebuild and print the tables and figures of runs"
DESCRIPTION = """
Rebuild the tables and figures of results/RUN from its rows alone, and print table1.md. Several runs become one table.

Writes per_image.csv, table1.csv, table1_wide.csv, table1.md, table1.tex, comparisons.csv, ranks.csv and figures.
"""
EXAMPLE = "safari-bench table table1"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run folder, or the name of one in results/")
    parser.add_argument(
        "--all-published",
        action="store_true",
        help="also list published values of other protocols, and what differs",
    )


def main(args: Namespace) -> int:
    """Write and print the tables."""
    from safari_bench.cli.tables import tabulate
    from safari_bench.ledger import find_run

    tabulate(*map(find_run, args.runs), all_published=args.all_published)
    return 0
