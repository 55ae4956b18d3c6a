"""One denoising step that tells a trained network from random weights."""

import math

import torch

from safari_bench.diffusion import Denoiser
from safari_bench.priors.files import PriorError
from safari_bench.rng import Streams
from safari_bench.shapes import Image

__all__ = ["check", "smooth"]

#: Noise level on the [-1, 1] scale: low enough that shrinking x_t towards zero, which is what a v-prediction network of
#: zero output does, gains less than a tenth, and that any picture is denoised, of faces or of something else.
_SIGMA = 0.2
_AT_MOST = 0.5  # of the squared error of doing nothing


def smooth(side: int) -> Image:
    """A picture without edges: three slow waves, one per channel, on [-0.7, 0.7], (1, 3, side, side)."""
    u = torch.arange(side) / side
    y, x = torch.meshgrid(u, u, indexing="ij")
    waves = [torch.cos(math.pi * x), torch.cos(math.pi * y), torch.cos(math.pi * (x + y) / 2)]
    return 0.7 * torch.stack(waves)[None]


@torch.no_grad()
def check(prior: Denoiser, side: int, name: str) -> None:
    """Refuse a prior that does not denoise.

    Args:
        side: of the picture it is tried on, in pixels; networks are best tried at the size they were trained for.
        name: of the checkpoint, for the message.
    Raises:
        PriorError: one step at noise level 0.2 on [-1, 1] leaves more than half of the squared error that doing nothing
            leaves, or is not finite.
    """
    x = smooth(side)
    noise = Streams(0, "sanity", ["smooth"]).normal("noise", tuple(x.shape[1:]))
    t = prior.schedule.nearest(_SIGMA)
    x0_hat = prior.predict(prior.schedule.add_noise(x, t, noise), t).x0_hat
    ratio = ((x0_hat - x).square().mean() / (prior.schedule.sigma(t) * noise).square().mean()).item()
    if not ratio <= _AT_MOST:  # written so that NaN is refused too
        raise PriorError(
            f"{name}: this prior does not denoise: on a smooth {side} x {side} picture at noise level {_SIGMA} its "
            f"squared error is {ratio:.3g} times that of doing nothing, expected at most {_AT_MOST}. Random or half "
            "trained weights look like this, and so do the wrong kind of prediction or noise schedule: check that the "
            "checkpoint is the trained (EMA) network, or say prior.sanity_check=false to run it as it is"
        )
