"""What every metric promises, the suite, and data consistency."""

import math

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from jaxtyping import TypeCheckError
from torch import Tensor

from safari_bench.metrics import (
    Gmsd,
    HaarPsi,
    ImageMetric,
    Psnr,
    Saturated,
    SpectrumError,
    Ssim,
    Suite,
    data_consistency,
)
from safari_bench.metrics.contract import unit_pair

METRICS: list[ImageMetric] = [
    Psnr(),
    Ssim(),
    HaarPsi(),
    Gmsd(),
    Saturated(),
    *map(SpectrumError, ("low", "mid", "high")),
]
SMALLEST = {"psnr": 1, "saturated": 1, "ssim": 11, "haarpsi": 16, "gmsd": 6, "spectrum_low": 16, "spectrum_high": 16}

every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def images(seed: int, *shape: int) -> Tensor:
    """8-bit pixels on [-1, 1]."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)) / 127.5 - 1


def normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@every_metric
@pytest.mark.parametrize("size", [(32, 48), (33, 20)])
def test_a_batch_of_four_equals_four_batches_of_one_in_any_order(metric: ImageMetric, size: tuple[int, int]) -> None:
    x, x_hat = images(0, 4, 3, *size), images(1, 4, 3, *size)
    x_hat[1] = 0.9 * x_hat[1]
    together = metric(x_hat, x)
    alone = torch.cat([metric(x_hat[i : i + 1], x[i : i + 1]) for i in range(4)])
    order = torch.tensor([2, 0, 3, 1])
    assert together.shape == (4,) and together.dtype == torch.float64
    assert together.tolist() == pytest.approx(alone.tolist(), abs=1e-11)
    assert together[order].tolist() == pytest.approx(metric(x_hat[order], x[order]).tolist(), abs=1e-11)
    assert len(set(together.tolist())) == 4


@every_metric
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.01, -1.01])
def test_a_bad_pixel_is_refused_and_its_image_named(metric: ImageMetric, bad: float) -> None:
    x, spoilt = images(2, 3, 3, 16, 16), images(3, 3, 3, 16, 16)
    spoilt[2, 1, 4, 5] = bad
    with pytest.raises(ValueError, match=r"x_hat: image 2 of the batch"):
        metric(spoilt, x)
    with pytest.raises(ValueError, match=r"x: image 2 of the batch"):
        metric(x, spoilt)


@every_metric
@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (2, 1, 16, 16), (2, 3, 16, 17)])
def test_shapes_that_differ_are_refused_rather_than_broadcast(metric: ImageMetric, shape: tuple[int, ...]) -> None:
    with pytest.raises((ValueError, TypeCheckError)):  # the latter where shapes are checked as types
        metric(images(4, *shape), images(5, 2, 3, 16, 16))
    with pytest.raises(ValueError, match=r"x_hat and x: got shapes .* expected one shape"):
        unit_pair(images(4, *shape), images(5, 2, 3, 16, 16))


@pytest.mark.parametrize("metric", [m for m in METRICS if m.name in SMALLEST], ids=lambda metric: metric.name)
def test_the_smallest_size_is_scored_and_a_smaller_one_refused(metric: ImageMetric) -> None:
    side = SMALLEST[metric.name]
    assert bool(metric(images(6, 1, 3, side, 40), images(7, 1, 3, side, 40)).isfinite().all())
    if side > 1:
        with pytest.raises(ValueError, match=f"got 40 x {side - 1}, expected at least {side} x {side}"):
            metric(images(6, 1, 3, 40, side - 1), images(7, 1, 3, 40, side - 1))


@pytest.mark.parametrize("metric", [HaarPsi(), Gmsd()])
def test_metrics_of_colour_refuse_two_channels(metric: ImageMetric) -> None:
    with pytest.raises(ValueError, match=r"channels: got 2, expected one of \(1, 3\)"):
        metric(images(8, 1, 2, 16, 16), images(9, 1, 2, 16, 16))


def test_a_config_makes_a_suite_with_columns_in_its_order() -> None:
    targets: list[dict[str, str]] = [{"_target_": f"safari_bench.metrics.{name}"} for name in ("Gmsd", "Psnr")]
    targets.append({"_target_": "safari_bench.metrics.SpectrumError", "band": "mid"})
    suite = instantiate({"_target_": "safari_bench.metrics.Suite", "metrics": targets})
    x, x_hat = images(10, 2, 3, 16, 16), images(11, 2, 3, 16, 16)
    scores = suite(x_hat, x)
    assert suite.columns == tuple(scores) == ("gmsd", "psnr", "spectrum_mid")
    for metric in (Gmsd(), Psnr(), SpectrumError("mid")):
        assert torch.equal(scores[metric.name], metric(x_hat, x))


def test_an_empty_suite_scores_nothing() -> None:
    suite = Suite([])
    assert suite.columns == () and suite(images(0, 1, 3, 8, 8), images(1, 1, 3, 8, 8)) == {}


def test_two_metrics_of_one_column_are_refused() -> None:
    with pytest.raises(ValueError, match="two metrics write column spectrum_low"):
        Suite([SpectrumError("low"), Psnr(), SpectrumError("low")])


def test_pure_noise_has_a_data_consistency_of_one() -> None:
    """||n|| / (sigma sqrt(m)) has mean 1 - 1 / (4 m) and sd 1 / sqrt(2 m); the bound is 5 sd."""
    b, m = 4, 3 * 64 * 64
    A_x = normal(0, b, 3, 64, 64)
    score = data_consistency(A_x + 0.1 * normal(1, b, 3, 64, 64), A_x, 0.1, torch.full((b,), float(m)))
    assert bool(((score - 1).abs() < 5 / math.sqrt(2 * m)).all())
    assert score.unique().numel() == b


def test_the_hole_of_a_mask_is_not_counted() -> None:
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, :16], mask[1, :, :48] = 1, 1
    count = mask.expand(2, 3, 64, 64).flatten(1).sum(1)
    A_x = mask * normal(2, 2, 3, 64, 64)
    score = data_consistency(A_x + 0.2 * mask * normal(3, 2, 3, 64, 64), A_x, 0.2, count)
    assert bool(((score - 1).abs() < 5 / (2 * count).sqrt()).all())


def test_a_known_residual_of_a_measurement_of_any_shape() -> None:
    y, count = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([2.0, 1.0])
    score = data_consistency(y, torch.zeros(2, 2), 0.5, count)
    assert score.tolist() == pytest.approx([10 / math.sqrt(2), 4.0])


def test_data_consistency_is_undefined_without_noise_or_observations() -> None:
    y = torch.ones(2, 3)
    assert bool(data_consistency(y, y, 0.0, torch.tensor([3.0, 3.0])).isnan().all())
    assert data_consistency(y, y, 1.0, torch.tensor([3.0, 0.0])).isnan().tolist() == [False, True]


def test_data_consistency_refuses_what_it_cannot_judge() -> None:
    y, count = torch.ones(3, 5), torch.full((3,), 5.0)
    diverged = y.clone()
    diverged[1, 2] = math.nan
    with pytest.raises(ValueError, match="image 1 of the batch"):
        data_consistency(y, diverged, 0.1, count)
    for sigma_y in (-0.1, math.nan):
        with pytest.raises(ValueError, match="sigma_y: got"):
            data_consistency(y, y, sigma_y, count)
    with pytest.raises((ValueError, TypeCheckError)):
        data_consistency(y, y[:1], 0.1, count)
    with pytest.raises((ValueError, TypeCheckError)):
        data_consistency(y, y, 0.1, count[:1])


def test_a_score_does_not_depend_on_the_layout_in_memory() -> None:
    generator = torch.Generator().manual_seed(0)
    x_hat, x = (torch.randint(0, 256, (2, 1, 33, 47, 3), generator=generator) / 127.5 - 1).permute(0, 1, 4, 2, 3)
    for metric in (Psnr(), Ssim(), HaarPsi(), Gmsd(), SpectrumError("low")):
        assert torch.equal(metric(x_hat, x), metric(x_hat.contiguous(), x.contiguous()))
