"""Per-image scores of a restoration.

A metric compares x_hat with x and knows nothing of operators; data consistency is a function of measurements alone.
What goes in has been through the pixel codec once, so that a score and the saved PNG speak of the same pixels. Scores
are computed in float64, because float32 convolutions may run as TF32 on a GPU and give another number there.

LPIPS, FID and KID need weights that are downloaded once, see `downloads`. `deep_distance`, `deep_frechet` and
`deep_kernel` need none, see `deep`. FID, KID and the last two score all pictures of a cell as one set, see `sets`.
"""

from safari_bench.metrics.consistency import data_consistency
from safari_bench.metrics.contract import ImageMetric, Suite
from safari_bench.metrics.deep import DeepDistance
from safari_bench.metrics.deep_sets import DeepSetScores
from safari_bench.metrics.feature_sets import Sets
from safari_bench.metrics.paired import Gmsd, HaarPsi, Psnr, Saturated, Ssim
from safari_bench.metrics.perceptual import Lpips
from safari_bench.metrics.phase import PhaseCoherence
from safari_bench.metrics.sets import SetScores
from safari_bench.metrics.spectrum import SpectrumError, ring_power
from safari_bench.metrics.weights import BACKBONES, WeightsError

__all__ = [
    "BACKBONES",
    "DeepDistance",
    "DeepSetScores",
    "Gmsd",
    "HaarPsi",
    "ImageMetric",
    "Lpips",
    "PhaseCoherence",
    "Psnr",
    "Saturated",
    "SetScores",
    "Sets",
    "SpectrumError",
    "Ssim",
    "Suite",
]
__all__ += ["WeightsError", "data_consistency", "ring_power"]
