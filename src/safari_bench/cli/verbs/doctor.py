"""safari-bench doctor: what this machine has, lacks and can run."""

from argparse import ArgumentParser, Namespace

from safari_bench.cli.words import add_keys

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "what is installed, found and missing, how fast it is, and what can be run"
DESCRIPTION = """
One page: what is installed, which weights, checkpoints and datasets are found, how fast one call is, and which
experiments can be run. A dataset is found when all pictures that are asked for are there. Writes nothing.
"""
EXAMPLE = "safari-bench doctor dataset=ffhq dataset.root=DIR"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_keys(parser)


def main(args: Namespace) -> int:
    """Print the page."""
    from safari_bench.cli.doctor import examine
    from safari_bench.cli.words import wide

    with wide(args) as words:
        return examine(words)
