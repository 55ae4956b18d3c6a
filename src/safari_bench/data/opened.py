"""A person's own picture, opened as it should look: upright, sRGB, opaque. What was done to it is said."""

import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from safari_bench.data.codec import decoding, open_raster
from safari_bench.data.contract import DataError

__all__ = ["Opened", "open_picture"]

#: px; a picture of so many takes 24 GB and hours, and a file that claims more is most likely no photograph
MOST = 100_000_000


@dataclass(frozen=True)
class Opened:
    """A picture file.

    Attributes:
        x: (3, h, w), float32 in [-1, 1]; 16-bit grey keeps its precision.
        said: what was done to the file's pixels, a phrase each.
        quality: of a JPEG file, as its luminance table says; None of other files.
        bits: of a sample in the file: 8 or 16.
    """

    x: Tensor
    said: tuple[str, ...] = ()
    quality: int | None = None
    bits: int = 8


def open_picture(given: Path | str | Image.Image) -> Opened:
    """Open one picture.

    EXIF orientation is applied. Transparent pixels are laid over white. Colour profiles are converted to sRGB, CMYK and
    grey to RGB. 16-bit grey keeps its precision; of 16-bit colour Pillow keeps the high byte.

    Raises:
        DataError: the file is missing, no picture, cut off, animated, of over 100 million pixels, or has samples
            without a known range (32-bit).
    """
    name = "picture" if isinstance(given, Image.Image) else f"picture {given}"
    with decoding(name, "save it again as PNG"), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        file = given if isinstance(given, Image.Image) else open_raster(given)
        _refuse(file, name)
        quality = _quality(file)
        file.load()
    said: list[str] = []
    if file.getexif().get(0x0112, 1) != 1:
        said.append("turned upright as its EXIF tag says")
    image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I;16") or (image.mode == "I" and file.format in ("PNG", "TIFF", "PPM")):
        grey = np.clip(np.asarray(image).astype(np.float32), 0, 65535) / 32767.5 - 1
        return Opened(torch.from_numpy(np.stack([grey] * 3)), (*said, "16-bit grey; the result has 8 bits"), bits=16)
    if image.mode in ("I", "F"):
        raise DataError(f"{name}: 32-bit samples (Pillow mode {image.mode}), whose range is unknown; save 8 or 16 bits")
    image = _srgb(image, said)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return Opened(pixels.float() / 127.5 - 1, tuple(said), quality)


def _refuse(file: Image.Image, name: str) -> None:
    frames = getattr(file, "n_frames", 1)
    if frames > 1 and file.format != "MPO":  # MPO: a photograph with its preview
        raise DataError(f"{name}: animated or of several pages ({frames}); expected one picture: save the one you mean")
    if file.width * file.height > MOST:
        raise DataError(
            f"{name}: {file.width} x {file.height} is over {MOST // 10**6} million pixels; cut it into parts, or "
            "reduce it"
        )


def _srgb(image: Image.Image, said: list[str]) -> Image.Image:
    """Opaque, 8-bit, RGB and sRGB."""
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        if np.asarray(layered)[..., 3].min() < 255:
            said.append("transparent pixels laid over white")
        paper = Image.new("RGBA", layered.size, "white")
        image = Image.alpha_composite(paper, layered).convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            described = ImageCms.getProfileDescription(source).strip()
            if "srgb" not in described.lower():
                if image.mode not in ("RGB", "CMYK", "L"):
                    image = image.convert("RGB")
                target = ImageCms.createProfile("sRGB")
                image = ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
                said.append(f"converted from the profile {described} to sRGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            said.append("its colour profile could not be read and was left out")
    if image.mode == "CMYK":
        said.append("converted from CMYK to RGB")
    return image.convert("RGB")


def _quality(file: Image.Image) -> int | None:
    """What `quality` of libjpeg has about this luminance table, from the sum of its 64 entries."""
    tables = getattr(file, "quantization", None)
    if not tables:
        return None
    standard = 3688  # the sum of Annex K's luminance table, which quality 50 is
    percent = max(100 * sum(tables[min(tables)]) / standard, 0.5)
    return int(np.clip(math.floor(5000 / percent if percent > 100 else 100 - percent / 2), 1, 100))
