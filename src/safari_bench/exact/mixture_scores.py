"""How far a sampler's draws are from the exact posterior under a Gaussian mixture: its shape and its modes.

y depends on an image's component through the image alone, so that the mean of p(k | x) over the posterior is p(k | y),
the exact weight of mode k. The same mean over a sampler's draws is the weight that the sampler gives it.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from safari_bench.exact.mixture_posterior import MixturePosterior
from safari_bench.exact.trial import Trial
from safari_bench.operators import SVDOperator
from safari_bench.priors.mixture import MixturePrior
from safari_bench.shapes import Image

__all__ = ["MixtureTruth"]

#: random directions that Wasserstein distances are averaged over
_DIRECTIONS = 128
#: exact draws to compare with, as a multiple of the sampler's
_REFERENCE = 4
#: sets of exact draws whose mean score is the floor
_OTHERS = 4


class MixtureTruth:
    """The exact posterior of one trial, and scores against it.

    Args:
        trial: its prior is a `MixturePrior`, its operator has an SVD.
    """

    #: modes are chosen early and by chance: draws are independent
    mirrored = False

    def __init__(self, trial: Trial) -> None:
        operator = trial.operators(1, torch.float64)
        assert isinstance(trial.prior, MixturePrior) and isinstance(operator, SVDOperator)
        self.trial, self.prior = trial, trial.prior
        self.posterior = MixturePosterior(trial.prior, operator, trial.y, trial.sigma_y)
        v = trial.streams("directions").normal("directions", (_DIRECTIONS, math.prod(trial.shape)))[0]
        self._directions = v / v.norm(dim=1, keepdim=True)
        self._drawn: dict[int, tuple[Tensor, list[Tensor]]] = {}

    def draws(self, samples: int) -> Image:
        """Exact and independent ones."""
        return self._exact("exact", samples)

    def score(self, x_hat: Image) -> dict[str, float | str]:
        """Scores of a batch of draws.

        Returns:
            mean_error: RMS over pixels of E[x_hat] - E[x | y] on the [-1, 1] scale, Monte-Carlo error taken off;
            mean_error_sd: the same relative to the RMS posterior standard deviation;
            sd_ratio: RMS standard deviation relative to that of exact draws;
            sliced_w: Wasserstein-2 distance from exact draws, root mean square over 128 random directions, relative to
            the RMS posterior standard deviation, and sliced_w_floor: what as many exact draws get, mean over four sets;
            weight_error: total variation distance of the modes' weights from the exact ones, and weight_floor: what as
            many exact draws get;
            weights, exact_weights: the modes' weights, as text.
        """
        M, exact = len(x_hat), self.posterior.weights[0]
        reference, others = self._compared_with(M)
        floors = [(self._sliced(x, reference), self._apart(x)) for x in others]
        scale = float(reference.var(0).mean().sqrt())
        bias2 = (x_hat.mean(0) - self.posterior.mean[0]).square().mean() - x_hat.var(0).mean() / M
        error = math.sqrt(max(float(bias2), 0.0))
        return {
            "mean_error": error,
            "mean_error_sd": error / scale,
            "sd_ratio": float(x_hat.var(0).mean().sqrt()) / scale,
            "sliced_w": self._sliced(x_hat, reference) / scale,
            "sliced_w_floor": sum(w for w, _ in floors) / len(floors) / scale,
            "weight_error": self._apart(x_hat),
            "weight_floor": sum(e for _, e in floors) / len(floors),
            "weights": _text(self._weights(x_hat)),
            "exact_weights": _text(exact),
        }

    def _compared_with(self, samples: int) -> tuple[Tensor, list[Tensor]]:
        """Exact draws to compare with, and sets of others of the same number as a sampler's."""
        if samples not in self._drawn:
            others = [self._exact(f"others {i}", samples) for i in range(_OTHERS)]
            self._drawn[samples] = self._exact("reference", _REFERENCE * samples), others
        return self._drawn[samples]

    def _exact(self, name: str, samples: int) -> Image:
        streams = self.trial.streams(name)
        return torch.cat([self.posterior.sample(streams) for _ in range(samples)])

    def _weights(self, x: Image) -> Tensor:
        return self.prior.log_joint(x, -1).softmax(1).mean(0)

    def _apart(self, x: Image) -> float:
        """Total variation distance of the modes' weights from the exact ones."""
        return float((self._weights(x) - self.posterior.weights[0]).abs().sum() / 2)

    def _sliced(self, x: Image, reference: Float[Tensor, "r c h w"]) -> float:
        ours = (x.flatten(1) @ self._directions.T).sort(0).values.repeat_interleave(len(reference) // len(x), 0)
        theirs = (reference.flatten(1) @ self._directions.T).sort(0).values
        return float((ours - theirs).square().mean().sqrt())


def _text(weights: Tensor) -> str:
    return " ".join(f"{w:.2f}" for w in weights.tolist())
