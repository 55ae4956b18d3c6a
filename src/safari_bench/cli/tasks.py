"""A task of the configuration: operator and noise."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.utils import instantiate

from safari_bench.operators import LAWS, Operator, make_noise
from safari_bench.rng import Streams
from safari_bench.runner import Task

__all__ = ["task_of"]


def task_of(values: Mapping[str, Any], image_shape: Sequence[int]) -> Task:
    """The task of a checked configuration. Its operator is built once here, and again for every image.

    Args:
        image_shape: (c, h, w).

    Raises:
        ValueError, TypeError: what the operator or a noise law refuses; also a value that this law does not read.
    """
    noise = {key: values[key] for key in ("sigma", "sigma_range", "rate", "fraction", "quality", "bits")}
    for law in LAWS:
        make_noise(law, **noise)
    build = instantiate(values["operator"], _partial_=True, _convert_="all")
    made = build(tuple(image_shape), Streams(0, "check", ["one"]))
    if not isinstance(made, Operator):
        raise ValueError(f"operator: got a {type(made).__name__}, expected an Operator of safari_bench.operators")
    return Task(
        name=values["name"],
        operator=build,
        noise=make_noise(values["noise"], **noise),
        sigma=values["sigma"],
        sigma_range=values["sigma_range"],
    )
