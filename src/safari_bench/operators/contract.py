"""What a degradation y = A x + n is, as far as samplers, fidelity terms and the runner are concerned.

An operator belongs to one batch: masks and kernels that are drawn per image are held batched, (b, ...), and every
method treats image i of its argument with them. Operators that are the same for all images hold them with a batch size
of 1.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from safari_bench.errors import Unsupported
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement, PerImage, Spectrum

__all__ = ["LinearOperator", "Operator", "SVDOperator", "Unsupported", "join", "reflected"]


def reflected(y: Tensor, pad: Sequence[int]) -> Tensor:
    """y (..., h, w) mirrored about its outermost pixel centres by pad = (left, right, top, bottom) px, of any size."""
    for axis, sides in ((-1, pad[:2]), (-2, pad[2:])):
        places = np.arange(y.shape[axis])
        mode: Any = "reflect" if len(places) > 1 else "edge"
        y = y.index_select(axis, torch.from_numpy(np.pad(places, tuple(sides), mode=mode)).to(y.device))
    return y


class Operator(ABC):
    """A forward model, linear or not.

    Args:
        image_shape: (c, h, w) of one image.
        streams: where per-image geometry is drawn from; also fixes device and dtype.
    """

    #: whether y is a picture on a regular grid, (b, c', h', w'), so that resizing and Fourier-filtering it make sense.
    image_like: bool = True

    def __init__(self, image_shape: Sequence[int], streams: Streams) -> None:
        self.image_shape = tuple(image_shape)
        self.batch = len(streams)
        self.device = streams.device
        self.dtype = streams.dtype

    @classmethod
    def image_shape_of(cls, y_shape: Sequence[int], **settings: Any) -> tuple[int, ...]:
        """(c, h, w) of the images whose measurements have the shape y_shape. By default y_shape itself.

        Args:
            settings: the operator's own keyword arguments.
        """
        return tuple(y_shape)

    @classmethod
    def of_picture(cls, picture: Tensor) -> Tensor:
        """The measurement (b, *m) that a picture file (b, 3, h, w) holds. By default the picture itself."""
        return picture

    @classmethod
    def margin(cls, **settings: Any) -> int:
        """Least number of px by which a picture y should be extended on every side. By default 0."""
        return 0

    @classmethod
    def extended(cls, y: Tensor, pad: Sequence[int], **settings: Any) -> tuple[Tensor, dict[str, Any]]:
        """A picture y extended beyond its border, and the settings of the operator that measures it.

        Args:
            pad: how many px to the left, right, top and bottom.
        """
        return reflected(y, pad), settings

    @abstractmethod
    def A(self, x: Image) -> Measurement:
        """The noiseless measurement of x, differentiable in x."""

    def baseline(self, y: Measurement) -> Image:
        """What a reader would put beside a restoration: y as an image, with no prior. By default y itself.

        Raises:
            Unsupported: y has no such picture. The default raises this unless y has the shape of an image.
        """
        if self.image_like and tuple(y.shape[1:]) == self.image_shape:
            return y
        raise Unsupported(
            f"{type(self).__name__}: y has shape {tuple(y.shape[1:])}, which is no picture of {self.image_shape}; "
            "write baseline(y) to show one"
        )

    @property
    def observed(self) -> Tensor | None:
        """1 where y carries information and 0 where it does not, broadcastable to y; None if it does everywhere.

        Noise is added only where this is 1, and residuals are counted only there.
        """
        return None

    def observed_count(self, y: Measurement) -> PerImage:
        """How many entries of y carry information, per image, (b,)."""
        if self.observed is None:
            return torch.full((y.shape[0],), float(y[0].numel()), dtype=self.dtype, device=y.device)
        return self.observed.expand_as(y).flatten(1).sum(1).to(self.dtype)


class LinearOperator(Operator):
    """A forward model that is linear in x. A subclass must write A alone; adjoint and pinv have slower defaults."""

    def adjoint(self, y: Measurement) -> Image:
        """A^T y: <A x, y> = <x, A^T y>. By default the vector-Jacobian product of A."""
        with torch.enable_grad():
            x = torch.zeros(len(y), *self.image_shape, device=y.device, dtype=y.dtype, requires_grad=True)
            (found,) = torch.autograd.grad(self.A(x), x, y, create_graph=y.requires_grad)
        return found

    def pinv(self, y: Measurement) -> Image:
        """A^+ y, the least-squares solution of least norm. By default from conjugate gradients on A^T A."""
        from safari_bench.operators.solvers import least_squares  # which imports this module

        return least_squares(self, y)

    def baseline(self, y: Measurement) -> Image:
        """A^+ y, unless a task has a better picture to show."""
        return self.pinv(y)


class SVDOperator(LinearOperator):
    """A = U S V^T with functional factors; a subclass supplies the five below and gets everything else.

    V is square and orthogonal (unitary): ``Vt`` maps an image to a spectrum that ``gains`` broadcasts to, and ``V``
    maps it back. ``gains`` is zero on the null space of A. ``U`` maps a spectrum to a measurement and ignores entries
    that have no column; U U^T = I on measurements. Bases may be complex; images and measurements are real.

    ``gains`` and ``singular_values`` are the same numbers for two uses. What multiplies by S (A, adjoint, prox, solve)
    takes ``gains`` and is exact; what divides by S (pinv, a sampler's S^-1) takes ``singular_values``.
    """

    #: (b or 1, *spectral shape, 1 where shared), real, >= 0: the diagonal of S to full precision.
    gains: Tensor
    #: relative rank tolerance: below it a gain carries no digits worth dividing by.
    rtol: float = 1e-6

    @cached_property
    def singular_values(self) -> Tensor:
        """``gains`` with everything below ``rtol`` times the image's largest set to exactly 0; same shape."""
        largest = self._per_image(self.gains.flatten(1).amax(1))
        return torch.where(self.gains < self.rtol * largest, 0, self.gains)

    @abstractmethod
    def Vt(self, x: Image) -> Spectrum:
        """V^T x, the spectrum of an image."""

    @abstractmethod
    def V(self, z: Spectrum) -> Image:
        """V z, the image of a spectrum."""

    @abstractmethod
    def Ut(self, y: Measurement) -> Spectrum:
        """U^T y, the spectrum of a measurement, 0 in entries that have no column in U."""

    @abstractmethod
    def U(self, z: Spectrum) -> Measurement:
        """U z, the measurement of a spectrum."""

    def A(self, x: Image) -> Measurement:
        """U S V^T x."""
        return self.U(self.gains * self.Vt(x))

    def adjoint(self, y: Measurement) -> Image:
        """V S U^T y."""
        return self.V(self.gains * self.Ut(y))

    def pinv(self, y: Measurement) -> Image:
        """V S^+ U^T y; directions with a relative gain below ``rtol`` are left at 0."""
        s = self.singular_values
        return self.V(torch.where(s > 0, self.Ut(y) / torch.where(s > 0, s, 1), 0))

    def prox(self, y: Measurement, x: Image, rho: PerImage | float) -> Image:
        """argmin_u ||y - A u||^2 + rho ||u - x||^2, exactly. rho > 0, a number or one per image."""
        s, rho = self.gains, self._per_image(rho)
        return self.V((s * self.Ut(y) + rho * self.Vt(x)) / (s**2 + rho))

    def solve(self, r: Measurement, c: PerImage | float) -> Measurement:
        """(A A^T + c I)^{-1} r, exactly. c > 0, a number or one per image."""
        return self.U(self.Ut(r) / (self.gains**2 + self._per_image(c)))

    def _per_image(self, value: PerImage | float) -> Tensor | float:
        if not isinstance(value, Tensor):
            return value
        return value.reshape(-1, *[1] * (self.gains.ndim - 1))


_Kind = TypeVar("_Kind", bound=Operator)


def join(operators: Sequence[_Kind], device: torch.device, dtype: torch.dtype) -> _Kind:
    """The operator of a batch, made of the operators of its images. It measures image i as operators[i] does.

    A tensor that is the same in all operators is kept once. Other tensors must have a leading dimension of 1, and are
    concatenated along it. Lists, tuples and dictionaries are joined by item. Other objects are the first operator's.

    Args:
        operators: of one class, for one image each.
        device, dtype: where and in which floating type the batch is computed; bases stay complex.
    Raises:
        TypeError: something differs between the images and is no tensor with a leading dimension of 1.
    """
    first = operators[0]
    joined = copy.copy(first)
    for name in vars(first):
        if isinstance(getattr(type(first), name, None), cached_property):
            delattr(joined, name)  # made again from what is joined
        else:
            values = [getattr(operator, name) for operator in operators]
            setattr(joined, name, _joined(values, f"{type(first).__name__}.{name}", device, dtype))
    joined.batch, joined.device, joined.dtype = len(operators), device, dtype
    return joined


def _joined(values: list[Any], name: str, device: torch.device, dtype: torch.dtype) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        whole = first if all(torch.equal(v, first) for v in values[1:]) else _concatenated(values, name)
        real_or_complex = dtype.to_complex() if whole.is_complex() else dtype
        return whole.to(device, real_or_complex if whole.is_complex() or whole.is_floating_point() else whole.dtype)
    if isinstance(first, nn.Module):
        return copy.deepcopy(first).to(device, dtype)
    if isinstance(first, dict):
        return {key: _joined([v[key] for v in values], f"{name}[{key!r}]", device, dtype) for key in first}
    if isinstance(first, list | tuple):
        items = enumerate(zip(*values, strict=True))
        return type(first)([_joined(list(item), f"{name}[{i}]", device, dtype) for i, item in items])
    if isinstance(first, np.ndarray | int | float | str) and not all(np.array_equal(v, first) for v in values[1:]):
        raise TypeError(f"{name} differs between images; hold what is drawn per image as tensors of shape (b, ...)")
    return first


def _concatenated(tensors: list[Tensor], name: str) -> Tensor:
    if any(tensor.ndim == 0 or len(tensor) != 1 for tensor in tensors):
        raise TypeError(
            f"{name} differs between images and has shape {tuple(tensors[0].shape)} for one; expected (1, ...): hold "
            "what is drawn per image as tensors of shape (b, ...)"
        )
    return torch.cat(tensors)
