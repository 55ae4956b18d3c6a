"""safari-bench run: one cell, or every combination of a sweep."""

from argparse import ArgumentParser, Namespace

from safari_bench.cli.words import add_keys, add_shows

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "measure, restore and score images: one cell, or with -m every combination"
DESCRIPTION = """
Degrade images, restore them, score them and write a row for each. The word run may be left out. A run may be
interrupted; the same command does only what is missing.

Writes results/<name>: rows and pictures of every cell, per_image.csv, table1.csv; a sweep also figures and table1.md.
"""
EXAMPLE = "safari-bench -m task=sr_x4,inpaint_box sampler=dps,safari dataset.n=2"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_keys(parser)
    add_shows(parser)


def main(args: Namespace) -> int:
    """Run one cell, or a sweep."""
    from safari_bench.cli.launch import launch

    return launch(args)
