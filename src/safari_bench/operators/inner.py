"""The inner linear problems of samplers, exact where the operator has an SVD and by conjugate gradients where not.

Both problems rest on A A^T + c I: prox(y, x, rho) = x + A^T (A A^T + rho I)^{-1} (y - A x).

At c = 0 the inverse is the pseudo-inverse (A A^T)^+, so that A^T solve(r, 0) = A^+ r and prox(y, x, 0) is the point
nearest to x among the least-squares solutions of A u = y: the limits as c -> 0. Directions whose gain is below the
operator's ``rtol`` carry no digits and are left out at c = 0; at c > 0 they stay in, damped by c. Without an SVD the
solution at c = 0 is where `ITERATIONS` steps of conjugate gradients from 0 lead, which for an ill-conditioned operator
lacks the directions of the smallest gains.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from safari_bench.operators.contract import LinearOperator, SVDOperator
from safari_bench.shapes import Image, Measurement, PerImage

__all__ = ["conjugate_gradients", "prox", "solve"]

#: what `solve` and `prox` spend where there is no SVD
ITERATIONS = 500
RTOL = 1e-7


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    iterations: int = ITERATIONS,
    rtol: float = RTOL,
    precondition: Callable[[Tensor], Tensor] = lambda r: r,
) -> Tensor:
    """Solve M u = b for every image of a batch, from u = 0 (Hestenes and Stiefel, 1952).

    Every image has its own step sizes and stops on its own, so that its answer does not depend on the batch it is in.

    Args:
        apply: u -> M u, symmetric and positive semi-definite, image by image.
        b: right-hand sides, (b, *m).
        iterations: the most applications of M.
        rtol: an image stops once its residual's norm is at most rtol times that of its right-hand side. It also stops
            where a search direction has no positive curvature: there M is singular to rounding, or not what it should
            be (a network's Jacobian need not be), and the answer so far is the best of the method.
        precondition: r -> about M^{-1} r, symmetric and positive definite, image by image.

    Returns:
        u, (b, *m): zero for a zero right-hand side, NaN for one that is not finite.
    """
    u, r, p = torch.zeros_like(b), b, precondition(b)
    rz = _dot(r, p)
    enough = rtol**2 * _dot(b, b)
    running = ~(_dot(b, b) <= enough)  # a NaN runs on, to show in the answer
    for _ in range(iterations):
        if not running.any():
            break
        Mp = apply(p)
        curvature = _dot(p, Mp)
        running = running & ~(curvature <= 0)
        alpha = torch.where(running, rz / torch.where(running, curvature, 1), 0)
        u = u + alpha * p
        r = r - alpha * Mp
        z = precondition(r)
        rz, before = _dot(r, z), rz
        running = running & ~(_dot(r, r) <= enough)
        p = torch.where(running, z + rz / torch.where(running, before, 1) * p, 0)
    return u


def solve(operator: LinearOperator, r: Measurement, c: PerImage | float) -> Measurement:
    """(A A^T + c I)^{-1} r; (A A^T)^+ r at c = 0.

    Args:
        r: (b, *m).
        c: a number >= 0, or one > 0 per image, (b,).

    Raises:
        ValueError: c is out of range.
    """
    if _vanishes(c):
        return _pseudo_solve(operator, r)
    if isinstance(operator, SVDOperator):
        return operator.solve(r, c)
    damping = _column(c, r) if isinstance(c, Tensor) else c
    return conjugate_gradients(lambda u: operator.A(operator.adjoint(u)) + damping * u, r)


def prox(operator: LinearOperator, y: Measurement, x: Image, rho: PerImage | float) -> Image:
    """argmin_u ||y - A u||^2 + rho ||u - x||^2; at rho = 0, the least-squares solution nearest to x.

    Args:
        y: (b, *m).
        x: (b, c, h, w).
        rho: a number >= 0, or one > 0 per image, (b,).

    Raises:
        ValueError: rho is out of range.
    """
    if _vanishes(rho):
        return x + operator.pinv(y - operator.A(x))
    if isinstance(operator, SVDOperator):
        return operator.prox(y, x, rho)
    return x + operator.adjoint(solve(operator, y - operator.A(x), rho))


def _pseudo_solve(operator: LinearOperator, r: Measurement) -> Measurement:
    if isinstance(operator, SVDOperator):
        s = operator.singular_values
        return operator.U(torch.where(s > 0, operator.Ut(r) / torch.where(s > 0, s, 1) ** 2, 0))
    # without the part of r that A cannot make, on which conjugate gradients would diverge
    return conjugate_gradients(lambda u: operator.A(operator.adjoint(u)), operator.A(operator.pinv(r)))


def _vanishes(c: PerImage | float) -> bool:
    """Whether c is the number 0."""
    if (c <= 0).any() if isinstance(c, Tensor) else c < 0:
        raise ValueError(
            f"an inner problem is damped by {c}; expected a number >= 0, or one > 0 per image. Check sigma_y and rho"
        )
    return not isinstance(c, Tensor) and c == 0


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> per image, (b, 1, ..., 1)."""
    return _column((a * b).flatten(1).sum(1), a)


def _column(values: PerImage, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))
