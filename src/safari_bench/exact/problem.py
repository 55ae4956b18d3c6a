"""What every exact posterior asks of y = A x + n, and vectors to ask A with."""

import math

import torch
from torch import Tensor

from safari_bench.operators import LinearOperator
from safari_bench.shapes import Image, Measurement

__all__ = ["check_problem", "shift_invariant", "treats_channels_alike", "unit", "zeros"]


def check_problem(operator: LinearOperator, y: Measurement, sigma_y: float) -> None:
    """Refuse what has no posterior density or too few digits.

    Raises:
        ValueError: sigma_y is not positive, y or the operator is not float64, or they are not of one batch size.
    """
    if not sigma_y > 0:
        raise ValueError(
            f"exact posterior: got sigma_y {sigma_y}, expected > 0: without noise it has no density; take a small one"
        )
    if y.dtype != torch.float64 or operator.dtype != torch.float64:
        raise ValueError(
            f"exact posterior: got y in {y.dtype} and an operator in {operator.dtype}, expected torch.float64; give "
            "the operator Streams(..., dtype=torch.float64)"
        )
    if len(y) != operator.batch:
        raise ValueError(f"exact posterior: got {len(y)} measurements for an operator of a batch of {operator.batch}")


def zeros(operator: LinearOperator, y: Measurement) -> Image:
    """Black images to go with y, (b, c, h, w)."""
    return torch.zeros(len(y), *operator.image_shape, dtype=y.dtype, device=y.device)


def unit(like: Tensor, place: int) -> Tensor:
    """Zeros like a batch, but 1 at a place of every flattened item."""
    vectors = torch.zeros_like(like)
    vectors.flatten(1)[:, place] = 1
    return vectors


def shift_invariant(operator: LinearOperator, y: Measurement) -> bool:
    """Whether A^T A commutes with cyclic shifts, asked of an image without symmetries."""
    x = _irregular(zeros(operator, y))
    answer = operator.adjoint(operator.A(x))
    return all(
        torch.allclose(operator.adjoint(operator.A(x.roll(1, axis))), answer.roll(1, axis), rtol=0, atol=1e-12)
        for axis in (2, 3)
    )


def treats_channels_alike(operator: LinearOperator, y: Measurement) -> bool:
    """Whether A is one map of (h, w) applied to every channel, asked of an image without symmetries."""
    channels = operator.image_shape[0]
    if y.ndim < 2 or y.shape[1] != channels:
        return False
    x = _irregular(zeros(operator, y))
    for channel in range(channels):
        alone = torch.zeros_like(x)
        alone[:, channel] = x[:, 0]
        answer = operator.A(alone)
        expected = torch.zeros_like(answer)
        expected[:, channel] = operator.A(x)[:, 0]
        if not torch.allclose(answer, expected, rtol=0, atol=1e-12):
            return False
    return True


def _irregular(like: Image) -> Image:
    numbers = torch.arange(like[0].numel(), dtype=like.dtype, device=like.device)
    return torch.sin(math.sqrt(2) * numbers**2).reshape(1, *like.shape[1:]).expand_as(like)
