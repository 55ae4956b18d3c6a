"""safari-bench check: whether an operator of your own is what it says it is."""

from argparse import ArgumentParser, Namespace

from safari_bench.cli.words import add_keys

__all__ = ["DESCRIPTION", "EXAMPLE", "SUMMARY", "add", "main"]

SUMMARY = "test a task's operator: shapes, types, adjoint, pseudo-inverse, independence of the batch"
DESCRIPTION = """
Test the operator of a task, one of your own for example, at the size of the dataset's images. One line per property:
shape, dtype, device, the same answer twice, independence of the batch, gradient, and where they apply linearity,
<A x, y> = <x, A^T y>, A A^+ A = A and the SVD factors.

Exits with 1 if a property does not hold, with 2 if the operator cannot be built.
"""
EXAMPLE = "safari-bench check --config-dir my/conf --allow my_operator task=mine"


def add(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_keys(parser)


def main(args: Namespace) -> int:
    """Print the verdicts of every operator asked for."""
    from functools import partial

    from hydra.utils import instantiate

    from safari_bench.cli.compose import dataset_of, refused
    from safari_bench.cli.grids import configurations
    from safari_bench.cli.schema import check as checked
    from safari_bench.cli.words import wide
    from safari_bench.operators import check

    failed = 0
    with wide(args) as words:
        for cfg in configurations(words):
            values = checked(cfg)
            shape = dataset_of(values["dataset"]).image_shape
            build = instantiate(values["task"]["operator"], _partial_=True, _convert_="all")
            verdicts = refused("task.operator", partial(check, build, shape))
            print(f"{values['task']['name']}, images of {' x '.join(map(str, shape))}")
            print("\n".join(f"  {verdict}" for verdict in verdicts))
            wrong = [verdict.name for verdict in verdicts if verdict.holds is False]
            print(f"  {len(wrong)} failed: {', '.join(wrong)}" if wrong else "  all hold")
            failed += len(wrong)
    return 1 if failed else 0
