"""safari_bench: a benchmark suite for zero-shot image restoration with diffusion priors."""

__version__ = "0.2.0"

#: Bumped by every commit that moves a result (see "Numbers changed" in CHANGELOG.md). It enters the run id, so that
#: cells computed by older code are not taken for today's.
NUMBERS = 3
