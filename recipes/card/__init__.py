"""What a prior is worth on its own, before any sampler: one-step denoising, samples and their spectrum."""

from recipes.card.measure import LEVELS, denoising, samples, spectrum
from recipes.card.report import write

__all__ = ["LEVELS", "denoising", "samples", "spectrum", "write"]
