"""Saved pictures: reading them, their radial spectra, and where they have most detail."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from safari_bench.reports.records import Line, TableError

__all__ = ["finest_window", "load", "radial_power", "restoration"]


def load(path: Path) -> Image.Image | None:
    """A saved picture, RGB; None if there is none.

    Raises:
        TableError: the file is no picture.
    """
    if not path.is_file():
        return None
    try:
        with Image.open(path, formats=["PNG"]) as file:
            return file.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise TableError(f"{path} is not a picture: {error}; delete it and build the table again") from error


def restoration(line: Line, image: str) -> tuple[Path | None, str]:
    """Where a line's picture of an image is, from its lowest seed, and the image's status ("" without a row)."""
    rows = line.first.rows[line.first.rows.image_id == image]
    if rows.empty:
        return None, ""
    row = rows.iloc[0]
    file = row.image_file if row.status == "ok" else ""
    return (line.first.place.images / file if file else None), str(row.status)


def radial_power(picture: np.ndarray) -> np.ndarray:
    """Mean power in rings of radial frequency, as the metrics of the spectrum define it.

    Args:
        picture: (h, w, 3), 0 to 255.

    Returns:
        (rings,): ring k is k steps of 1 / min(h, w) cycles per pixel, mean over channels; images on [0, 1], mean
        removed, periodic Hann window of unit energy. Rings beyond Nyquist are left out.
    """
    image = picture.astype(float) / 255
    h, w = image.shape[:2]
    window = np.outer(_hann(h), _hann(w))[..., None]
    window /= np.linalg.norm(window)
    mean = (image * window).sum((0, 1)) / window.sum()
    power = np.abs(np.fft.fft2((image - mean) * window, axes=(0, 1))) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(h), np.fft.fftfreq(w), indexing="ij"))
    ring = np.rint(frequency * min(h, w)).astype(int).ravel()
    rings: np.ndarray = np.bincount(ring, power.mean(-1).ravel()) / np.bincount(ring)
    return rings[: min(h, w) // 2 + 1]


def finest_window(picture: Image.Image, side: int) -> tuple[int, int]:
    """Left and top of the square of a side that holds most gradient energy; of several such, the first."""
    grey = np.asarray(picture.convert("L"), dtype=float)
    energy = np.diff(grey, axis=0, prepend=grey[:1]) ** 2 + np.diff(grey, axis=1, prepend=grey[:, :1]) ** 2
    table = np.pad(energy, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
    top, left = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return int(left), int(top)


def _hann(n: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
