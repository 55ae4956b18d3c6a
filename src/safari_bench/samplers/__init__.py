"""One method per file, one flat loop per method."""

from safari_bench.samplers.biharmonic import Biharmonic
from safari_bench.samplers.contract import Problem, Progress, Sampler
from safari_bench.samplers.daps import DAPS
from safari_bench.samplers.ddnm import DDNM
from safari_bench.samplers.ddrm import DDRM
from safari_bench.samplers.degraded import Degraded
from safari_bench.samplers.diffpir import DiffPIR
from safari_bench.samplers.dps import DPS
from safari_bench.samplers.ilvr import ILVR
from safari_bench.samplers.mcg import MCG
from safari_bench.samplers.mmps import MMPS
from safari_bench.samplers.pigdm import PiGDM
from safari_bench.samplers.pnp_admm import PnPADMM
from safari_bench.samplers.reddiff import REDDiff
from safari_bench.samplers.restarts import Restarts
from safari_bench.samplers.safari import SaFaRI
from safari_bench.samplers.total_variation import TotalVariation
from safari_bench.samplers.unconditional import Unconditional
from safari_bench.samplers.wiener import Wiener

__all__ = [
    "DAPS",
    "DDNM",
    "DDRM",
    "DPS",
    "ILVR",
    "MCG",
    "MMPS",
    "Biharmonic",
    "Degraded",
    "DiffPIR",
    "PiGDM",
    "PnPADMM",
    "Problem",
    "Progress",
    "REDDiff",
    "Restarts",
    "SaFaRI",
    "Sampler",
    "TotalVariation",
    "Unconditional",
    "Wiener",
]
