"""Per-image scores of a restoration.

A metric compares x_hat with x and knows nothing of operators; data consistency is a function of measurements alone.
What goes in has been through the pixel codec once, so that a score and the saved PNG speak of the same pixels. Scores
are computed in float64, because float32 convolutions may run as TF32 on a GPU and give another number there.
"""

from safari_bench.metrics.consistency import data_consistency
from safari_bench.metrics.contract import ImageMetric, Suite
from safari_bench.metrics.paired import Gmsd, HaarPsi, Psnr, Ssim
from safari_bench.metrics.spectrum import SpectrumError, ring_power

__all__ = ["Gmsd", "HaarPsi", "ImageMetric", "Psnr", "SpectrumError", "Ssim", "Suite", "data_consistency", "ring_power"]
