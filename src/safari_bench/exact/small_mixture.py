"""A mixture of three modes on 8 x 8 pixels that differ where measurements hardly look.

In the middle 4 x 4 pixels each mode has a texture of its own, whose mean over every 2 x 2 pixels vanishes, and one of
the four quarters of that middle is a little brighter. Super-resolution by 4 does not see the textures and just makes
out the quarter, so that y favours a mode without deciding; a hole there hides both; denoising sees which mode it is.
"""

import numpy as np

from safari_bench.priors.mixture import Mixture

__all__ = ["SHAPE", "small_mixture"]

SHAPE = (3, 8, 8)

_WEIGHTS = (0.5, 0.3, 0.2)
#: a checkerboard, columns and rows, of 2 x 2 pixels
_TEXTURES = (((1, -1), (-1, 1)), ((1, -1), (1, -1)), ((1, 1), (-1, -1)))
_CONTRAST = 0.5
#: top left pixel of the brighter quarter, and by how much it is brighter
_QUARTERS = ((2, 2), (2, 4), (4, 2))
_BRIGHTER = 0.2
#: standard deviations along the smooth directions that modes share, and across them
_SMOOTH, _ROUGH = 1.5, 0.1


def small_mixture() -> Mixture:
    """Weights 0.5, 0.3 and 0.2; textures of contrast 0.5 on a grey that is brighter on one side."""
    h, w = SHAPE[1:]
    ramp = np.broadcast_to(np.linspace(-1, 1, w), SHAPE)
    smooth = np.stack([np.ones(SHAPE), ramp, ramp.transpose(0, 2, 1)])
    smooth = _SMOOTH * smooth / np.linalg.norm(smooth.reshape(3, -1), axis=1)[:, None, None, None]
    means = []
    for texture, (top, left) in zip(_TEXTURES, _QUARTERS, strict=True):
        mean = 0.2 * ramp
        mean[:, h // 4 : -h // 4, w // 4 : -w // 4] += _CONTRAST * np.tile(texture, (h // 4, w // 4))
        mean[:, top : top + 2, left : left + 2] += _BRIGHTER
        means.append(mean)
    factors = np.stack([smooth] * len(means))
    return Mixture.of(np.array(_WEIGHTS), np.stack(means), factors, np.full(len(means), _ROUGH))
