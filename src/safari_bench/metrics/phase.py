"""Whether the detail of a restoration is where the reference has it, by spatial frequency.

Power alone cannot tell true detail from invented texture of the same strength; phase can.
"""

import torch
from torch import Tensor

from safari_bench.metrics.contract import unit_pair
from safari_bench.metrics.spectrum import BANDS, band_rings, rings, windowed_spectrum
from safari_bench.shapes import Image, PerImage

__all__ = ["PhaseCoherence"]


class PhaseCoherence:
    """Mean cosine of the phase difference in one band: 1 for detail in place, 0 for unrelated, -1 for inverted detail.

    c = sum_f |X(f)|^2 cos(arg X_hat(f) - arg X(f)) / sum_f |X(f)|^2 over the frequencies f of the band, X and X_hat
    being the windowed spectra of `SpectrumError`; mean over channels. The weights are the reference's power, so that c
    depends on where detail is and not on how strong it is. A channel of the reference that holds nothing in the band
    counts 0, and so does a frequency at which the restoration holds nothing.

    Args:
        band: "low", "mid" or "high", see `BANDS`.

    Raises:
        ValueError: if there is no such band.
    """

    higher_is_better = True

    def __init__(self, band: str) -> None:
        if band not in BANDS:
            raise ValueError(f"band: got {band!r}, expected one of {list(BANDS)}. Correct the metrics config.")
        self.band = band
        self.name = f"phase_{band}"

    def __call__(self, x_hat: Image, x: Image) -> PerImage:
        """Coherence in [-1, 1], (b,)."""
        restored, reference = (windowed_spectrum(image) for image in unit_pair(x_hat, x, min_side=16))
        h, w = x.shape[-2:]
        inside = band_rings(self.band, min(h, w))
        ring = rings(h, w).to(x.device)
        mask = (ring >= inside.start) & (ring < inside.stop)
        X_hat, X = restored[..., mask], reference[..., mask]
        tiny = torch.finfo(torch.float64).tiny
        cosine = (X_hat * X.conj()).real / (X_hat.abs() * X.abs()).clamp_min(tiny)
        power = X.abs().square()
        coherence: Tensor = (power * cosine).sum(-1) / power.sum(-1).clamp_min(tiny)
        return coherence.mean(1)
