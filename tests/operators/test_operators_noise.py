"""Noise laws: units, statistics, holes, independence of the batch, and refused values."""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from dense_oracles import draw, streams
from PIL import Image as PILImage
from skimage.data import astronaut, chelsea, coffee

from safari_bench.operators import (
    BicubicDownsample,
    Gaussian,
    Jpeg,
    Noise,
    NoNoise,
    PhaseRetrieval,
    Poisson,
    Quantization,
    SaltPepper,
    Speckle,
    Unsupported,
    WalshCompressedSensing,
)

ALL: list[Noise] = [
    Gaussian(0.1, "minus_one_one"),
    Poisson(0.5),
    Speckle(0.2, "zero_one"),
    SaltPepper(0.3),
    Jpeg(40),
    Quantization(3),
    NoNoise(),
]
RANDOM = ALL[:4]
IDS = ("a", "b", "c")


def name(law: Noise) -> str:
    return type(law).__name__


def grey(level: float, size: int = 128) -> torch.Tensor:
    return torch.full((3, 3, size, size), level, dtype=torch.float64)


def photograph(channels: int = 3, image: Callable[[], np.ndarray] = astronaut) -> torch.Tensor:
    pixels = np.asarray(PILImage.fromarray(image()).resize((320, 256)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None, :channels].double() / 127.5 - 1


@pytest.mark.parametrize("law", [Gaussian, Speckle])
def test_sigma_has_a_unit(law: Any) -> None:
    one, zero = law(0.1, "minus_one_one"), law(0.05, "zero_one")
    assert one.sigma_y == pytest.approx(zero.sigma_y)
    y = grey(0.2)
    torch.testing.assert_close(one(y, streams(IDS)), zero(y, streams(IDS)), rtol=0, atol=1e-12)


def test_gaussian_sigma_is_exact_on_both_scales() -> None:
    assert Gaussian(0.05, "minus_one_one").sigma_y == 0.05
    assert Gaussian(0.05, "zero_one").sigma_y == 0.1
    y = grey(0.3)
    noise = Gaussian(0.05, "zero_one")(y, streams(IDS)) - y
    assert float(noise.std()) == pytest.approx(0.1, rel=0.01)
    assert abs(float(noise.mean())) < 0.002
    assert float((noise.abs() > 0.196).double().mean()) == pytest.approx(0.05, abs=0.004)


@pytest.mark.parametrize(
    "law", [Gaussian(0.1, "zero_one"), Poisson(1.0), Speckle(0.2, "zero_one"), SaltPepper(0.1)], ids=name
)
def test_sigma_y_is_the_error_at_mid_grey(law: Noise) -> None:
    y = grey(0.0)
    error = law(y, streams(IDS)) - y
    assert float(error.square().mean().sqrt()) == pytest.approx(law.sigma_y, rel=0.03)
    assert abs(float(error.mean())) < 0.01


def test_speckle_grows_with_the_intensity() -> None:
    law = Speckle(0.2, "zero_one")
    for level, deviation in ((-1.0, 0.0), (0.0, 0.2), (1.0, 0.4)):
        assert float((law(grey(level), streams(IDS)) - level).std()) == pytest.approx(deviation, rel=0.02, abs=1e-12)


@pytest.mark.parametrize("rate", [0.1, 1.0])
@pytest.mark.parametrize("level", [-0.8, 0.0, 1.0])
def test_poisson_counts_photons(rate: float, level: float) -> None:
    y = Poisson(rate)(grey(level), streams(IDS))
    counts = (y + 1) / 2 * 255 * rate
    assert torch.allclose(counts, counts.round(), atol=1e-9)
    mean = 255 * rate * (level + 1) / 2
    assert float(counts.mean()) == pytest.approx(mean, rel=0.02)
    assert float(counts.var()) == pytest.approx(mean, rel=0.03)


def test_poisson_sees_darkness_below_black() -> None:
    assert (Poisson(1.0)(grey(-1.3, 8), streams(IDS)) == -1).all()


@pytest.mark.parametrize("fraction", [0.0, 0.2, 1.0])
def test_salt_and_pepper(fraction: float) -> None:
    y = SaltPepper(fraction)(grey(0.25), streams(IDS))
    for value, share in ((-1, fraction / 2), (1, fraction / 2), (0.25, 1 - fraction)):
        assert float((y == value).double().mean()) == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_quantization(bits: int) -> None:
    x = draw((1, 3, 64, 64), 1)
    y = Quantization(bits)(x, streams())
    levels = np.linspace(-1, 1, 2**bits)
    nearest = levels[np.abs(np.clip(x.numpy(), -1, 1)[..., None] - levels).argmin(-1)]
    np.testing.assert_allclose(y, nearest, atol=1e-12)
    uniform = torch.linspace(-1, 1, 100_001, dtype=torch.float64).reshape(1, 1, 1, -1)
    error = Quantization(bits)(uniform, streams()) - uniform
    assert float(error.square().mean().sqrt()) == pytest.approx(Quantization(bits).sigma_y, rel=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows(channels: int) -> None:
    x = photograph(channels)
    y = Jpeg(30)(x, streams())
    image = ((x + 1) * 127.5).round().to(torch.uint8)[0].permute(1, 2, 0).numpy()
    file = io.BytesIO()
    PILImage.fromarray(image if channels == 3 else image[..., 0]).save(file, "JPEG", quality=30)
    want = np.asarray(PILImage.open(file)).reshape(image.shape)
    np.testing.assert_allclose((y[0].permute(1, 2, 0) + 1) * 127.5, want, atol=1e-6)


@pytest.mark.parametrize("image", [astronaut, chelsea, coffee])
def test_jpeg_errors_fall_with_quality_and_are_near_their_nominal_value(image: Callable[[], np.ndarray]) -> None:
    x = photograph(image=image)
    errors = {q: float((Jpeg(q)(x, streams()) - x).square().mean().sqrt()) for q in (5, 10, 30, 50, 75, 95)}
    assert list(errors.values()) == sorted(errors.values(), reverse=True)
    for quality, error in errors.items():
        assert 1 / 1.5 < Jpeg(quality).sigma_y / error < 1.5
    assert 0 < Jpeg(100).sigma_y <= Jpeg(99).sigma_y


@pytest.mark.parametrize("value", [-1.5, 1.5])
def test_jpeg_clips(value: float) -> None:
    torch.testing.assert_close(
        Jpeg(90)(grey(value, 16), streams(IDS)), grey(math.copysign(1, value), 16), rtol=0, atol=0.02
    )


@pytest.mark.parametrize("shape", [(1, 3, 60), (1, 2, 16, 16)])
def test_jpeg_takes_pictures_only(shape: tuple[int, ...]) -> None:
    with pytest.raises(Unsupported, match="1 or 3 channels"):
        Jpeg(50)(torch.zeros(shape), streams(dtype=torch.float32))


@pytest.mark.parametrize("law", ALL, ids=name)
def test_laws_of_intensity_refuse_measurements_that_are_no_picture(law: Noise) -> None:
    law.check(BicubicDownsample((3, 16, 16), streams(), factor=2))
    for op in (WalshCompressedSensing((3, 16, 16), streams(), ratio=0.5), PhaseRetrieval((3, 16, 16), streams())):
        if isinstance(law, Gaussian | NoNoise):
            law.check(op)
        else:
            with pytest.raises(Unsupported, match=name(law)):
                law.check(op)


@pytest.mark.parametrize("law", ALL, ids=name)
def test_no_noise_in_a_hole(law: Noise) -> None:
    mask = torch.ones(3, 1, 24, 32, dtype=torch.float64)
    for i in range(3):
        mask[i, :, 4 + i : 14 + i, 6:20] = 0
    clean = draw((3, 3, 24, 32), 1).clamp(-1, 1) * mask
    y = law(clean, streams(IDS), mask)
    hole = (mask == 0).expand_as(y)
    assert (y[hole] == 0).all()
    if not isinstance(law, NoNoise):
        assert not torch.equal(y, clean)
        assert torch.equal(y[~hole], law(clean, streams(IDS))[~hole])


@pytest.mark.parametrize("law", ALL, ids=name)
def test_noise_belongs_to_the_image(law: Noise) -> None:
    clean = draw((3, 3, 24, 32), 1).clamp(-1, 1)
    y = law(clean, streams(IDS))
    assert torch.equal(law(clean, streams(IDS)), y)
    assert torch.equal(law(clean.flip(0), streams(IDS[::-1])).flip(0), y)
    for i, image in enumerate(IDS):
        assert torch.equal(law(clean[i : i + 1], streams((image,)))[0], y[i])


@pytest.mark.parametrize("law", RANDOM, ids=name)
def test_images_have_different_noise(law: Noise) -> None:
    y = law(torch.full((2, 3, 24, 32), 0.4, dtype=torch.float64), streams(("a", "b")))
    assert not torch.equal(y[0], y[1])
    other = law(torch.full((2, 3, 24, 32), 0.4, dtype=torch.float64), streams(("a", "b"), seed=8))
    assert not torch.equal(y, other)


@pytest.mark.parametrize("law", RANDOM, ids=name)
def test_noise_comes_from_the_measurement_stream(law: Noise) -> None:
    """Other purposes drawn before must not change y; an earlier draw of the same purpose must."""
    clean = torch.full((3, 3, 24, 32), 0.4, dtype=torch.float64)
    used, spent = streams(IDS), streams(IDS)
    for purpose in ("mask", "kernel", "init", "step"):
        used.normal(purpose, (5,))
    spent.normal("measurement", (5,))
    assert torch.equal(law(clean, used), law(clean, streams(IDS)))
    assert not torch.equal(law(clean, spent), law(clean, streams(IDS)))


@pytest.mark.parametrize("law", ALL, ids=name)
def test_dtype_is_kept(law: Noise) -> None:
    clean = draw((3, 3, 24, 32), 1, torch.float32).clamp(-1, 1)
    assert law(clean, streams(IDS, torch.float32)).dtype == torch.float32


@pytest.mark.parametrize(
    "law", [Gaussian(0.0, "zero_one"), Speckle(0.0, "zero_one"), SaltPepper(0.0), NoNoise()], ids=name
)
def test_zero_noise_changes_nothing(law: Noise) -> None:
    clean = draw((3, 3, 24, 32), 1)
    assert torch.equal(law(clean, streams(IDS)), clean)
    assert law.sigma_y == 0
