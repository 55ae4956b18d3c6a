"""safari-bench score: the saved pictures of a run scored again."""

from argparse import ArgumentParser, Namespace

from safari_bench.cli.words import add_keys, add_shows

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "score the saved pictures of a run again, e.g. with metrics=perceptual"
DESCRIPTION = """
Score the saved pictures of a run again, with the metrics asked for. Nothing is restored; the tables are rebuilt.
"""
EXAMPLE = "safari-bench score table1 metrics=perceptual metrics.weights_dir=DIR"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder, or the name of one in results/")
    add_keys(parser)
    add_shows(parser)


def main(args: Namespace) -> int:
    """Score every cell again and rebuild the tables."""
    from safari_bench.cli.launch import launch
    from safari_bench.cli.scoring import score_run
    from safari_bench.cli.tables import tabulate
    from safari_bench.errors import ConfigError
    from safari_bench.ledger import find_run

    if "=" in args.run:
        raise ConfigError(f"safari-bench score takes a run folder first, got {args.run}; e.g. results/table1")
    folder = find_run(args.run)
    code = launch(args, lambda cfg: score_run(cfg, folder))
    if not (args.cfg or args.info):
        tabulate(folder)
    return code
