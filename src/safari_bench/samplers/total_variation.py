"""Total variation: argmin_x ||y - A x||^2 / 2 + weight TV(x), the classical restoration of pictures with edges.

Rudin, Osher, Fatemi, Physica D 1992; solved by FISTA (Beck and Teboulle, IEEE TIP 2009), whose inner denoising problem
is scikit-image's denoise_tv_chambolle (Chambolle, JMIV 2004). No diffusion prior is called.
"""

from dataclasses import dataclass

import numpy as np
import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from safari_bench.diffusion import Denoiser
from safari_bench.operators.contract import SVDOperator
from safari_bench.ranges import Count, Positive
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["TotalVariation"]


@dataclass(frozen=True, kw_only=True)
class TotalVariation(Sampler):
    """One convex problem per image; like scikit-image, each channel has a total variation of its own.

    Args:
        weight: of the total variation, for images on [-1, 1] and the data term as written above.
        iterations: of FISTA.
    """

    weight: Positive = 0.02
    iterations: Count = 100

    requires = SVDOperator
    uses_prior = False

    @torch.no_grad()
    def restore(self, problem: Problem[SVDOperator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator = problem.y, problem.operator
        lipschitz = operator.gains.flatten(1).amax(1).expand(len(y)) ** 2  # (b,): ||A||^2
        step = (1 / lipschitz)[:, None, None, None]
        x = before = step * operator.adjoint(y)
        momentum = 1.0
        for _ in range(self.iterations):
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            v = x + (momentum - 1) / following * (x - before)
            before, momentum = x, following
            x = self._denoise(v + step * operator.adjoint(y - operator.A(v)), self.weight / lipschitz)
        return x

    def _denoise(self, images: Image, weights: Tensor) -> Image:
        """argmin_u ||u - image||^2 / 2 + weight TV(u), one image at a time."""
        found = [
            denoise_tv_chambolle(image.cpu().numpy(), weight=float(weight), channel_axis=0)  # type: ignore[no-untyped-call]
            for image, weight in zip(images, weights, strict=True)
        ]
        return torch.from_numpy(np.stack(found)).to(images)
