"""The inner linear problems of samplers, exact where the operator has an SVD and by conjugate gradients where not.

Both problems rest on A A^T + c I: prox(y, x, rho) = x + A^T (A A^T + rho I)^{-1} (y - A x).

Without an SVD the iteration runs in float64, whatever the operator's precision, until the error of A^T u is known to
be below `ACCURACY` (see `_damped`). Its steps grow with ||A|| / sqrt(c): for a reflected Gaussian blur of std 1.5 at
64 px, 214 at c = 1e-3, 2163 at 1e-5 and 16506 at 1.8e-7: 14 s on one core. An operator that computes in float32
makes rounding errors that the inverse magnifies, and no iteration takes them away: for that blur the routes then differ
by 4e-6 at c = 1e-3, 3e-5 at 1e-4 and 3e-4 at 1e-5; where it is more than 1e-4 a warning says so.

At c = 0 the inverse is the pseudo-inverse (A A^T)^+, so that A^T solve(r, 0) = A^+ r and prox(y, x, 0) is the point
nearest to x among the least-squares solutions of A u = y: the limits as c -> 0. Directions whose gain is below the
operator's ``rtol`` carry no digits and are left out at c = 0; at c > 0 they stay in, damped by c. Without an SVD,
(A A^T)^+ is made of the operator's own ``pinv``, and is as accurate as that.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from safari_bench.operators.contract import LinearOperator, SVDOperator
from safari_bench.shapes import Image, Measurement, PerImage

__all__ = ["conjugate_gradients", "least_squares", "prox", "solve"]

#: what `conjugate_gradients` spends unless told otherwise
ITERATIONS = 500
RTOL = 1e-7
#: what `solve` and `prox` reach where there is no SVD: the rms error of A^T u. A hundredth of what is promised, because
#: that is of the largest error, and of whole trajectories
ACCURACY = 1e-6
#: what they spend at most: twice what that blur takes at c = 1.8e-7, where DiffPIR begins for a noise of 0.05
MOST = 33_000
#: what is promised of the two routes; where less can be expected there is a warning
AGREEMENT = 1e-4


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
    return _symmetric(lambda b: _damped(operator, b, c), r)


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


def least_squares(operator: LinearOperator, y: Measurement) -> Image:
    """A^+ y = (A^T A)^+ A^T y for an operator that has no pinv of its own: no more accurate than `RTOL` allows.

    Args:
        y: (b, *m).
    """
    return _symmetric(lambda b: conjugate_gradients(lambda x: operator.adjoint(operator.A(x)), b), operator.adjoint(y))


def _pseudo_solve(operator: LinearOperator, r: Measurement) -> Measurement:
    if isinstance(operator, SVDOperator):
        s = operator.singular_values
        return operator.U(torch.where(s > 0, operator.Ut(r) / torch.where(s > 0, s, 1) ** 2, 0))
    return _symmetric(lambda b: _through_pinv(operator, b), r)


def _through_pinv(operator: LinearOperator, r: Measurement) -> Measurement:
    """(A A^T)^+ r = (A^+)^T A^+ r, the transpose by the chain rule; by conjugate gradients where pinv has none."""
    with torch.enable_grad():
        y = r.detach().requires_grad_()
        x = operator.pinv(y)
    if x.requires_grad:
        return torch.autograd.grad(x, y, x.detach())[0]
    # without the part of r that A cannot make, on which conjugate gradients would diverge
    return conjugate_gradients(lambda u: operator.A(operator.adjoint(u)), operator.A(x))


def _damped(operator: LinearOperator, b: Measurement, c: PerImage | float) -> Measurement:
    """(A A^T + c I)^{-1} b by conjugate gradients in float64, every image until its own A^T u is accurate.

    No eigenvalue is below c, which gives an upper bound of the error e of u in the norm that the method minimises,
    ||A^T e||^2 + c ||e||^2: the Gauss-Radau rule of Meurant and Tichy, Numerical Algorithms 82, 2019.
    """
    c = _column(c, b).double() if isinstance(c, Tensor) else c

    def apply(u: Tensor) -> Tensor:
        return operator.A(operator.adjoint(u.to(b.dtype))).double() + c * u

    enough = ACCURACY**2 * math.prod(operator.image_shape)
    r = p = b.double()
    u, rr = torch.zeros_like(r), _dot(r, r)
    gamma = torch.ones_like(rr) / c  # gamma <r, r> is the bound
    running = ~(gamma * rr <= enough)  # a NaN takes one step, to show in the answer
    for _ in range(MOST):
        if not running.any():
            break
        Mp = apply(p)
        alpha = torch.where(running, rr / torch.where(running, _dot(p, Mp), 1), 0)
        u = u + alpha * p
        r = r - alpha * Mp
        rr, before = _dot(r, r), rr
        beta = torch.where(running, rr / torch.where(running, before, 1), 0)
        gamma = torch.where(running & (beta > 0), (gamma - alpha) / (c * (gamma - alpha) + beta), gamma)
        running = running & rr.isfinite() & ~(gamma * rr <= enough)
        p = torch.where(running, r + beta * p, 0)
    _warn(operator, u, b.dtype, unfinished=bool(running.any()))
    return u.to(b.dtype)


def _warn(operator: LinearOperator, u: Tensor, dtype: torch.dtype, *, unfinished: bool) -> None:
    """A^T u cannot be more accurate than the operator's own arithmetic on a vector as large as u."""
    rounding = torch.finfo(dtype).eps * _dot(u, u).div(u[0].numel()).sqrt()
    if unfinished or (rounding > AGREEMENT).any():
        warnings.warn(
            f"conjugate gradients on {type(operator).__name__} may be off by more than {AGREEMENT:g}: the damping "
            f"(sigma_y^2 or rho) is too small for {dtype}, or for {MOST} steps. Use precision=fp64, or an operator "
            "that declares its SVD",
            stacklevel=2,
        )


class _Symmetric(torch.autograd.Function):
    """r -> S r with S symmetric, so that its gradient is S too and no step of an iteration is kept for it."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, S: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.S = S
        return S(r)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _symmetric(ctx.S, g), None


def _symmetric(S: Callable[[Tensor], Tensor], r: Tensor) -> Tensor:
    applied: Tensor = _Symmetric.apply(r, S)
    return applied


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
