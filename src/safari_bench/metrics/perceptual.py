"""LPIPS: a distance of two pictures in the features of a network trained to recognise things.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, arXiv 1801.03924.
Library: lpips 0.1.4, which ships the linear layers; the backbone is torchvision's, see `weights`.
"""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safari_bench.metrics.contract import unit_pair
from safari_bench.metrics.downloads import obtain
from safari_bench.metrics.weights import BACKBONES, Absent, Found, WeightsError, library, state
from safari_bench.shapes import Image, PerImage

__all__ = ["Lpips"]

#: net -> backbone, and the least side at which its last features have a pixel
_NETS = {"vgg": ("vgg16", 16), "alex": ("alexnet", 31)}


class Lpips:
    """Learned perceptual distance; 0 for equal images, larger is worse.

    Protocol: RGB on [-1, 1], at its own size, version 0.1 of the linear layers. Each picture alone, in float64, so that
    the number depends neither on the batch nor on what a device makes of float32. The library in float32 agrees to
    1e-6. Sides of 16 px (vgg) or 31 px (alex) or more.

    Without weights every score is NaN, so that a run goes on; `Suite.notices` has a line on what to put where.

    Args:
        net: "vgg" (DPS and DiffPIR report this one) or "alex" (the library's default).

    Raises:
        ValueError: another net.
    """

    higher_is_better = False

    def __init__(self, net: str = "vgg") -> None:
        if net not in _NETS:
            raise ValueError(f"net: got {net!r}, expected one of {list(_NETS)}. Correct the metrics config.")
        self.net = net
        self.name = f"lpips_{net}"
        self.columns = (self.name,)
        self.backbone, self._min_side = _NETS[net]
        self.weights: Found | Absent | None = None

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """0 or more, (b,); NaN where there are no weights.

        Raises:
            ValueError: see `ImageMetric.__call__`; also weights that the library cannot use.
        """
        restored, reference = unit_pair(x_hat, x, min_side=self._min_side, channels=(3,))
        if self.weights is None:
            self.weights = obtain(BACKBONES[self.backbone])
        if isinstance(self.weights, Absent):
            return torch.full((len(x),), torch.nan, dtype=torch.float64, device=x_hat.device)
        network = _network(self.net, self.weights).to(x_hat.device)
        with torch.no_grad():
            pairs = zip(2 * restored - 1, 2 * reference - 1, strict=True)
            scores: Tensor = torch.cat([network(one[None], other[None]).flatten() for one, other in pairs])
        return scores

    def describe(self) -> dict[str, Any]:
        return {"library": library("lpips"), "version": "0.1", "dtype": "float64"}


@lru_cache(maxsize=2)
def _network(net: str, found: Found) -> torch.nn.Module:
    """The library's network with both its parts loaded, in float64 on the CPU.

    Made without memory first: VGG16 has 120 million weights that LPIPS does not use.

    Raises:
        WeightsError: the weights do not fit.
    """
    import lpips

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision in a way that is to go
        network = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    linear = Found(Path(lpips.__file__).parent / "weights" / f"v{network.version}" / f"{net}.pth", "")
    trunk = state(found)
    try:
        # the trunk's slices number their layers as torchvision's `features` does: slice2.5.weight is features.5.weight
        names = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
        network.net.load_state_dict({name: trunk[there] for name, there in names.items()}, assign=True)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{found.path}: the weights do not fit {net} ({error}); fetch the file again") from error
    network.load_state_dict(state(linear), strict=False, assign=True)  # its keys lin0, lin1, ... cover all of `lins`
    module: torch.nn.Module = network.double().eval().requires_grad_(False)
    return module
