"""Whether an operator is what it says it is: one verdict per property, for operators of a user's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from safari_bench.operators.contract import LinearOperator, Operator, SVDOperator, Unsupported, join
from safari_bench.rng import Streams

__all__ = ["Verdict", "check"]

_IDS = ("a", "b")
#: relative errors allowed: of sums in float64, of what conjugate gradients find, of float32
_EXACT, _ITERATED, _SINGLE = 1e-9, 1e-5, 1e-4
Build = Callable[[Sequence[int], Streams], Operator]


@dataclass(frozen=True)
class Verdict:
    """One property of an operator.

    Attributes:
        name: of the property.
        holds: whether it holds; None if it could not be tested here.
        detail: what was measured, or what is wrong and how to mend it.
    """

    name: str
    holds: bool | None
    detail: str

    def __str__(self) -> str:
        word = {True: "ok    ", False: "FAILED", None: "  -   "}[self.holds]
        return f"{word}  {self.name:20}  {self.detail}"


class _Wrong(Exception):
    """A property does not hold, for the reason given."""


class _Untested(Exception):
    """A property does not apply, or cannot be tested here, for the reason given."""


def check(build: Build, image_shape: Sequence[int]) -> list[Verdict]:
    """Test an operator on two images in float64 on the CPU, and what should not change in float32 and elsewhere.

    Args:
        build: makes the operator from (c, h, w) and streams, as a task does.
        image_shape: (c, h, w).
    Raises:
        TypeError, ValueError: what `build` raises; also TypeError if it makes no Operator.
    """
    subject = _Subject(build, tuple(image_shape))
    return [_verdict(name, test, subject) for name, test in _TESTS.items()]


class _Subject:
    """The operator under test, and an image and a measurement to test it on."""

    def __init__(self, build: Build, shape: tuple[int, ...]) -> None:
        self.build, self.shape = build, shape
        self.A = self.made(_IDS)
        self.x = self.draw(shape, "x")

    def made(self, ids: Sequence[str], dtype: torch.dtype = torch.float64, device: str = "cpu") -> Operator:
        operator = self.build(self.shape, Streams(0, "check", ids, device, dtype))
        if not isinstance(operator, Operator):
            raise TypeError(f"got a {type(operator).__name__}, expected an Operator; derive it from LinearOperator")
        return operator

    def draw(self, shape: Sequence[int], purpose: str) -> Tensor:
        """(2, *shape) in [-1, 1), float64."""
        return 2 * Streams(0, "check", _IDS, dtype=torch.float64).uniform(f"check {purpose}", shape) - 1

    @property
    def y(self) -> Tensor:
        """Numbers of the shape of a measurement, 0 where nothing is observed."""
        y = self.draw(self.A.A(self.x).shape[1:], "y")
        return y if self.A.observed is None else y * self.A.observed

    @property
    def linear(self) -> LinearOperator:
        if not isinstance(self.A, LinearOperator):
            raise _Untested("for a LinearOperator only")
        return self.A

    @property
    def svd(self) -> SVDOperator:
        if not isinstance(self.A, SVDOperator):
            raise _Untested("for an SVDOperator only")
        return self.A


def _verdict(name: str, test: Callable[[_Subject], str], subject: _Subject) -> Verdict:
    try:
        return Verdict(name, True, test(subject))
    except _Untested as reason:
        return Verdict(name, None, str(reason))
    except _Wrong as reason:
        return Verdict(name, False, str(reason))
    except Exception as error:  # whatever the code under test stumbles on
        return Verdict(name, False, f"raised {type(error).__name__}: {error}")


def _same(got: Tensor, expected: Tensor, what: str, remedy: str, tolerance: float = _EXACT) -> str:
    """`what` with the relative error, or a refusal with the remedy."""
    if got.shape != expected.shape:
        raise _Wrong(f"{what}: got shape {tuple(got.shape)}, expected {tuple(expected.shape)}; {remedy}")
    scale = expected.abs().square().sum().sqrt().clamp_min(1e-30)
    error = float((got - expected).abs().square().sum().sqrt() / scale)
    if not error <= tolerance:
        raise _Wrong(f"{what}: off by {error:.1e} relative, allowed {tolerance:.0e}; {remedy}")
    return f"{what}, to {error:.0e}"


def _shape(s: _Subject) -> str:
    y, x = s.A.A(s.x), s.draw(s.shape, "x")
    if y.ndim < 2 or len(y) != len(_IDS):
        raise _Wrong(f"A(x): got shape {tuple(y.shape)}, expected ({len(_IDS)}, ...); keep the batch dimension first")
    if not y.isfinite().all():
        raise _Wrong("A(x) is not finite for a finite x")
    if not torch.equal(s.x, x):
        raise _Wrong("A changes its input; do not write into x")
    return f"images {tuple(s.x.shape[1:])} become measurements {tuple(y.shape[1:])}"


def _dtype(s: _Subject) -> str:
    for dtype in (torch.float64, torch.float32):
        got = s.made(_IDS, dtype).A(s.x.to(dtype)).dtype
        if got != dtype:
            raise _Wrong(f"A of a {dtype} image: got {got}; make tensors of the operator's own in streams.dtype")
    single = s.made(_IDS, torch.float32).A(s.x.float()).double()
    return _same(single, s.A.A(s.x), "float32 and float64 agree", "compute constants in float64, then cast", _SINGLE)


def _device(s: _Subject) -> str:
    device = "cuda" if torch.cuda.is_available() else "meta"  # meta stands in for a GPU: it refuses tensors of the CPU
    try:
        got = s.made(_IDS, torch.float32, device).A(torch.zeros(len(_IDS), *s.shape, device=device)).device.type
    except (RuntimeError, NotImplementedError) as error:
        if device == "meta" and (isinstance(error, NotImplementedError) or "meta tensor" in str(error)):
            raise _Untested(f"needs a GPU to test ({str(error).splitlines()[0]})") from error  # it looks at its numbers
        raise _Wrong(f"{str(error).splitlines()[0]}; make tensors of the operator's own on streams.device") from error
    if got != device:
        raise _Wrong(f"A of an image on {device}: got {got}; make tensors of the operator's own on streams.device")
    return f"A stays on the device of its streams ({device})"


def _repeatable(s: _Subject) -> str:
    y, remedy = s.A.A(s.x), "draw what is random from streams, in __init__"
    _same(s.A.A(s.x), y, "a second A(x)", remedy, 0.0)
    return _same(s.made(_IDS).A(s.x), y, "built again, A is the same", remedy, 0.0)


def _batch(s: _Subject) -> str:
    alone = [s.made([i]) for i in _IDS]
    y = torch.cat([operator.A(x[None]) for operator, x in zip(alone, s.x, strict=True)])
    _same(s.A.A(s.x), y, "a batch and its images alone", "treat every image by itself; draw with streams")
    joined = join(alone, torch.device("cpu"), torch.float64)
    return _same(
        joined.A(s.x), y, "a batch equals its images alone", "hold what is drawn per image as (b, ...) tensors"
    )


def _observed(s: _Subject) -> str:
    if s.A.observed is None:
        raise _Untested("every entry of y is observed")
    y, mask = s.A.A(s.x), s.A.observed
    if not ((mask == 0) | (mask == 1)).all():
        raise _Wrong("observed must be 0 or 1 everywhere")
    return _same(y * mask, y, "y is 0 where nothing is observed", "multiply A(x) by observed")


def _baseline(s: _Subject) -> str:
    try:
        picture = s.A.baseline(s.A.A(s.x))
    except Unsupported as reason:
        raise _Untested(f"y has no picture ({reason})") from reason
    if picture.shape != s.x.shape:
        raise _Wrong(f"baseline(y): got shape {tuple(picture.shape)}, expected {tuple(s.x.shape)}")
    return "y has a picture"


def _gradient(s: _Subject) -> str:
    x = s.x.clone().requires_grad_()
    y = s.A.A(x)
    if not y.requires_grad:
        raise _Wrong("A(x) has no gradient; use torch functions only, and no detach")
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    if not gradient.isfinite().all():
        raise _Wrong("the gradient of ||A x||^2 is not finite")
    return "A can be differentiated"


def _linear(s: _Subject) -> str:
    z = s.draw(s.shape, "z")
    return _same(
        s.linear.A(2 * s.x - 3 * z),
        2 * s.A.A(s.x) - 3 * s.A.A(z),
        "A(2 x - 3 z) = 2 A x - 3 A z",
        "derive from Operator if A is not linear",
    )


def _adjoint(s: _Subject) -> str:
    back = s.linear.adjoint(s.y)
    if back.shape != s.x.shape:
        raise _Wrong(f"adjoint(y): got shape {tuple(back.shape)}, expected {tuple(s.x.shape)}")
    left, right = ((a * b).flatten(1).sum(1) for a, b in ((s.A.A(s.x), s.y), (s.x, back)))
    return _same(left, right, "<A x, y> = <x, A^T y>", "remove adjoint to get the one of automatic differentiation")


def _pinv(s: _Subject) -> str:
    y = s.linear.A(s.x)
    tolerance = max(_ITERATED, 10 * getattr(s.A, "rtol", 0.0))
    return _same(s.A.A(s.linear.pinv(y)), y, "A A^+ A x = A x", "remove pinv to get the iterative one", tolerance)


def _svd(s: _Subject) -> str:
    A, x, y = s.svd, s.x, s.y
    spectrum = A.Vt(x)
    if (A.gains < 0).any():
        raise _Wrong("gains must be >= 0; put the sign into U")
    _same(A.V(spectrum), x, "V V^T x", "V must be square and orthogonal")
    _same(spectrum.abs().square().sum(), x.square().sum(), "||V^T x||^2", "V must be orthogonal: scale it to unit norm")
    _same(A.U(A.Ut(y)), y, "U U^T y", "U^T must be 0 where U has no column")
    _same(A.V(A.gains * A.Ut(y)), A.adjoint(y), "V S U^T y", "gains, U and V must be those of A")
    return _same(A.U(A.gains * spectrum), A.A(x), "U S V^T x = A x", "gains, U and V must be those of A")


_TESTS: dict[str, Callable[[_Subject], str]] = {
    "shape": _shape,
    "dtype": _dtype,
    "device": _device,
    "repeatable": _repeatable,
    "batch": _batch,
    "observed": _observed,
    "baseline": _baseline,
    "gradient": _gradient,
    "linear": _linear,
    "adjoint": _adjoint,
    "pseudo-inverse": _pinv,
    "SVD": _svd,
}
