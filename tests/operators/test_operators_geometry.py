"""What is drawn per image (masks, kernels, permutations), and sizes and values that are refused."""

from typing import Any

import numpy as np
import pytest
import torch
from dense_oracles import draw, streams

from safari_bench import operators as ops
from safari_bench.operators import BoxInpainting, MotionBlur, RandomInpainting, WalshCompressedSensing

IDS = tuple(f"image-{i}" for i in range(40))
DRAWN: list[tuple[Any, dict[str, Any], str]] = [
    (BoxInpainting, {"hole": 5, "margin": 1}, "gains"),
    (RandomInpainting, {"fraction": 0.6}, "gains"),
    (MotionBlur, {"taps": 9, "intensity": 0.5}, "kernels"),
    (WalshCompressedSensing, {"ratio": 0.5}, "permutation"),
    (WalshCompressedSensing, {"ratio": 0.5}, "rows"),
]


@pytest.mark.parametrize(("operator", "keywords", "name"), DRAWN)
def test_geometry_belongs_to_the_image(operator: Any, keywords: dict[str, Any], name: str) -> None:
    def geometry(ids: tuple[str, ...], seed: int = 7) -> torch.Tensor:
        return getattr(operator((3, 16, 24), streams(ids, seed=seed), **keywords), name)

    all_of_them = geometry(IDS[:6])
    assert len({tuple(g.flatten().tolist()) for g in all_of_them}) >= 5
    assert torch.equal(geometry(IDS[:6]), all_of_them)
    assert torch.equal(geometry(IDS[5::-1]).flip(0), all_of_them)
    assert all(torch.equal(geometry((IDS[i],))[0], all_of_them[i]) for i in range(6))
    assert not torch.equal(geometry(IDS[:6], seed=8), all_of_them)


@pytest.mark.parametrize(("hole", "margin"), [(5, 2), (4, 0), (8, 4), (1, 7)])
def test_box_is_a_square_inside_the_margin(hole: int, margin: int) -> None:
    op = BoxInpainting((3, 16, 24), streams(IDS), hole=hole, margin=margin)
    assert op.observed.shape == (40, 1, 16, 24)
    corners = set()
    for mask in op.observed[:, 0]:
        rows, columns = np.nonzero(mask.numpy() == 0)
        top, left = rows.min(), columns.min()
        assert len(rows) == hole**2
        assert (rows.max() - top, columns.max() - left) == (hole - 1, hole - 1)
        assert margin <= top <= 16 - hole - margin
        assert margin <= left <= 24 - hole - margin
        corners.add((top, left))
    places = (16 - hole - 2 * margin + 1) * (24 - hole - 2 * margin + 1)
    assert len(corners) > min(places, 40) / 2


def test_box_reaches_both_ends_of_its_range() -> None:
    op = BoxInpainting((1, 8, 8), streams(tuple(map(str, range(200)))), hole=4, margin=1)
    tops = {int(np.nonzero(mask.numpy() == 0)[0].min()) for mask in op.observed[:, 0]}
    assert tops == {1, 2, 3}


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.7, 0.92, 0.333])
def test_random_mask_removes_exactly_its_fraction(fraction: float) -> None:
    op = RandomInpainting((3, 16, 24), streams(IDS), fraction=fraction)
    assert ((op.observed == 0).sum((1, 2, 3)) == round(fraction * 16 * 24)).all()
    assert set(op.observed.unique().tolist()) <= {0.0, 1.0}
    share = (op.observed == 0).double().mean(0)
    assert float(share.std()) <= 3 * (fraction * (1 - fraction) / 40) ** 0.5


@pytest.mark.parametrize("operator", [BoxInpainting, RandomInpainting])
def test_masked_measurement(operator: Any) -> None:
    keywords = {"hole": 5, "margin": 1} if operator is BoxInpainting else {"fraction": 0.6}
    op = operator((3, 16, 24), streams(IDS[:4]), **keywords)
    x = draw((4, 3, 16, 24), 1)
    y = op.A(x)
    hole = (op.observed == 0).expand_as(y)
    assert (y[hole] == 0).all()
    assert torch.equal(y[~hole], x[~hole])
    assert torch.equal(op.baseline(y), y)
    assert torch.equal(op.observed_count(y), 3 * op.observed.sum((1, 2, 3)))


def test_unmasked_operators_observe_everything() -> None:
    op = ops.BicubicDownsample((3, 16, 24), streams(IDS[:4]), factor=4)
    assert op.observed is None
    assert op.observed_count(op.A(draw((4, 3, 16, 24)))).tolist() == [3 * 4 * 6.0] * 4


@pytest.mark.parametrize("taps", [1, 2, 9, 61])
@pytest.mark.parametrize("intensity", [0.0, 0.5, 1.0])
def test_motion_kernels_are_centred_exposures(taps: int, intensity: float) -> None:
    kernels = MotionBlur((1, 64, 72), streams(IDS), taps=taps, intensity=intensity).kernels
    assert kernels.shape == (40, 1, taps, taps)
    assert (kernels >= 0).all()
    grid = torch.arange(taps, dtype=torch.float64)
    for moment, want in ((1, 1), (grid, taps // 2), (grid[:, None], taps // 2)):
        np.testing.assert_allclose((kernels * moment).sum((1, 2, 3)), want, atol=1e-10)


def test_motion_blur_gets_shakier_with_intensity() -> None:
    """A straight exposure has no width across its direction; a shaky one has, and stays closer to its middle."""
    across, along = [], []
    grid = torch.arange(61, dtype=torch.float64) - 30
    for intensity in (0.0, 0.3, 1.0):
        k = MotionBlur((1, 64, 64), streams(IDS), taps=61, intensity=intensity).kernels[:, 0]
        yy, xx = (k.sum(2) * grid**2).sum(1), (k.sum(1) * grid**2).sum(1)
        xy = (k * grid[:, None] * grid).sum((1, 2))
        spread = torch.linalg.eigvalsh(torch.stack([yy, xy, xy, xx], 1).reshape(-1, 2, 2))
        across.append(float((spread[:, 0] / spread[:, 1]).mean()))
        along.append(float(spread[:, 1].mean()))
    assert across[0] < 0.005 < 5 * across[0] < across[1] < across[2]
    assert along[0] > along[1] > along[2]
    # a straight exposure of length L has a variance of L^2 / 12, with L from 30 to 60 px
    assert 75 < along[0] < 300


def test_walsh_keeps_the_mean_of_every_block() -> None:
    op = WalshCompressedSensing((3, 12, 20), streams(IDS[:3]), ratio=0.25)
    x = draw((3, 3, 12, 20), 1)
    y = op.A(x)
    assert y.shape == (3, 3, 60)
    for i in range(3):
        blocks = x[i].flatten(1)[:, op.permutation[i, 0]].reshape(3, 15, 16)
        np.testing.assert_allclose(y[i, :, :15], blocks.mean(-1) * 4, atol=1e-12)


def test_walsh_mixes_more_than_pairs_of_pixels() -> None:
    """Half the rows in natural order would see only sums of pairs: A^+ A would have two entries per row."""
    op = WalshCompressedSensing((1, 16, 16), streams(), ratio=0.5)
    basis = torch.eye(256, dtype=torch.float64).reshape(256, 1, 16, 16)
    projection = op.pinv(op.A(basis)).reshape(256, 256)
    assert int((projection[0].abs() > 1e-10).sum()) > 64
    np.testing.assert_allclose(projection.diagonal(), 0.5, atol=1e-12)


@pytest.mark.parametrize("ratio", [0.5, 0.25, 1.0])
def test_walsh_at_the_size_of_an_embedded_task(ratio: float) -> None:
    op = WalshCompressedSensing((3, 64, 48), streams(IDS[:2]), ratio=ratio)
    x = draw((2, 3, 64, 48), 1)
    y = op.A(x)
    assert y.shape == (2, 3, round(ratio * 64 * 48))
    np.testing.assert_allclose(op.A(op.pinv(y)), y, atol=1e-10)
    np.testing.assert_allclose(op.pinv(y).square().sum(), y.square().sum(), rtol=1e-12)


REFUSED: list[tuple[str, tuple[int, int, int], dict[str, Any], str]] = [
    ("BicubicDownsample", (3, 65, 64), {"factor": 4}, "65 x 64.*divisible by 4"),
    ("AveragePool", (3, 64, 65), {"factor": 4}, "64 x 65.*divisible by 4"),
    ("BicubicDownsample", (3, 63, 63), {"factor": 3}, "factor 3.*2, 4, 8, 16"),
    ("BoxInpainting", (3, 16, 24), {"hole": 12, "margin": 3}, "12 px with margins of 3 px.*<= 16"),
    ("BoxInpainting", (3, 16, 16), {"hole": 16, "margin": 0}, "removes the whole"),
    ("BoxInpainting", (3, 16, 16), {"hole": 0, "margin": 0}, "hole 0"),
    ("BoxInpainting", (3, 16, 16), {"hole": 4, "margin": -1}, "margin -1"),
    ("RandomInpainting", (3, 16, 16), {"fraction": 1.0}, "fraction 1.0"),
    ("RandomInpainting", (3, 16, 16), {"fraction": -0.1}, "fraction -0.1"),
    ("RandomInpainting", (3, 16, 16), {"fraction": float("nan")}, "fraction nan"),
    ("RandomInpainting", (3, 16, 16), {"fraction": 0.999}, "removes all 256 pixels"),
    ("GaussianBlur", (3, 16, 24), {"taps": 33, "std": 3.0, "boundary": "reflect"}, "33 taps.*at most 31"),
    ("GaussianBlur", (3, 16, 24), {"taps": 17, "std": 3.0, "boundary": "circular"}, "17 taps.*at most 16"),
    ("GaussianBlur", (3, 16, 24), {"taps": 0, "std": 3.0, "boundary": "reflect"}, "0 taps"),
    ("GaussianBlur", (3, 16, 24), {"taps": 5, "std": 0.0, "boundary": "reflect"}, "deviation of 0.0"),
    ("AnisotropicBlur", (3, 16, 24), {"taps": 5, "std_h": 1.0, "std_w": -1.0, "boundary": "reflect"}, "of -1.0"),
    ("UniformBlur", (3, 16, 24), {"taps": 5, "boundary": "zero"}, "'zero'.*reflect, circular"),
    ("MotionBlur", (3, 16, 24), {"taps": 17, "intensity": 0.5}, "17 taps.*1 to 16"),
    ("MotionBlur", (3, 16, 24), {"taps": 0, "intensity": 0.5}, "0 taps"),
    ("MotionBlur", (3, 16, 24), {"taps": 5, "intensity": 1.5}, "intensity 1.5"),
    ("Colorization", (1, 16, 24), {}, "1 channel"),
    ("WalshCompressedSensing", (3, 15, 24), {"ratio": 0.5}, "is 8; expected at least 16"),
    ("WalshCompressedSensing", (3, 16, 24), {"ratio": 0.0}, "ratio 0.0"),
    ("WalshCompressedSensing", (3, 16, 24), {"ratio": 1.5}, "ratio 1.5"),
    ("WalshCompressedSensing", (3, 12, 20), {"ratio": 0.05}, "keeps 12 of 240.*15 blocks"),
    ("PhaseRetrieval", (3, 16, 24), {"oversample": -1.0}, "oversample -1.0"),
    ("HighDynamicRange", (3, 16, 24), {"scale": 0.0}, "scale 0.0"),
]


@pytest.mark.parametrize(("name", "shape", "keywords", "message"), REFUSED)
def test_what_cannot_work_is_refused_with_a_reason(
    name: str, shape: tuple[int, int, int], keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(ops, name)(shape, streams(), **keywords)


def test_narrow_even_gaussian_has_a_middle() -> None:
    """Truncation at 4 std must leave an even kernel its two middle taps, which are half a pixel away."""
    op = ops.GaussianBlur((1, 8, 8), streams(), taps=4, std=0.1, boundary="circular")
    x = draw((1, 1, 8, 8), 1)
    want = ops.UniformBlur((1, 8, 8), streams(), taps=2, boundary="circular").A(x)
    np.testing.assert_allclose(op.A(x), want, atol=1e-12)
