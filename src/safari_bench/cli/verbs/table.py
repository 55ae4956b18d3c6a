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
    parser.add_argument(
        "--pack",
        action="store_true",
        help="also write rows.csv.gz and cells.json.gz, which hold every row and configuration without pictures",
    )


def main(args: Namespace) -> int:
    """Write and print the tables."""
    from safari_bench.cli.tables import tabulate
    from safari_bench.ledger import find_run, pack

    runs = [find_run(run) for run in args.runs]
    tabulate(*runs, all_published=args.all_published)
    for run in runs if args.pack else []:
        print(f"packed: {', '.join(str(path) for path in pack(run))}")
    return 0
