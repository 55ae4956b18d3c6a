"""The one pixel codec: floats in [-1, 1] <-> 8 bits <-> files. Nothing else in the project quantises a picture."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from safari_bench.data.contract import DataError, Pixels

__all__ = ["decoding", "encode_png", "from_pixels", "from_uint8", "open_raster", "read_image", "to_uint8"]

#: what is read, whatever a file's name ends in: Pillow would hand an EPS file to Ghostscript, which runs programs
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def to_uint8(x: Tensor) -> Tensor:
    """Clip to [-1, 1] and round (x + 1) * 127.5 to the nearest integer, half to even.

    Args:
        x: floats, any shape. Infinities are clipped like any other value out of range.
    Returns:
        uint8 of the same shape, on the same device.
    Raises:
        DataError: if x is not floating point or holds a NaN.
    """
    if not x.is_floating_point():
        raise DataError(f"to_uint8: got dtype {x.dtype}, expected floats in [-1, 1]; decode bytes with from_uint8")
    nans = int(torch.isnan(x).sum())
    if nans:
        raise DataError(
            f"to_uint8: got {nans} NaN of {x.numel()} values, shape {tuple(x.shape)}, expected numbers; a NaN has no "
            "pixel value: find the step that made it, or a smaller step size"
        )
    # half precision cannot hold the 256 levels of (x + 1) * 127.5
    x = x if x.dtype == torch.float64 else x.float()
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_uint8(x_u8: Tensor) -> Tensor:
    """x_u8 / 127.5 - 1, float32 of the same shape. `to_uint8` undoes it exactly.

    Raises:
        DataError: if x_u8 is not uint8.
    """
    if x_u8.dtype != torch.uint8:
        raise DataError(f"from_uint8: got dtype {x_u8.dtype}, expected torch.uint8; encode floats with to_uint8 first")
    return x_u8.float() / 127.5 - 1


def from_pixels(pixels: Pixels) -> Tensor:
    """(h, w, 3) uint8 array -> (3, h, w) float32 tensor in [-1, 1]."""
    return from_uint8(torch.tensor(pixels).permute(2, 0, 1).contiguous())


def encode_png(x_u8: Tensor) -> bytes:
    """The PNG file of one picture, (3, h, w) RGB or (1, h, w) grey, uint8.

    Raises:
        DataError: if the tensor has another shape or dtype.
    """
    if x_u8.dtype != torch.uint8 or x_u8.ndim != 3 or x_u8.shape[0] not in (1, 3):
        raise DataError(
            f"encode_png: got {x_u8.dtype} of shape {tuple(x_u8.shape)}, expected torch.uint8 of shape "
            "(3, h, w) or (1, h, w); quantise with to_uint8 and encode the pictures of a batch one by one"
        )
    pixels = x_u8.permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def open_raster(path: Path | str) -> Image.Image:
    """An image file of one of FORMATS, whatever its name ends in, not decoded yet.

    Raises:
        ValueError: it is a folder, a pipe or a device. Else what Pillow raises.
    """
    if Path(path).exists() and not Path(path).is_file():  # opening a pipe would wait for ever
        raise ValueError("no regular file")
    return Image.open(path, formats=FORMATS)


@contextmanager
def decoding(what: str, remedy: str) -> Iterator[None]:
    """Meanwhile whatever opening and decoding a file raises becomes a DataError about `what`."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{what}: no such file; check the path, or the target if it is a link") from error
    except PermissionError as error:
        raise DataError(f"{what}: may not be read; grant read access") from error
    except Exception as error:  # Pillow's decoders raise whatever their format's parser stumbles on
        raise DataError(
            f"{what}: cannot be decoded ({type(error).__name__}: {error}); expected a complete image file, this one is "
            f"truncated, damaged or of another format: {remedy}"
        ) from error


def read_image(path: Path | str, *, turn: bool = True) -> Pixels:
    """Decode an image file to 8-bit RGB, (h, w, 3).

    EXIF orientation is applied, unless `turn` is false. Grey and palette images become RGB. Transparent pixels are
    composited over white. 16-bit samples keep their high byte, as Pillow itself does for 16-bit colour. Of an animation
    the first frame is read. Colour profiles are not applied.

    Raises:
        DataError: if the file is missing, truncated, not an image, or has samples without a known range (32-bit).
    """
    remedy = "fetch it again, or leave it out with dataset.subset"
    with decoding(f"image {path}", remedy), open_raster(path) as file:
        file.load()
        image = ImageOps.exif_transpose(file) if turn else file.copy()
    return _rgb(image, path)


def _rgb(image: Image.Image, path: Path | str) -> Pixels:
    if image.mode in ("I", "F"):
        raise DataError(
            f"image {path}: got 32-bit samples (Pillow mode {image.mode}), whose range is unknown; expected 8 or "
            "16 bits: convert the file to 8-bit PNG"
        )
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))
