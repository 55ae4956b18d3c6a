"""One method per file, one flat loop per method."""

from safari_bench.samplers.contract import Progress, Sampler
from safari_bench.samplers.degraded import Degraded
from safari_bench.samplers.dps import DPS
from safari_bench.samplers.safari import SaFaRI
from safari_bench.samplers.unconditional import Unconditional

__all__ = ["DPS", "Degraded", "Progress", "SaFaRI", "Sampler", "Unconditional"]
