"""What is known exactly: posteriors p(x | y) of the analytic priors, to judge samplers against."""

from safari_bench.exact.gaussian_posterior import GaussianPosterior
from safari_bench.exact.mixture_posterior import MixturePosterior

__all__ = ["GaussianPosterior", "MixturePosterior"]
