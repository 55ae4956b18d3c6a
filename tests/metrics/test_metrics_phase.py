"""Phase coherence on images whose phases are known, and against a loop over frequencies."""

import cmath
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from safari_bench.metrics import PhaseCoherence

BANDS = {"low": (0, 1 / 4), "mid": (1 / 4, 1 / 2), "high": (1 / 2, 1)}


def white(seed: int, shape: tuple[int, ...] = (2, 3, 32, 48)) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.4, 0.4, shape))


def wave(frequency: float, phase: float, side: int = 64) -> Tensor:
    columns = np.arange(side)
    row = 0.3 * np.cos(2 * math.pi * frequency * columns + phase)
    return torch.from_numpy(np.broadcast_to(row, (1, 3, side, side)).copy())


@pytest.mark.parametrize("band", BANDS)
def test_strength_does_not_matter_and_sign_does(band: str) -> None:
    x, score = white(0), PhaseCoherence(band)
    assert score.name == f"phase_{band}"
    assert score(0.1 * x, x).numpy() == pytest.approx(1.0)
    assert score(-x, x).numpy() == pytest.approx(-1.0)


@pytest.mark.parametrize("shift", [0.0, 0.5, math.pi / 2, 2.5])
def test_a_shifted_wave_has_the_cosine_of_its_shift(shift: float) -> None:
    found = PhaseCoherence("high")(wave(0.375, 0.2 + shift), wave(0.375, 0.2))
    assert found.item() == pytest.approx(math.cos(shift), abs=2e-3)


def test_unrelated_texture_of_the_same_power_is_near_zero_and_a_flat_picture_is_zero() -> None:
    x = white(1, (1, 3, 128, 128))
    assert abs(PhaseCoherence("high")(white(2, (1, 3, 128, 128)), x).item()) < 0.05
    assert PhaseCoherence("high")(torch.zeros_like(x), x).item() == 0
    assert PhaseCoherence("high")(x, torch.zeros_like(x)).item() == 0


@pytest.mark.parametrize("band", BANDS)
def test_against_a_loop_over_frequencies(band: str) -> None:
    h, w = 16, 20
    x, x_hat = white(3, (1, 1, h, w)), white(4, (1, 1, h, w))
    window = np.array(
        [[math.sin(math.pi * i / h) ** 2 * math.sin(math.pi * j / w) ** 2 for j in range(w)] for i in range(h)]
    )

    def spectrum(image: Tensor) -> np.ndarray:
        pixels = image.numpy()[0, 0]
        return np.fft.fft2((pixels - (pixels * window).sum() / window.sum()) * window)

    A, B, (lower, upper) = spectrum(x_hat), spectrum(x), BANDS[band]
    above, below = 0.0, 0.0
    for i in range(h):
        for j in range(w):
            ring = round(16 * math.hypot(min(i, h - i) / h, min(j, w - j) / w))
            if lower * 8 < ring <= upper * 8:
                above += abs(B[i, j]) ** 2 * math.cos(cmath.phase(A[i, j]) - cmath.phase(B[i, j]))
                below += abs(B[i, j]) ** 2
    assert PhaseCoherence(band)(x_hat, x).item() == pytest.approx(above / below, abs=1e-9)


def test_a_band_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        PhaseCoherence("higher")
