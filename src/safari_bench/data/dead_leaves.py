"""Dead leaves, the classical generative model of natural images: shapes of all sizes laid over each other.

Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 41 (2001): with the density of radii proportional to
r^-3 the statistics do not depend on scale, like those of photographs. Here leaves also have shading, texture, shadows
and defocus.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from safari_bench.data.contract import Pixels

__all__ = ["leaf_picture"]

Array = NDArray[np.float64]
Pair = tuple[float, float]

#: largest radius, and how far outside the picture centres lie, in sides
_LARGEST, _MARGIN = 0.6, 0.15
#: amplitude of each octave of noise relative to the one before: cloud, stone (power 1/f^2), fur
_DECAYS = (0.6, 1.0, 1.5)
#: corners of the outlines, as often as drawn; 0 is an ellipse, 2 a superellipse
_CORNERS = (0, 0, 0, 0, 2, 2, 4, 4, 6)
#: rows: principal components of the colours of photographs (Ohta, Kanade and Sakai, CGIP 13, 1980), as long as the
#: standard deviations of a palette, log-odds
_COMPONENTS = np.array([[1.1, 1.1, 1.1], [0.45, 0.0, -0.45], [-0.1, 0.2, -0.1]])


def leaf_picture(generator: np.random.Generator, height: int, width: int) -> Pixels:
    """One picture, (height, width, 3) uint8, from what the generator draws next.

    Leaves are painted back to front in log-odds of the pixel value, where light multiplies by adding and no colour can
    leave the range. Colours are distributed symmetrically about grey. All arithmetic is float64 and only the result is
    rounded, so that machines whose sines differ in the last bit still agree on the pixels.
    """
    canvas = _Canvas(height, width)
    angle, fall, exposure, contrast = generator.random(4).tolist()
    light = (math.sin(2 * math.pi * angle), math.cos(2 * math.pi * angle))
    leaves = _draw_leaves(generator, height / canvas.side, width / canvas.side, light)
    noises = [_noise(generator, 2 * height, 2 * width, canvas.side, decay) for decay in _DECAYS]
    for leaf in leaves:
        leaf.paint(canvas, noises)
    y, x = canvas.down - canvas.down.mean(), canvas.across - canvas.across.mean()
    lighting = exposure - 0.5 + fall * (light[0] * y + light[1] * x)
    values = 1 / (1 + np.exp(-(0.65 + 0.6 * contrast) * canvas.values - lighting))
    pixels: Pixels = np.rint(255 * values.transpose(1, 2, 0)).astype(np.uint8, order="C")
    return pixels


class _Canvas:
    """What leaves are painted on.

    Attributes:
        side: root of height times width, pixels: the unit of all lengths.
        down, across: (height, 1) and (1, width), centres of the pixels, sides.
        values: (3, height, width), log-odds.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width, self.side = height, width, math.sqrt(height * width)
        self.down = (np.arange(height, dtype=np.float64)[:, None] + 0.5) / self.side
        self.across = (np.arange(width, dtype=np.float64)[None] + 0.5) / self.side
        self.values = np.zeros((3, height, width))

    def box(self, y: float, x: float, reach_y: float, reach_x: float) -> tuple[slice, slice]:
        """The pixels of y -+ reach_y, x -+ reach_x; empty slices if there are none."""
        top, left = math.floor((y - reach_y) * self.side), math.floor((x - reach_x) * self.side)
        bottom, right = math.ceil((y + reach_y) * self.side), math.ceil((x + reach_x) * self.side)
        return slice(max(top, 0), max(min(bottom, self.height), 0)), slice(max(left, 0), max(min(right, self.width), 0))


@dataclass(frozen=True)
class _Leaf:
    """One shape. Lengths are in sides, light in log-odds, (down, across) in this order.

    Attributes:
        y, x: centre.
        long, short: semi-axes.
        sine, cosine: direction of the long axis.
        corners: see `_CORNERS`.
        wobble: how far noise moves the outline, in radii.
        defocus: width of the edge beyond that of a pixel.
        colour, tint: (3, 1, 1), the colour, and what one unit of shading adds to it.
        slope: shading per side.
        grain: amplitude of the noise in the shading.
        stripe, waves: amplitude of stripes along the long axis, and their radians per radius.
        noise, offset: which of the picture's noises, and where in it the leaf lies, fractions of the picture.
        shadow, cast: its depth, and how far it falls.
    """

    y: float
    x: float
    long: float
    short: float
    sine: float
    cosine: float
    corners: int
    wobble: float
    defocus: float
    colour: Array
    tint: Array
    slope: Pair
    grain: float
    stripe: float
    waves: float
    noise: int
    offset: Pair
    shadow: float
    cast: Pair

    def paint(self, canvas: _Canvas, noises: list[Array]) -> None:
        """Lay this leaf over the canvas. noises: (2 height, 2 width) each."""
        if self.shadow:
            rows, columns, y, x = self._place(canvas, *self.cast, softness := 0.4 * self.short + 2 / canvas.side)
            gauge = self._gauge(*self._radii(y, x))
            canvas.values[:, rows, columns] -= self.shadow * self._cover(gauge, softness)
        rows, columns, y, x = self._place(canvas, 0.0, 0.0, edge := self.defocus + 1 / canvas.side)
        down, across = int(self.offset[0] * canvas.height), int(self.offset[1] * canvas.width)
        here = slice(rows.start + down, rows.stop + down), slice(columns.start + across, columns.stop + across)
        grain = noises[self.noise][here]
        u, v = self._radii(y, x)
        shade = self.grain * grain + (self.slope[0] * y + self.slope[1] * x)
        if self.stripe:
            shade += self.stripe * np.sin(self.waves * v + grain)
        under = canvas.values[:, rows, columns]
        # the smoothest noise: detail below a pixel would make the outline jagged
        gauge = self._gauge(u, v) + self.wobble * noises[0][here]
        under += self._cover(gauge, edge) * (self.colour + self.tint * shade - under)

    def _place(self, canvas: _Canvas, down: float, across: float, edge: float) -> tuple[slice, slice, Array, Array]:
        """Rows and columns around the leaf, and where they lie from its centre, all after moving it."""
        # noise exceeds 3.5 standard deviations nearly nowhere
        extent = (1 / math.cos(math.pi / self.corners) if self.corners > 2 else 1.2) * (1 + 3.5 * self.wobble)
        reach_y = extent * math.hypot(self.sine * self.long, self.cosine * self.short) + edge
        reach_x = extent * math.hypot(self.cosine * self.long, self.sine * self.short) + edge
        y, x = self.y + down, self.x + across
        rows, columns = canvas.box(y, x, reach_y, reach_x)
        return rows, columns, canvas.down[rows] - y, canvas.across[:, columns] - x

    def _radii(self, y: Array, x: Array) -> tuple[Array, Array]:
        """Coordinates along both axes, in radii."""
        return (
            self.sine / self.long * y + self.cosine / self.long * x,
            self.cosine / self.short * y - self.sine / self.short * x,
        )

    def _gauge(self, u: Array, v: Array) -> Array:
        """1 on the outline, less inside."""
        if self.corners > 2:
            turns = (2 * math.pi * k / self.corners for k in range(self.corners // 2))
            gauge: Array = np.maximum.reduce([np.abs(math.cos(t) * u + math.sin(t) * v) for t in turns])
            return gauge
        u, v = u * u, v * v
        return np.sqrt(np.sqrt(u * u + v * v)) if self.corners else np.sqrt(u + v)

    def _cover(self, gauge: Array, edge: float) -> Array:
        """How much of a pixel lies inside: falls from 1 to 0 over `edge` around the outline."""
        slope = self.short / edge
        cover: Array = np.minimum(np.maximum(0.5 + slope - slope * gauge, 0), 1)
        return cover


def _draw_leaves(generator: np.random.Generator, height: float, width: float, light: Pair) -> list[_Leaf]:
    """The leaves of one picture, hindmost first; the first one lies behind everything.

    The smallest radius, and so how busy it is, differs from picture to picture. Their areas sum to 1 to 2.5 times its.
    """
    finest, layers, focus = generator.random(3).tolist()
    smallest = 0.02 * 5**finest
    low, high = smallest**-2, _LARGEST**-2
    mean_area = 2 * math.pi * math.log(_LARGEST / smallest) / (low - high)
    size = np.array([height, width]) + 2 * _MARGIN
    n = 2 + int((1 + 1.5 * layers) * size.prod() / mean_area)
    radii = 1 / np.sqrt(low - (low - high) * generator.random(n))  # density proportional to r^-3
    radii[0] = half = 0.6 * math.hypot(height, width)
    centres = (generator.random((n, 2)) * size - _MARGIN).tolist()
    colours, tints = _draw_colours(generator, n)
    each = zip(generator.random((n, 18)).tolist(), radii.tolist(), centres, colours, tints, strict=True)
    leaves = [_leaf(*one, light, 0.03 * focus**3) for one in each]
    leaves[0] = replace(leaves[0], y=height / 2, x=width / 2, long=half, short=half, corners=0, wobble=0.0)
    return leaves


def _leaf(
    q: list[float], r: float, centre: list[float], colour: Array, tint: Array, light: Pair, depth: float
) -> _Leaf:
    """A leaf of radius r. q: 18 draws in [0, 1)."""
    stretch = math.sqrt(1 + 3 * q[0] ** 3) * (2 if q[1] < 0.1 else 1)
    return _Leaf(
        y=centre[0],
        x=centre[1],
        long=r * stretch,
        short=r / stretch,
        sine=math.sin(2 * math.pi * q[2]),
        cosine=math.cos(2 * math.pi * q[2]),
        corners=_CORNERS[int(len(_CORNERS) * q[3])],
        wobble=0.1 * q[4] ** 2,
        defocus=depth * q[5],
        colour=colour,
        tint=tint,
        slope=((0.4 * q[7] - 0.2 - 1.2 * q[6] * light[0]) / r, (0.4 * q[8] - 0.2 - 1.2 * q[6] * light[1]) / r),
        grain=0.08 + 0.7 * q[9] ** 2,
        stripe=0.4 * q[10] if q[11] < 0.15 else 0.0,
        waves=8 + 40 * q[12],
        noise=int(len(_DECAYS) * q[13]),
        offset=(q[14], q[15]),
        shadow=1.3 * q[16] if q[17] < 0.4 else 0.0,
        cast=(0.25 * r * light[0], 0.25 * r * light[1]),
    )


def _draw_colours(generator: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Colours of n leaves and tints of their shading, (n, 3, 1, 1) each: leaves vary about the picture's palette."""
    palette = _bell(generator, 5, 3)
    colours = palette[(len(palette) * generator.random(n)).astype(int)] + 0.4 * _bell(generator, n, 3)
    colours[:, 1:] *= 0.4 + generator.random() + (generator.random((n, 1)) < 0.06)
    tints = 1 + 0.4 * _bell(generator, n, 3) @ _COMPONENTS
    return (colours @ _COMPONENTS)[..., None, None], tints[..., None, None]


def _bell(generator: np.random.Generator, *shape: int) -> Array:
    """Nearly normal draws of standard deviation 1, from sums, which every machine computes alike."""
    bell: Array = 2 * (generator.random((*shape, 3)).sum(axis=-1) - 1.5)
    return bell


def _noise(generator: np.random.Generator, height: int, width: int, side: float, decay: float) -> Array:
    """(height, width) noise of standard deviation 1: cubic B-splines on finer and finer grids, then pixels."""
    total, amplitude, cells = np.zeros((height, width)), 1.0, 4.0
    while cells < side:
        rows, columns = _splines(height, cells / side), _splines(width, cells / side)
        total += amplitude * (rows @ (generator.random((rows.shape[1], columns.shape[1])) - 0.5) @ columns.T)
        amplitude, cells = amplitude * decay, 2 * cells
    # about the standard deviation that splines leave of the grid's
    total += 0.5 * amplitude * (generator.random((height, width)) - 0.5)
    noise: Array = total / total.std()
    return noise


@lru_cache(maxsize=64)
def _splines(length: int, step: float) -> Array:
    """(length, knots): what each knot of a uniform cubic B-spline adds to each pixel. step: knots per pixel."""
    place = (np.arange(length) + 0.5) * step
    distance = np.abs(place[:, None] + 1 - np.arange(math.ceil(length * step) + 3))
    weights: Array = np.where(distance < 1, 2 / 3 - distance**2 + distance**3 / 2, np.maximum(2 - distance, 0) ** 3 / 6)
    return weights
