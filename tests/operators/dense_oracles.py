"""Dense float64 matrices of every linear operator, built with loops from the definitions and from no operator code."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.linalg import hadamard

from safari_bench import operators as ops
from safari_bench.operators import SVDOperator
from safari_bench.rng import Streams


def streams(ids: tuple[str, ...] = ("one",), dtype: torch.dtype = torch.float64, seed: int = 7) -> Streams:
    return Streams(seed, "oracle", ids, dtype=dtype)


def gaussian(taps: int, std: float) -> np.ndarray:
    middle = (taps - 1) / 2
    kernel = np.array([np.exp(-((i - middle) ** 2) / (2 * std**2)) for i in range(taps)])
    for i in range(taps):
        if abs(i - middle) > int(4 * std + 0.5):
            kernel[i] = 0
    return kernel / kernel.sum()


def convolution(kernel: np.ndarray, n: int, boundary: str) -> np.ndarray:
    """y[i] = sum_j kernel[j] x[i + taps // 2 - j]; out of range, mirror about the end samples or wrap around."""
    matrix = np.zeros((n, n))
    for i in range(n):
        for j, weight in enumerate(kernel):
            s = i + len(kernel) // 2 - j
            if boundary == "circular":
                s %= n
            while not 0 <= s < n:
                s = -s if s < 0 else 2 * (n - 1) - s
            matrix[i, s] += weight
    return matrix


def cubic(t: float) -> float:
    """Keys' cubic with a = -0.5."""
    t = abs(t)
    if t <= 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def bicubic(n: int, factor: int) -> np.ndarray:
    matrix = np.zeros((n // factor, n))
    for i in range(n // factor):
        for s in range(n):
            matrix[i, s] = cubic((s + 0.5) / factor - (i + 0.5))
        matrix[i] /= matrix[i].sum()
    return matrix


def box(n: int, factor: int) -> np.ndarray:
    matrix = np.zeros((n // factor, n))
    for s in range(n):
        matrix[s // factor, s] = 1 / factor
    return matrix


def per_channel(c: int, matrix: np.ndarray) -> np.ndarray:
    return np.kron(np.eye(c), matrix)


def separable(c: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return per_channel(c, np.kron(rows, columns))


def motion(op: Any) -> np.ndarray:
    c, h, w = op.image_shape
    kernel = op.kernels[0, 0].numpy()
    taps = len(kernel)
    matrix = np.zeros((h, w, h, w))
    for i in range(h):
        for j in range(w):
            for a in range(taps):
                for b in range(taps):
                    matrix[i, j, (i + taps // 2 - a) % h, (j + taps // 2 - b) % w] += kernel[a, b]
    return per_channel(c, matrix.reshape(h * w, h * w))


def walsh(op: Any, ratio: float) -> np.ndarray:
    c, h, w = op.image_shape
    block = 1
    while (h * w) % (2 * block) == 0:
        block *= 2
    pixels, rows = op.permutation[0, 0].numpy(), op.rows[0, 0].numpy()
    matrix = []
    for row in rows:
        for start in range(0, h * w, block):
            measured = np.zeros(h * w)
            measured[pixels[start : start + block]] = hadamard(block)[row] / block**0.5
            matrix.append(measured)
    return per_channel(c, np.array(matrix[: round(ratio * h * w)]))


def mask(op: Any) -> np.ndarray:
    return per_channel(op.image_shape[0], np.diag(op.observed[0, 0].numpy().ravel()))


def aniso(h: int, w: int, boundary: str) -> np.ndarray:
    return separable(1, convolution(gaussian(5, 20), h, boundary), convolution(gaussian(5, 1), w, boundary))


@dataclass(frozen=True)
class Case:
    operator: type[SVDOperator]
    shape: tuple[int, int, int]
    dense: Callable[[Any], np.ndarray]
    keywords: dict[str, Any] = field(default_factory=dict)
    #: whether singular values run down to the rank tolerance, so that A A^+ A = A holds to that only.
    ill_conditioned: bool = False

    def build(self, dtype: torch.dtype = torch.float64, ids: tuple[str, ...] = ("one",)) -> SVDOperator:
        return self.operator(self.shape, streams(ids, dtype), **self.keywords)


def blur_case(
    shape: tuple[int, int, int], kernel: np.ndarray, boundary: str, std: float = 0, ill: bool = False
) -> Case:
    c, h, w = shape
    keywords = {"taps": len(kernel), "boundary": boundary} | ({"std": std} if std else {})
    rows, columns = convolution(kernel, h, boundary), convolution(kernel, w, boundary)
    return Case(
        ops.GaussianBlur if std else ops.UniformBlur, shape, lambda op: separable(c, rows, columns), keywords, ill
    )


def gaussian_case(shape: tuple[int, int, int], taps: int, std: float, boundary: str, ill: bool = False) -> Case:
    return blur_case(shape, gaussian(taps, std), boundary, std, ill)


CASES: dict[str, Case] = {
    "denoising": Case(ops.Denoising, (3, 6, 10), lambda op: np.eye(180)),
    "inpaint_box": Case(ops.BoxInpainting, (3, 8, 12), mask, {"hole": 3, "margin": 1}),
    "inpaint_random": Case(ops.RandomInpainting, (3, 8, 12), mask, {"fraction": 0.7}),
    "colorization": Case(ops.Colorization, (3, 6, 10), lambda op: np.kron(np.full((1, 3), 1 / 3), np.eye(60))),
    "motion_odd": Case(ops.MotionBlur, (3, 8, 12), motion, {"taps": 7, "intensity": 0.5}),
    "motion_even": Case(ops.MotionBlur, (1, 13, 9), motion, {"taps": 6, "intensity": 1.0}),
    "motion_one": Case(ops.MotionBlur, (2, 5, 7), motion, {"taps": 1, "intensity": 0.5}),
    "walsh_half": Case(ops.WalshCompressedSensing, (3, 8, 16), lambda op: walsh(op, 0.5), {"ratio": 0.5}),
    "walsh_blocks": Case(ops.WalshCompressedSensing, (2, 12, 20), lambda op: walsh(op, 0.25), {"ratio": 0.25}),
    "aniso": Case(
        ops.AnisotropicBlur,
        (1, 12, 20),
        lambda op: aniso(12, 20, "reflect"),
        {"taps": 5, "std_h": 20.0, "std_w": 1.0, "boundary": "reflect"},
    ),
}
for factor, (h, w) in {2: (8, 12), 4: (12, 20), 8: (16, 8), 16: (16, 32)}.items():
    c = 3 if factor < 8 else 1
    CASES[f"bicubic_x{factor}"] = Case(
        ops.BicubicDownsample,
        (c, h, w),
        lambda op, c=c, h=h, w=w, f=factor: separable(c, bicubic(h, f), bicubic(w, f)),  # type: ignore[misc]
        {"factor": factor},
    )
    CASES[f"avgpool_x{factor}"] = Case(
        ops.AveragePool,
        (c, h, w),
        lambda op, c=c, h=h, w=w, f=factor: separable(c, box(h, f), box(w, f)),  # type: ignore[misc]
        {"factor": factor},
    )
for boundary in ("reflect", "circular"):
    CASES |= {
        f"gaussian_odd_{boundary}": gaussian_case((3, 8, 12), 5, 0.8, boundary),
        f"gaussian_even_{boundary}": gaussian_case((2, 10, 7), 4, 1.0, boundary),
        f"gaussian_wide_{boundary}": gaussian_case((1, 24, 18), 17, 2.5, boundary, ill=True),
        f"gaussian_one_{boundary}": gaussian_case((1, 6, 10), 1, 3.0, boundary),
        f"uniform_odd_{boundary}": blur_case((3, 8, 12), np.full(5, 1 / 5), boundary),
        f"uniform_even_{boundary}": blur_case((1, 12, 20), np.full(2, 1 / 2), boundary),
    }
#: more taps than pixels is still one reflection deep.
CASES["gaussian_taps_over_size"] = gaussian_case((1, 6, 8), 11, 1.0, "reflect")


@cache
def built(name: str) -> tuple[SVDOperator, np.ndarray]:
    """The operator in float64, for one image, and its dense matrix (read only)."""
    op = CASES[name].build()
    dense = CASES[name].dense(op)
    dense.flags.writeable = False
    return op, dense


def matrix_of(function: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...]) -> np.ndarray:
    """The matrix of a linear function of tensors of that shape, column by column."""
    n = int(np.prod(shape))
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *shape)
    return function(basis).reshape(n, -1).T.numpy()


def draw(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)
