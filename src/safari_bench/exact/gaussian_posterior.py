"""p(x | y) under the stationary Gaussian prior, for y = A x + n with A linear and n white of sd sigma_y > 0.

It is N(m, H^{-1}) with H = C^{-1} + A^T A / sigma_y^2 and m = mu + H^{-1} A^T (y - A mu) / sigma_y^2. C is diagonal in
the Fourier basis and A^T A in another, so H is applied by transforms and solved by conjugate gradients, at any size. A
draw is x + H^{-1} A^T (y - A x - n) / sigma_y^2 with x from the prior and n fresh noise: exactly this distribution.
"""

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from safari_bench.exact import written_out
from safari_bench.exact.problem import check_problem, shift_invariant, unit, zeros
from safari_bench.operators import BoxInpainting, Colorization, LinearOperator, conjugate_gradients
from safari_bench.priors.gaussian import GaussianPrior
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement

__all__ = ["GaussianPosterior"]

#: residual of every solution relative to its right-hand side, and the most iterations that may take
_RTOL = 1e-10
_ITERATIONS = 5000
#: A^T A is looked at on a grid of so many pixels a side for the preconditioner
_GRID = 8


class GaussianPosterior:
    """The posterior of a batch: y of image i is treated with the operator's i-th mask or kernel.

    Args:
        prior: what images are before y is seen.
        operator: A, in float64.
        y: measurements, float64, 0 where the operator observes nothing.
        sigma_y: standard deviation of the noise on the [-1, 1] scale, > 0.
    Raises:
        ValueError: sigma_y is not positive, or y or the operator is not float64 or of another batch size.
    """

    def __init__(self, prior: GaussianPrior, operator: LinearOperator, y: Measurement, sigma_y: float) -> None:
        check_problem(operator, y, sigma_y)
        self.prior, self.operator, self.y, self.sigma_y = prior, operator, y, sigma_y

    @cached_property
    def mean(self) -> Image:
        """E[x | y], (b, c, h, w).

        Raises:
            RuntimeError: conjugate gradients did not converge.
        """
        return self._moved(self.prior.sample(zeros(self.operator, self.y)), self.y)

    def sample(self, streams: Streams) -> Image:
        """One exact draw per image, (b, c, h, w); ask again for more. Purposes: "posterior", "posterior noise".

        Raises:
            RuntimeError: conjugate gradients did not converge.
        """
        noise = self.sigma_y * streams.normal("posterior noise", self.y.shape[1:])
        return self._moved(self.prior.sample(streams.normal("posterior", self.operator.image_shape)), self.y - noise)

    def covariance_times(self, v: Image) -> Image:
        """Cov[x | y] v = H^{-1} v.

        Raises:
            RuntimeError: conjugate gradients did not converge.
        """
        u = conjugate_gradients(self._H, v, iterations=_ITERATIONS, rtol=_RTOL, precondition=self._roughly_inverse)
        size = v.flatten(1).norm(dim=1)
        left = torch.where(size > 0, (self._H(u) - v).flatten(1).norm(dim=1) / size, 0)
        if not (left < 100 * _RTOL).all():
            raise RuntimeError(
                f"exact posterior: conjugate gradients left {float(left.max()):.1e} of the right-hand side after at "
                f"most {_ITERATIONS} iterations, expected {_RTOL:.0e}; take a larger sigma_y than {self.sigma_y}"
            )
        return u

    def std(self, pixels: Int[Tensor, "p"] | None = None) -> Float[Tensor, "b *pixels"]:
        """Standard deviations of the posterior's marginals; they do not depend on y.

        Args:
            pixels: places in the flattened (c, h, w); each costs one solution by conjugate gradients. None is all of
                them. Where A^T A is not shift-invariant that takes A written out: 64 px and less, and some seconds and
                a gigabyte per image, so give a batch of one image where images share A.
        Returns:
            (b, p), or (b, c, h, w) for all pixels.
        Raises:
            ValueError: A is too large to write out.
            RuntimeError: conjugate gradients did not converge.
        """
        zero = zeros(self.operator, self.y)
        if pixels is None and shift_invariant(self.operator, self.y):
            c, h, w = self.operator.image_shape
            return self.std(torch.arange(c) * h * w)[..., None, None].expand_as(zero)
        if pixels is None:
            return written_out.variance(self.prior, self.operator, self.y, self.sigma_y).clamp(min=0).sqrt()
        columns = [self.covariance_times(unit(zero, place)).flatten(1)[:, place] for place in pixels.tolist()]
        return torch.stack(columns, 1).sqrt()

    def covariance(self) -> Float[Tensor, "b n n"]:
        """Cov[x | y] over the flattened (c, h, w), for small images.

        Raises:
            ValueError: A or the result is too large to write out.
        """
        return written_out.covariance(self.prior, self.operator, self.y, self.sigma_y)

    def _moved(self, x: Image, y: Measurement) -> Image:
        """x + H^{-1} A^T (y - A x) / sigma_y^2: the mean if x is the prior's, a draw if x and the noise in y are."""
        return x + self.covariance_times(self.operator.adjoint(y - self.operator.A(x)) / self.sigma_y**2)

    def _H(self, v: Image) -> Image:
        return self.prior.filter(v, torch.reciprocal) + self.operator.adjoint(self.operator.A(v)) / self.sigma_y**2

    def _roughly_inverse(self, v: Image) -> Image:
        """The inverse of H with A^T A made stationary, by which conjugate gradients are preconditioned.

        What A does not see at all over many pixels or a whole colour is not stationary: there C alone is added (an
        eighth of the iterations for a box at 64 px; three times as many for holes of single pixels, hence the choice).
        """
        near = self.prior.filter(v, lambda power: 1 / (1 / power + self._stationary / self.sigma_y**2))
        if not isinstance(self.operator, BoxInpainting | Colorization):
            return near
        unseen = self.prior.filter(self._unseen(v), lambda power: power)
        return near + self._unseen(unseen)

    def _unseen(self, v: Image) -> Image:
        return v - self.operator.pinv(self.operator.A(v))

    @cached_property
    def _stationary(self) -> Tensor:
        """Eigenvalues of the periodic convolution that A^T A is on the mean of a grid's pixels, (b, 1, h, w // 2 + 1).

        The places take every phase modulo the grid's side, so that the factors of super-resolution are met evenly.
        """
        (c, h, w), total = self.operator.image_shape, zeros(self.operator, self.y)[:, :1]
        for i in range(_GRID):
            for j in range(_GRID):
                top, left = (i * h // _GRID + (i + 2 * j) % _GRID) % h, (j * w // _GRID + (2 * i + 5 * j) % _GRID) % w
                grey = zeros(self.operator, self.y)
                grey[:, :, top, left] = c**-0.5
                answer = self.operator.adjoint(self.operator.A(grey)).sum(1, keepdim=True) * c**-0.5
                total += torch.roll(answer, (-top, -left), (2, 3)) / _GRID**2
        eigenvalues: Tensor = torch.fft.rfft2(total).real.clamp(min=1e-3)
        return eigenvalues
