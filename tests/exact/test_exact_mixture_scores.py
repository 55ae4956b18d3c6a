"""Scores under the mixture: what is exact scores as such, what misses a mode is found out.

Statistical tests draw from the closed-form posterior with a fixed seed. Their limits are such that an exact sampler
fails any of one test's statistics with probability FALSE_ALARM.
"""

import functools

import numpy as np
import pytest
import torch
from exact_cases import FALSE_ALARM, SIGMA_Y
from scipy.stats import norm

from safari_bench import operators as ops
from safari_bench.exact.mixture_scores import MixtureTruth
from safari_bench.exact.small_mixture import SHAPE as SMALL
from safari_bench.exact.small_mixture import small_mixture
from safari_bench.exact.trial import Trial, from_mixture
from safari_bench.priors.mixture import MixturePrior

MIXTURE = MixturePrior(small_mixture())
SMALL_OPERATORS = {
    "denoising": ops.Denoising,
    "avgpool": functools.partial(ops.AveragePool, factor=4),
    "box": functools.partial(ops.BoxInpainting, hole=4, margin=2),
}


@functools.cache
def mixture_truth(task: str) -> MixtureTruth:
    return MixtureTruth(
        Trial(
            prior=MIXTURE,
            draw=from_mixture(MIXTURE),
            operator=SMALL_OPERATORS[task],
            shape=SMALL,
            sigma_y=SIGMA_Y,
            seed=0,
            image="a",
        )
    )


def test_the_small_mixture_hides_its_modes_as_it_says():
    denoised, guessed, hidden = (mixture_truth(task).posterior.weights[0] for task in SMALL_OPERATORS)
    assert denoised.max() > 1 - 1e-6
    torch.testing.assert_close(hidden, MIXTURE.mixture.weights, atol=1e-6, rtol=0)
    assert (guessed - MIXTURE.mixture.weights).abs().max() > 0.02
    assert guessed.max() < 0.98


@pytest.mark.parametrize("task", SMALL_OPERATORS)
def test_exact_draws_of_a_mixture_score_as_exact(task):
    samples, repeats, known = 64, 10, mixture_truth(task)
    found = [known.score(known._exact(f"test {i}", samples)) for i in range(repeats)]
    weights = np.array([[float(w) for w in row["weights"].split()] for row in found])
    exact = known.posterior.weights[0].numpy()
    limit = norm.ppf(1 - FALSE_ALARM / len(exact) / 2)
    sd = np.sqrt(exact * (1 - exact) / samples / repeats)
    assert (np.abs(weights.mean(0) - exact) < limit * sd + 0.005).all()  # weights are rounded to two digits
    assert np.mean([row["sliced_w"] / row["sliced_w_floor"] for row in found]) == pytest.approx(1, abs=0.4)
    assert np.mean([row["sd_ratio"] for row in found]) == pytest.approx(1, abs=0.1)


def test_a_sampler_of_one_mode_and_one_off_the_mark_are_found_out():
    known = mixture_truth("box")
    x = known.draws(400)
    exact = known.posterior.weights[0]
    mode = MIXTURE.log_joint(x, -1).argmax(1)
    one = known.score(x[mode == 0][:128])
    assert one["weights"] == "1.00 0.00 0.00"
    assert one["weight_error"] == pytest.approx(1 - float(exact[0]), abs=1e-6)
    assert one["sliced_w"] > 2 * one["sliced_w_floor"]
    scale = float(known._compared_with(128)[0].var(0).mean().sqrt())
    off = known.score(x[:128] + 2 * scale)
    assert off["mean_error_sd"] == pytest.approx(2, abs=0.3)
    assert off["sliced_w"] > 5 * off["sliced_w_floor"]
