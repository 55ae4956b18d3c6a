"""p(x | y) under a Gaussian mixture prior, for y = A x + n with A linear and n white of sd sigma_y > 0.

It is a mixture again. Given component k, x = mu_k + W_k a + s_k e with a and e white. With N_k = s_k^2 A A^T +
sigma_y^2 I, which the operator inverts (`solve`), and R_k = A^T N_k^{-1} A,

    a | y, k     ~ N(M_k^{-1} W_k^T A^T N_k^{-1} (y - A mu_k), M_k^{-1}),     M_k = I + W_k^T R_k W_k,
    x | a, y, k  ~ N(u + s_k^2 A^T N_k^{-1} (y - A u), D_k),     u = mu_k + W_k a,     D_k = s_k^2 (I - s_k^2 R_k),

so that Cov[x | y, k] = D_k + T_k M_k^{-1} T_k^T with T_k = (I - s_k^2 R_k) W_k: diagonal in the operator's own basis,
plus a low rank. The evidence p(y | k) follows from the same factors, by the lemmas of Woodbury and Sylvester.
"""

import math
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from safari_bench.exact.problem import check_problem, unit, zeros
from safari_bench.operators import SVDOperator
from safari_bench.priors.mixture import MixturePrior
from safari_bench.rng import Streams
from safari_bench.shapes import Image, Measurement, PerImage

__all__ = ["MixturePosterior"]


class MixturePosterior:
    """The posterior of a batch: y of image i is treated with the operator's i-th mask or kernel.

    At 64 px with the shipped mixture it takes about 0.1 GB and a second or more per image.

    Args:
        prior: what images are before y is seen.
        operator: A, in float64.
        y: measurements, float64, 0 where the operator observes nothing.
        sigma_y: standard deviation of the noise on the [-1, 1] scale, > 0.

    Attributes:
        log_evidence: log p(y), (b,).
        weights: p(k | y), (b, K).

    Raises:
        ValueError: sigma_y is not positive, y or the operator is not float64 or of another batch size, or the images
            have another shape than the prior's.
    """

    def __init__(self, prior: MixturePrior, operator: SVDOperator, y: Measurement, sigma_y: float) -> None:
        check_problem(operator, y, sigma_y)
        prior.check(operator.image_shape)
        self.prior, self.operator, self.y, self.sigma_y = prior, operator, y, sigma_y
        mixture = prior.mixture
        self._basis, self._m, self._C = (x.to(y) for x in (mixture.basis, mixture.means, mixture.factors))
        self._sd: list[float] = mixture.sd.tolist()
        self._damping = [(sigma_y / s) ** 2 for s in self._sd]  # N_k = s_k^2 (A A^T + damping_k I)
        self._L: list[Tensor] = []  # Cholesky factors of M_k, (b, r, r)
        self._a: list[Tensor] = []  # E[a | y, k], (b, r)
        evidence = [self._condition(k, gram) for k, gram in enumerate(self._grams())]
        log_joint = torch.stack(evidence, 1) + mixture.weights.log().to(y)
        self.log_evidence: PerImage = log_joint.logsumexp(1)
        self.weights: Float[Tensor, "b k"] = log_joint.softmax(1)

    @cached_property
    def means(self) -> Float[Tensor, "b k c h w"]:
        """E[x | y, k]."""
        return torch.stack(
            [self._given(self._inside(k, a), self.y, self._damping[k]) for k, a in enumerate(self._a)], 1
        )

    @property
    def mean(self) -> Image:
        """E[x | y], (b, c, h, w)."""
        return torch.einsum("bk,bkchw->bchw", self.weights, self.means)

    def sample(self, streams: Streams) -> Image:
        """One exact draw per image, (b, c, h, w); ask again for more.

        Purposes: "posterior component", "posterior factors", "posterior" and "posterior noise".
        """
        u = streams.uniform("posterior component", ())
        z = streams.normal("posterior factors", (self._C.shape[2],))
        e = streams.normal("posterior", self.operator.image_shape)
        noise = self.sigma_y * streams.normal("posterior noise", self.y.shape[1:])
        component = (u[:, None] >= self.weights.cumsum(1)[:, :-1]).sum(1)
        x = torch.zeros_like(e)
        for k, sd in enumerate(self._sd):
            here = component == k
            turned = torch.linalg.solve_triangular(self._L[k][here].mT, z[here, :, None], upper=True)[..., 0]
            x[here] = self._inside(k, self._a[k][here] + turned) + sd * e[here]
        damping = torch.tensor(self._damping, dtype=x.dtype, device=x.device)[component]
        return self._given(x, self.y - noise, damping)

    def covariance_times(self, k: int, v: Image) -> Image:
        """Cov[x | y, k] v."""
        seen = self._unexplained(v, self._damping[k])  # T_k^T v = W_k^T seen: the operator's part is symmetric
        coordinates = torch.einsum("rchw,bchw->br", self._basis, seen) @ self._C[k]
        a = torch.cholesky_solve(coordinates[..., None], self._L[k])[..., 0]
        W_a = torch.tensordot(a @ self._C[k].T, self._basis, 1)
        return self._sd[k] ** 2 * seen + self._unexplained(W_a, self._damping[k])

    def std(self, pixels: Int[Tensor, "p"]) -> Float[Tensor, "b p"]:
        """Standard deviations of the posterior's marginals.

        Args:
            pixels: places in the flattened (c, h, w); each costs K applications of A and of its adjoint.
        """
        centred = (self.means - self.mean[:, None]).flatten(2)[..., pixels.to(self.y.device)]
        zero, variances = zeros(self.operator, self.y), []
        for place in pixels.tolist():
            e = unit(zero, place)
            each = [self.covariance_times(k, e).flatten(1)[:, place] for k in range(len(self._sd))]
            variances.append(torch.stack(each, 1))
        second_moments = torch.stack(variances, 2) + centred.square()
        return torch.einsum("bk,bkp->bp", self.weights, second_moments).sqrt()

    def _grams(self) -> list[Tensor]:
        """B R_k B^T of every component, (b, R, R)."""
        basis = [self.operator.Vt(vector.expand_as(zeros(self.operator, self.y))).flatten(1) for vector in self._basis]
        spectra = torch.stack(basis, 1)  # (b, R, spectrum)
        g = self._gains().expand(len(spectra), -1).square()
        grams = []
        for s in self._sd:
            weight = g / (s**2 * g + self.sigma_y**2)
            seen = [(z[:, w > 0], w[w > 0]) for z, w in zip(spectra, weight, strict=True)]
            grams.append(torch.stack([((z * w) @ z.mH).real for z, w in seen]))
        return grams

    def _condition(self, k: int, gram: Tensor) -> PerImage:
        """log p(y | k), (b,); keeps the factors of a | y, k."""
        C, s, damping = self._C[k], self._sd[k], self._damping[k]
        residual = self.y - self.operator.A(self._inside(k, C.new_zeros(len(self.y), C.shape[1])))
        solved = self.operator.solve(residual, damping) / s**2
        b = torch.einsum("rchw,bchw->br", self._basis, self.operator.adjoint(solved)) @ C
        L = torch.linalg.cholesky(torch.eye(C.shape[1]).to(C) + C.T @ gram @ C)
        a = torch.cholesky_solve(b[..., None], L)[..., 0]
        self._L.append(L)
        self._a.append(a)
        squares = (residual * solved).flatten(1).sum(1) - (b * a).sum(1)
        log_det = torch.log1p(self._gains().square() / damping).sum(1)
        log_det = log_det + 2 * L.diagonal(dim1=1, dim2=2).log().sum(1)
        m = self.operator.observed_count(self.y)
        evidence: PerImage = -0.5 * (squares + log_det + m * math.log(2 * math.pi * self.sigma_y**2))
        return evidence

    def _gains(self) -> Tensor:
        """The operator's gains with every repetition over channels written out, (b or 1, spectrum)."""
        spectrum = self.operator.Vt(zeros(self.operator, self.y)[:1].expand(len(self.y), -1, -1, -1))
        gains = self.operator.gains
        written_out: Tensor = gains.expand(len(gains), *spectrum.shape[1:]).flatten(1)
        return written_out

    def _inside(self, k: int, a: Float[Tensor, "b r"]) -> Image:
        """mu_k + W_k a."""
        image: Image = torch.tensordot(self._m[k] + a @ self._C[k].T, self._basis, 1)
        return image

    def _given(self, u: Image, y: Measurement, damping: PerImage | float) -> Image:
        """u + s_k^2 A^T N_k^{-1} (y - A u)."""
        return u + self.operator.adjoint(self.operator.solve(y - self.operator.A(u), damping))

    def _unexplained(self, v: Image, damping: float) -> Image:
        """(I - s_k^2 R_k) v."""
        return v - self.operator.adjoint(self.operator.solve(self.operator.A(v), damping))
