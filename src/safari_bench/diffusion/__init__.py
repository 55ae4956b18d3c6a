"""Noise schedule, steps, and the contract between priors and samplers."""

from safari_bench.diffusion.denoiser import (
    Counted,
    Denoiser,
    EpsDenoiser,
    Network,
    NotFinite,
    Prediction,
    VDenoiser,
    check_finite,
    from_x0,
)
from safari_bench.diffusion.schedule import Schedule, Spacing, Variance

__all__ = [
    "Counted",
    "Denoiser",
    "EpsDenoiser",
    "Network",
    "NotFinite",
    "Prediction",
    "Schedule",
    "Spacing",
    "VDenoiser",
    "Variance",
    "check_finite",
    "from_x0",
]
