"""One method per file, one flat loop per method."""

from safari_bench.samplers.biharmonic import Biharmonic
from safari_bench.samplers.contract import Progress, Sampler
from safari_bench.samplers.degraded import Degraded
from safari_bench.samplers.dps import DPS
from safari_bench.samplers.safari import SaFaRI
from safari_bench.samplers.total_variation import TotalVariation
from safari_bench.samplers.unconditional import Unconditional
from safari_bench.samplers.wiener import Wiener

__all__ = [
    "DPS",
    "Biharmonic",
    "Degraded",
    "Progress",
    "SaFaRI",
    "Sampler",
    "TotalVariation",
    "Unconditional",
    "Wiener",
]
