"""Weights, or closed forms, turned into a Denoiser."""
