"""Motion blur by a random camera trajectory, one kernel per image."""

from collections.abc import Sequence

import numpy as np
import torch

from safari_bench.operators.contract import SVDOperator
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement, Spectrum

__all__ = ["Convolution", "MotionBlur"]

#: time steps of a trajectory; at 61 taps each is an eighth of a pixel long.
STEPS = 512
#: gains below this are rounding errors of the FFT, whose phase means nothing.
ROUNDING = 1e-12


class Convolution(SVDOperator):
    """Circular convolution with kernels anchored at tap taps // 2 of each axis.

    V is the orthonormal 2-D DFT, the gains are |k_hat|, (b or 1, 1, h, w), and U is V times the phase of k_hat.
    """

    def _set_kernels(self, kernels: np.ndarray) -> None:
        """Take kernels (b or 1, 1, taps down, taps across), float64, no larger than the image."""
        _, h, w = self.image_shape
        rows, columns = kernels.shape[-2:]
        self.kernels = torch.from_numpy(kernels)
        padded = np.pad(kernels, [(0, 0), (0, 0), (0, h - rows), (0, w - columns)])
        k_hat = np.fft.fft2(np.roll(padded, (-(rows // 2), -(columns // 2)), axis=(-2, -1)))
        gains = np.abs(k_hat)
        gains[gains < ROUNDING] = 0
        phase = np.where(gains > 0, k_hat / np.where(gains > 0, gains, 1), 1)
        self.gains = torch.from_numpy(gains).to(self.device, self.dtype)
        self._phase = torch.from_numpy(phase).to(self.device, self.dtype.to_complex())

    def Vt(self, x: Image) -> Spectrum:
        """The orthonormal 2-D DFT of x, complex."""
        z: Spectrum = torch.fft.fft2(x, norm="ortho")
        return z

    def V(self, z: Spectrum) -> Image:
        """The real part of the inverse DFT of z."""
        x: Image = torch.fft.ifft2(z, norm="ortho").real
        return x

    def Ut(self, y: Measurement) -> Spectrum:
        """The DFT of y with the phase of k_hat removed."""
        return self._phase.conj() * self.Vt(y)

    def U(self, z: Spectrum) -> Measurement:
        """The inverse DFT of z with the phase of k_hat put on."""
        return self.V(self._phase * z)

    def baseline(self, y: Measurement) -> Image:
        """y itself."""
        return y


class MotionBlur(Convolution):
    """Circular convolution with a random camera-shake kernel per image (61 taps, intensity 0.5 at 256 px).

    Kernels are non-negative, sum to 1 and have their centroid on tap taps // 2, so that the blur does not move the
    image. They are drawn from the streams' purpose "kernel" and held in ``kernels``, (b, 1, taps, taps), float64.

    Args:
        taps: side of the kernel in px; no trajectory is longer than taps - 1.
        intensity: how shaky the camera is: 0 moves along a straight line, 1 curls and jerks.

    Raises:
        ValueError: the kernel is larger than the image, taps < 1, or intensity is outside [0, 1].
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, *, taps: int, intensity: float) -> None:
        super().__init__(image_shape, streams)
        _, h, w = self.image_shape
        if not 1 <= taps <= min(h, w):
            raise ValueError(
                f"MotionBlur: got a kernel of {taps} taps for a {h} x {w} image; expected 1 to {min(h, w)}. "
                "Choose fewer taps or larger images."
            )
        if not 0 <= intensity <= 1:
            raise ValueError(f"MotionBlur: got intensity {intensity}; expected a number in [0, 1].")
        self._set_kernels(np.stack([_kernel(g, taps, intensity) for g in streams.generators("kernel")])[:, None])


def _kernel(generator: np.random.Generator, taps: int, intensity: float) -> np.ndarray:
    """(taps, taps), non-negative, sum 1, centroid on tap taps // 2: how long the trajectory stays in each pixel.

    A path of length L about its centroid reaches at most L / 2, so with L <= taps - 1 nothing is cut off.
    """
    anchor, reach = taps // 2, (taps - 1) // 2
    path = _trajectory(generator, intensity) * 2 * reach
    position = path - path.mean() + anchor * (1 + 1j)
    kernel = np.zeros((taps + 1, taps + 1))
    top, left = np.floor(position.imag).astype(int), np.floor(position.real).astype(int)
    down, right = position.imag - top, position.real - left
    np.add.at(kernel, (top, left), (1 - down) * (1 - right))
    np.add.at(kernel, (top, left + 1), (1 - down) * right)
    np.add.at(kernel, (top + 1, left), down * (1 - right))
    np.add.at(kernel, (top + 1, left + 1), down * right)
    return kernel[:taps, :taps] / len(path)


def _trajectory(generator: np.random.Generator, intensity: float) -> np.ndarray:
    """(STEPS,), complex: where a camera of constant speed points during an exposure, as a path of length 1 or less.

    After Boracchi and Foi, "Modeling the performance of image restoration from motion blur", IEEE TIP 2012: a particle
    with inertia, whose velocity is turned by tremor (Gaussian), by a pull back to the start, and by rare jerks that
    reverse it. The path's length and the strengths of the three are drawn per image; the ranges are chosen here.
    """
    length = generator.uniform(0.5, 1)
    tremor = intensity * generator.uniform(0, 8) / np.sqrt(STEPS)
    pull = intensity * generator.uniform(0, 8) / STEPS
    jerk_probability = intensity * generator.uniform(0, 4) / STEPS
    velocity = np.exp(2j * np.pi * generator.random())
    turns = generator.standard_normal(STEPS) + 1j * generator.standard_normal(STEPS)
    jerks = generator.random(STEPS) < jerk_probability
    angles = generator.uniform(-0.5, 0.5, STEPS)
    path = np.zeros(STEPS, dtype=complex)
    for i in range(1, STEPS):
        velocity += tremor * turns[i] - pull * path[i - 1]
        if jerks[i]:
            velocity *= -np.exp(1j * angles[i])
        velocity /= abs(velocity)
        path[i] = path[i - 1] + velocity / STEPS
    return length * path
