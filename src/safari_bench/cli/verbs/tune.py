"""safari-bench tune: the best settings of a sweep over tuning images."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from safari_bench.errors import ConfigError

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "write the best settings of a sweep over tuning images to conf/tuned"
DESCRIPTION = """
Choose, for every method and task of a sweep over tuning images, the settings with the best mean METRIC, and write them
where a run looks for them. Test images are refused; a best value at the edge of its grid is named.

Writes conf/tuned/<prior>/<task>/<sampler>.yaml, and a CSV of all that was tried beside it.
A search by Optuna instead of a grid: make tune TASK=... SAMPLER=... [INTO=NAME] [SEARCH=...], spaces in conf/search.
"""
EXAMPLE = "safari-bench tune results/tuning haarpsi steps"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder, or the name of one in results/")
    parser.add_argument("metric", nargs="?", metavar="METRIC", help="the objective that the sweep was run with")
    parser.add_argument("also", nargs="*", metavar="KEY", help="a key of samplers to write even at its default")
    parser.add_argument("--into", metavar="NAME", help="a folder of conf/tuned instead of the prior's")


def main(args: Namespace) -> int:
    """Write the best settings.

    Raises:
        ConfigError: --into is no name of a folder.
        TableError: see `reports.choose`.
    """
    if args.into is not None and (not args.into or Path(args.into).name != args.into):
        raise ConfigError(f"--into takes the name of a folder of conf/tuned, got {args.into!r}; e.g. photos64_long")
    from safari_bench.cli.conf import root
    from safari_bench.cli.tuning import found_with, write_tuned
    from safari_bench.ledger import find_run

    run = find_run(args.run)
    metric = args.metric or found_with(run)
    written = write_tuned(run, metric, root() / "conf", args.also, args.into)
    print(f"best mean {metric}; wrote {len(written)} files under {root() / 'conf' / 'tuned'}")
    return 0
