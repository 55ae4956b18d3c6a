"""safari-bench plan: what a run or sweep will cost."""

from argparse import ArgumentParser, Namespace

from safari_bench.cli.words import add_keys

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "what a run or sweep will cost: calls, hours, memory, disk; later what it did cost"
DESCRIPTION = """
What a run or sweep will cost, before anything starts: calls of the network, hours, memory, disk, from timing one call
here. A forecast is made once and kept. When the run exists, the same command shows the measured cost beside it.

Writes plan.csv, timings.csv and timings.md in results/<name>.
"""
EXAMPLE = "safari-bench plan experiments=table1"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_keys(parser)
    parser.add_argument("-m", "--multirun", action="store_true", help="accepted, so that a sweep's words can be pasted")
    parser.add_argument("--again", action="store_true", help="make the forecast anew, as for another machine")


def main(args: Namespace) -> int:
    """Forecast every cell, print and write the tables."""
    from safari_bench.cli.grids import configurations
    from safari_bench.cli.planning import Plan
    from safari_bench.cli.words import wide

    found = Plan(again=args.again)
    with wide(args) as words:
        for cfg in configurations(words):
            found.add(cfg)
    found.report()
    return 0
