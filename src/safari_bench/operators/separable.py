"""Operators that act on rows and columns apart: A = A_h (x) A_w in every channel, with dense 1-D SVDs.

Two 1-D decompositions of at most (h, h) and (w, w) in float64 give the exact SVD of the 2-D operator.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from safari_bench.operators.contract import SVDOperator
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement, Spectrum

__all__ = ["SeparableSVD"]


class SeparableSVD(SVDOperator):
    """y = A_h x A_w^T in every channel.

    With A_h = U_h S_h V_h^T and A_w = U_w S_w V_w^T, V and U are the outer products of the 1-D factors and the gains
    are the outer product of the 1-D singular values, zero-padded to (1, 1, h, w). U takes a spectrum's leading (h', w')
    part.

    Args:
        A_h: (h', h) with h' <= h, float64.
        A_w: (w', w) with w' <= w, float64.
    """

    def __init__(self, image_shape: Sequence[int], streams: Streams, A_h: np.ndarray, A_w: np.ndarray) -> None:
        super().__init__(image_shape, streams)
        self._U_h, s_h, self._V_h = self._factors(A_h)
        self._U_w, s_w, self._V_w = self._factors(A_w)
        self.gains = self._cast(np.outer(s_h, s_w))[None, None]
        self._A_h, self._A_w = self._cast(A_h), self._cast(A_w)

    def A(self, x: Image) -> Measurement:
        """A_h x A_w^T: two products where U S V^T would take four."""
        return self._A_h @ x @ self._A_w.mT

    def adjoint(self, y: Measurement) -> Image:
        """A_h^T y A_w."""
        return self._A_h.mT @ y @ self._A_w

    def Vt(self, x: Image) -> Spectrum:
        """V_h^T x V_w, (b, c, h, w)."""
        return self._V_h.mT @ x @ self._V_w

    def V(self, z: Spectrum) -> Image:
        """V_h z V_w^T, (b, c, h, w)."""
        return self._V_h @ z @ self._V_w.mT

    def Ut(self, y: Measurement) -> Spectrum:
        """U_h^T y U_w in the leading (h', w') entries of (b, c, h, w)."""
        z = self._U_h.mT @ y @ self._U_w
        (h, w), (rows, columns) = self.gains.shape[-2:], z.shape[-2:]
        return F.pad(z, (0, w - columns, 0, h - rows))

    def U(self, z: Spectrum) -> Measurement:
        """U_h z[:h', :w'] U_w^T, (b, c, h', w')."""
        return self._U_h @ z[..., : len(self._U_h), : len(self._U_w)] @ self._U_w.mT

    def _factors(self, matrix: np.ndarray) -> tuple[Tensor, np.ndarray, Tensor]:
        """U (m, m), singular values zero-padded to (n,) and V (n, n) of a matrix (m, n), m <= n."""
        u, s, vt = _svd(matrix.tobytes(), *matrix.shape)
        return self._cast(u), np.pad(s, (0, len(vt) - len(s))), self._cast(vt.T)

    def _cast(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self.dtype)


@lru_cache(maxsize=8)
def _svd(matrix: bytes, m: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The full SVD of a float64 matrix (m, n); kept, as every batch of a task asks for the same one."""
    return np.linalg.svd(np.frombuffer(matrix).reshape(m, n), full_matrices=True)
