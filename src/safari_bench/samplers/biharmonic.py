"""Biharmonic: holes filled with the smoothest surface through their rim, what is known kept as measured.

Chui and Mhaskar, Applied and Computational Harmonic Analysis 2010; scikit-image's inpaint_biharmonic. No diffusion
prior is called.
"""

from dataclasses import dataclass

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from safari_bench.diffusion import Denoiser
from safari_bench.operators.contract import Operator, Unsupported
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.shapes import Image

__all__ = ["Biharmonic"]


@dataclass(frozen=True, kw_only=True)
class Biharmonic(Sampler):
    """For masks of pixels only."""

    uses_prior = False

    def check(self, operator: Operator) -> None:
        if operator.observed is None:
            raise Unsupported("biharmonic inpainting fills holes, and this measurement has none")

    def restore(self, problem: Problem[Operator], denoiser: Denoiser, progress: Progress) -> Image:
        y, operator = problem.y, problem.operator
        assert operator.observed is not None  # see check
        known = operator.observed.expand_as(y)[:, 0].cpu().numpy() > 0
        filled = [
            inpaint_biharmonic(picture, ~mask, channel_axis=0)
            for picture, mask in zip(y.double().cpu().numpy(), known, strict=True)
        ]
        return torch.from_numpy(np.stack(filled)).to(y)
