"""PSNR, SSIM, HaarPSI and GMSD against other implementations, the papers' equations and values known in advance."""

import math

import numpy as np
import piq
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter
from scipy.signal import convolve2d
from skimage import data
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from safari_bench.metrics import Gmsd, HaarPsi, Psnr, Saturated, Ssim

METRICS = [Psnr(), Ssim(), HaarPsi(), Gmsd()]


def quantised(x: Tensor) -> Tensor:
    return ((x + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1


def unit(x: Tensor) -> Tensor:
    return (x.double() + 1) / 2


@pytest.fixture(scope="module")
def x() -> Tensor:
    """Two colour photographs, 64 x 96."""
    crops = [data.astronaut()[60:124, 180:276], data.coffee()[100:164, 200:296]]
    return torch.stack([torch.tensor(crop).permute(2, 0, 1) for crop in crops]) / 127.5 - 1


@pytest.fixture(scope="module")
def x_hat(x: Tensor) -> Tensor:
    """The photographs with noise of a different strength in each, so that pooling over the batch shows."""
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(x.shape).astype(np.float32))
    return quantised(x + torch.tensor([0.05, 0.4]).view(2, 1, 1, 1) * noise)


def test_psnr_of_each_image_equals_scikit_image(x: Tensor, x_hat: Tensor) -> None:
    pairs = zip(unit(x).numpy(), unit(x_hat).numpy(), strict=True)
    expected = [peak_signal_noise_ratio(true, restored, data_range=1) for true, restored in pairs]
    assert Psnr()(x_hat, x).tolist() == pytest.approx(expected, abs=1e-5)  # torchmetrics holds log(10) in float32


def test_psnr_of_one_grey_level_is_48_13_db() -> None:
    x = torch.zeros(1, 3, 8, 8)
    assert Psnr()(x + 1 / 127.5, x).item() == pytest.approx(20 * math.log10(255), abs=1e-5)


def test_ssim_equals_torchmetrics_away_from_the_border(x: Tensor, x_hat: Tensor) -> None:
    """The two libraries agree to rounding on windows inside the image; only torchmetrics' border differs."""
    _, full = structural_similarity_index_measure(
        unit(x_hat), unit(x), data_range=1.0, reduction="none", return_full_image=True
    )
    inside = full[..., 5:-5, 5:-5].mean((1, 2, 3))
    assert Ssim()(x_hat, x).tolist() == pytest.approx(inside.tolist(), abs=1e-10)


def test_ssim_of_flat_images_is_the_luminance_term() -> None:
    a, b, c1 = 0.2, 0.6, 0.01**2
    score = Ssim()(torch.full((1, 3, 16, 16), 2 * a - 1), torch.full((1, 3, 16, 16), 2 * b - 1))
    assert score.item() == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-6)


def similarity(a: np.ndarray, b: np.ndarray, c: float) -> np.ndarray:
    return (2 * a * b + c) / (a * a + b * b + c)


def halved(image: np.ndarray) -> np.ndarray:
    return image.reshape(image.shape[0] // 2, 2, -1, 2).mean((1, 3))


def haarpsi_of_paper(f1: np.ndarray, f2: np.ndarray) -> float:
    """Reisenhofer et al. 2018, equations (9) to (12), grey images on [0, 255]."""

    def response(f: np.ndarray, scale: int, orientation: int) -> np.ndarray:
        side = 2**scale
        filt = np.full((side, side), 2.0**-scale)
        filt[: side // 2] *= -1
        full = convolve2d(f, filt.T if orientation else filt)
        return np.abs(full[side // 2 :, side // 2 :][: f.shape[0], : f.shape[1]])

    f1, f2, top, bottom = halved(f1), halved(f2), 0.0, 0.0
    for k in (0, 1):
        local = sum(similarity(response(f1, j, k), response(f2, j, k), 30.0) for j in (1, 2)) / 2
        weight = np.maximum(response(f1, 3, k), response(f2, 3, k))
        top += (weight / (1 + np.exp(-4.2 * local))).sum()
        bottom += weight.sum()
    return float((np.log(top / (bottom - top)) / 4.2) ** 2)


def gmsd_of_paper(r: np.ndarray, d: np.ndarray) -> float:
    """Xue et al. 2014, equations (1) to (6), luminance on [0, 1]."""
    prewitt = np.outer([1, 1, 1], [1, 0, -1]) / 3

    def gradient(f: np.ndarray) -> np.ndarray:
        return np.hypot(correlate(f, prewitt, mode="constant"), correlate(f, prewitt.T, mode="constant"))

    return float(similarity(gradient(halved(r)), gradient(halved(d)), 170 / 255**2).std())


def test_haarpsi_of_grey_images_follows_the_paper(x: Tensor, x_hat: Tensor) -> None:
    grey, grey_hat = x[:, :1], x_hat[:, :1]
    pairs = zip(unit(grey_hat)[:, 0].numpy(), unit(grey)[:, 0].numpy(), strict=True)
    expected = [haarpsi_of_paper(255 * a, 255 * b) for a, b in pairs]
    assert HaarPsi()(grey_hat, grey).tolist() == pytest.approx(expected, abs=1e-9)


def test_gmsd_follows_the_paper_on_the_luminance(x: Tensor, x_hat: Tensor) -> None:
    luminance = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(3, 1, 1)
    pairs = zip((unit(x) * luminance).sum(1).numpy(), (unit(x_hat) * luminance).sum(1).numpy(), strict=True)
    assert Gmsd()(x_hat, x).tolist() == pytest.approx([gmsd_of_paper(a, b) for a, b in pairs], abs=1e-6)


def test_haarpsi_and_gmsd_of_colour_images_equal_piq_on_each_alone(x: Tensor, x_hat: Tensor) -> None:
    pairs = [(unit(x_hat[i : i + 1]), unit(x[i : i + 1])) for i in range(2)]
    assert HaarPsi()(x_hat, x).tolist() == pytest.approx([piq.haarpsi(*pair).item() for pair in pairs], abs=1e-12)
    assert Gmsd()(x_hat, x).tolist() == pytest.approx([piq.gmsd(*pair).item() for pair in pairs], abs=1e-12)


@pytest.mark.parametrize(("metric", "best"), list(zip(METRICS, [math.inf, 1, 1, 0], strict=True)))
def test_equal_images_reach_the_best_score(metric: Psnr, best: float, x: Tensor) -> None:
    black = -torch.ones_like(x)
    assert metric(x, x).tolist() == pytest.approx([best, best], abs=1e-12)
    assert metric(black, black).tolist() == pytest.approx([best, best], abs=1e-12)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_more_noise_and_more_blur_score_worse(metric: Psnr, x: Tensor) -> None:
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal(x.shape).astype(np.float32))
    noisy = [quantised(x + sd * noise) for sd in (0.02, 0.1, 0.3, 0.8)]
    blurred = [quantised(torch.from_numpy(gaussian_filter(x.numpy(), (0, 0, sd, sd)))) for sd in (0.5, 1, 2, 4)]
    for series in (noisy, blurred):
        steps = torch.stack([metric(x_hat, x) for x_hat in series]).diff(dim=0)
        assert bool((steps < 0 if metric.higher_is_better else steps > 0).all())


def test_saturated_counts_new_black_and_white_values() -> None:
    x = torch.zeros(2, 3, 4, 4)
    x[:, :, 0] = 1.0  # white in the reference: 12 of 48 values
    x_hat = x.clone()
    x_hat[1, 0, 1] = 1.0
    x_hat[1, 1, 2, :2] = -1.0
    x_hat[1, 2, 3] = 0.99
    assert Saturated()(x_hat, x).tolist() == [0.0, 6 / 48]
    assert Saturated()(torch.zeros_like(x), x).tolist() == [0.0, 0.0]  # losing white is no saturation
