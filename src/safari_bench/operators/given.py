"""Operators of what a user has: a mask, a blur kernel, or a pair of functions.

`Inpainting`, `Blur` and `Linear` give what `restore` and tasks take: a function of an image shape and streams that
makes the operator.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor
from torch.nn import functional as F

from safari_bench.data import open_raster
from safari_bench.operators.contract import LinearOperator, reflected
from safari_bench.operators.masks import Masked
from safari_bench.operators.motion import Convolution
from safari_bench.operators.solvers import conjugate_gradients
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement

__all__ = ["Blur", "Inpainting", "KernelBlur", "Linear", "LinearMap", "MaskInpainting"]

#: a grey picture: a file, or numbers (h, w)
Grey: TypeAlias = str | Path | PILImage.Image | np.ndarray | Tensor
White: TypeAlias = Literal["missing", "present"]


class MaskInpainting(Masked):
    """Inpainting of the pixels that a mask marks.

    Args:
        mask: a file, or (h, w) numbers, of the image's size. White, above half of the largest possible value, marks
            pixels. Transparent pixels of a file count as black.
        white: whether white pixels are `missing` or `present`.

    Raises:
        ValueError: the mask has another size than the image, or marks every pixel or none as missing; or its file
            cannot be read.
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, mask: Grey, white: White = "missing") -> None:
        super().__init__(image_shape, streams)
        _, h, w = self.image_shape
        marked = _marked(mask)
        if marked.shape != (h, w):
            raise ValueError(
                f"mask{_named(mask)}: got {marked.shape[1]} x {marked.shape[0]} px (width x height), expected "
                f"{w} x {h} as the picture; make the mask on the picture itself"
            )
        missing = marked if white == "missing" else ~marked
        if missing.all() or not missing.any():
            got = "every pixel is" if missing.all() else "no pixel is"
            other = "present" if white == "missing" else "missing"
            raise ValueError(
                f"mask{_named(mask)}: {got} missing, where white means {white}; expected some of both: paint what is "
                f"missing white on black, or say white={other} (task.operator.white={other}) if it is the other way"
            )
        self._set_masks([(~missing).astype(float)])

    @classmethod
    def extended(cls, y: Tensor, pad: Sequence[int], **settings: Any) -> tuple[Tensor, dict[str, Any]]:
        """Both the picture and the mask are mirrored."""
        marked = torch.from_numpy(_marked(settings["mask"]).astype(np.uint8))
        if any(pad) and marked.shape == y.shape[-2:]:
            settings = {**settings, "mask": reflected(marked, pad)}
        return reflected(y, pad), settings


class KernelBlur(Convolution):
    """Blur by a given kernel, divided by its sum, with periodic borders: y = k * x, anchored at its middle tap.

    Args:
        kernel: a file, or (taps down, taps across) numbers >= 0.

    Raises:
        ValueError: the kernel is larger than the image, black, or negative somewhere; or its file cannot be read.
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, kernel: Grey) -> None:
        super().__init__(image_shape, streams)
        taps = _kernel(kernel)
        if any(k > n for k, n in zip(taps.shape, self.image_shape[1:], strict=True)):
            raise ValueError(
                f"kernel{_named(kernel)}: got {taps.shape[0]} x {taps.shape[1]} taps for an image of "
                f"{self.image_shape[1]} x {self.image_shape[2]}; expected no more than that: cut off its black border"
            )
        self._set_kernels(taps[None, None])

    @classmethod
    def margin(cls, **settings: Any) -> int:
        """The reach of the kernel, so that the two ends of the picture do not mix."""
        return int(max(_kernel(settings["kernel"]).shape))

    @classmethod
    def extended(cls, y: Tensor, pad: Sequence[int], **settings: Any) -> tuple[Tensor, dict[str, Any]]:
        """A picture that the periodic blur of a smooth image could have left, equal to y inside.

        That image is argmin_u ||M (k * u - y)||^2 + 0.001 ||grad u||^2 with M the picture's own pixels, by 50 steps of
        conjugate gradients from the mirrored picture. Mirrored alone, y would ring at its borders: no image has it.
        """
        wide = reflected(y.double(), pad)
        blur = cls(wide.shape[1:], Streams(0, "border", ["extended"], dtype=torch.float64), **settings)
        M = F.pad(torch.ones_like(y, dtype=torch.float64), list(pad))

        def normal(u: Tensor) -> Tensor:
            rough = sum((2 * u - u.roll(1, axis) - u.roll(-1, axis) for axis in (-1, -2)), torch.zeros_like(u))
            return blur.adjoint(M * blur.A(u)) + 1e-3 * rough

        u = wide + conjugate_gradients(normal, blur.adjoint(M * wide) - normal(wide), iterations=50)
        return torch.where(M > 0, wide, blur.A(u)).to(y.dtype), settings


class LinearMap(LinearOperator):
    """A pair of functions as an operator: y = A(x), and its adjoint.

    Args:
        A: (b, c, h, w) -> (b, *m), linear, differentiable.
        At: its adjoint, (b, *m) -> (b, c, h, w). `safari_bench.operators.check` tests the pair.
        shape: (c, h, w), or None for what At returns.
    """

    image_like = False

    def __init__(
        self,
        image_shape: Sequence[int],
        streams: Streams,
        *,
        A: Callable[[Tensor], Tensor],
        At: Callable[[Tensor], Tensor],
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(image_shape, streams)
        self._forward, self._adjoint = A, At

    @classmethod
    def image_shape_of(cls, y_shape: Sequence[int], **settings: Any) -> tuple[int, ...]:
        """The shape of At(y)."""
        shape = settings.get("shape")
        return tuple(settings["At"](torch.zeros(1, *y_shape)).shape[1:] if shape is None else shape)

    @classmethod
    def extended(cls, y: Tensor, pad: Sequence[int], **settings: Any) -> tuple[Tensor, dict[str, Any]]:
        """Only by nothing.

        Raises:
            ValueError: pad is not 0 everywhere.
        """
        if any(pad):
            raise ValueError(
                "operator: this prior needs images of another size, and a pair of functions cannot be extended; make "
                "sides multiples of what the prior's network takes (photos64: 16, at least 64), or take prior=gaussian"
            )
        return y, settings

    def A(self, x: Image) -> Measurement:
        """A(x)."""
        return self._forward(x)

    def adjoint(self, y: Measurement) -> Image:
        """At(y)."""
        return self._adjoint(y)

    def baseline(self, y: Measurement) -> Image:
        """At(y)."""
        return self._adjoint(y)


def Inpainting(mask: Grey, white: White = "missing") -> partial[MaskInpainting]:
    """Inpainting of what a mask marks, see `MaskInpainting`."""
    return partial(MaskInpainting, mask=mask, white=white)


def Blur(kernel: Grey) -> partial[KernelBlur]:
    """Blur by a given kernel, see `KernelBlur`."""
    return partial(KernelBlur, kernel=kernel)


def Linear(
    A: Callable[[Tensor], Tensor], At: Callable[[Tensor], Tensor], shape: Sequence[int] | None = None
) -> partial[LinearMap]:
    """A linear function, or module, and its adjoint as an operator, see `LinearMap`."""
    return partial(LinearMap, A=A, At=At, shape=shape)


def _marked(mask: Grey) -> np.ndarray:
    """(h, w), bool: white pixels."""
    grey, most = _numbers(mask, "mask")
    return np.asarray(grey > most / 2)


def _kernel(kernel: Grey) -> np.ndarray:
    """(taps down, taps across), float64, sum 1."""
    taps, _ = _numbers(kernel, "kernel")
    taps = taps.astype(np.float64)
    if not (np.isfinite(taps).all() and taps.min() >= 0 and taps.sum() > 0):
        raise ValueError(
            f"kernel{_named(kernel)}: got numbers from {taps.min():g} to {taps.max():g}; expected finite ones >= 0 "
            "that are not all 0: the kernel is bright on black"
        )
    return np.asarray(taps / taps.sum())


def _numbers(given: Grey, what: str) -> tuple[np.ndarray, float]:
    """(h, w) numbers, and the largest that their type can hold; 1 for floats and bools."""
    if isinstance(given, str | Path):
        try:
            with open_raster(given) as file:
                file.load()
                given = file.copy()
        except Exception as error:  # Pillow's decoders raise whatever their format's parser stumbles on
            raise ValueError(f"{what} {given}: cannot be read as a picture ({error}); expected a PNG file") from error
    if isinstance(given, PILImage.Image):
        if given.has_transparency_data:
            black = PILImage.new("RGBA", given.size, "black")
            given = PILImage.alpha_composite(black, given.convert("RGBA"))
        if given.mode.startswith("I"):
            return np.asarray(given), 65535.0
        given = np.asarray(given.convert("L"))
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    array = array.squeeze()
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        array = array[..., :3].mean(-1)
        return array, 255.0 if np.asarray(given).dtype == np.uint8 else 1.0
    if array.ndim != 2:
        raise ValueError(f"{what}: got shape {array.shape}, expected (h, w)")
    whole = array.dtype == np.uint8 and array.max(initial=0) > 1  # uint8 of 0 and 1 is a bool by another name
    return array, 255.0 if whole else 1.0


def _named(given: Grey) -> str:
    return f" {given}" if isinstance(given, str | Path) else ""
