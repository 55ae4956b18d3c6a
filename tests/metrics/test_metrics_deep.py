"""deep_distance: the network is the published one, and the score orders pictures as a perceptual distance should."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from skimage import data
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from safari_bench.data import Photos
from safari_bench.metrics import DeepDistance, DeepSetScores, Lpips, Psnr, Suite
from safari_bench.metrics.deep import network, stages
from safari_bench.metrics.weights import BACKBONES, Found, WeightsError, find

SCORE = DeepDistance()
CPU = torch.device("cpu")


def model() -> torch.nn.Module:
    found = find(BACKBONES["efficientnet_lite0"])
    assert found is not None
    return network(found)


def photographs(size: int, n: int) -> Tensor:
    """Test photographs on [-1, 1], (n, 3, size, size)."""
    dataset = Photos(split="test", size=size)
    return torch.stack([dataset.load(i) for i in range(n)]).float()


def quantised(x: Tensor) -> Tensor:
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def blurred(x: Tensor, std: float) -> Tensor:
    reach = 4 * int(np.ceil(std))
    weights = torch.exp(-torch.arange(-reach, reach + 1, dtype=x.dtype).square() / (2 * std**2))
    kernel = (weights / weights.sum())[None, None, None].expand(3, 1, 1, -1)
    padded = torch.nn.functional.pad(x, (reach,) * 4, mode="reflect")
    rows = torch.nn.functional.conv2d(padded, kernel, groups=3)
    return quantised(torch.nn.functional.conv2d(rows, kernel.mT, groups=3))


def noisy(x: Tensor, std: float) -> Tensor:
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(x.shape).astype(np.float32))
    return quantised(x + std * noise)


def jpeg(x: Tensor, quality: float) -> Tensor:
    found = []
    for picture in x:
        file = io.BytesIO()
        pixels = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(quality))
        found.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 127.5 - 1)
    return torch.stack(found)


def test_the_coffee_is_an_espresso() -> None:
    """Class 967 of ImageNet: weights, order of tensors, normalisation and size are right together."""
    picture = torch.from_numpy(data.coffee()).permute(2, 0, 1)[None, :, :, 100:500] / 255
    pixels = interpolate(picture, size=(224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        chance = model()(2 * pixels - 1).softmax(1)[0]
    assert int(chance.argmax()) == 967 and float(chance[967]) > 0.9


def test_logits_are_those_of_the_weights_own_package() -> None:
    found = find(BACKBONES["efficientnet_lite0"])
    assert found is not None
    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(found.path, weights_only=True))
    pixels = interpolate(photographs(64, 2), size=(224, 224), mode="bicubic")
    with torch.no_grad():
        torch.testing.assert_close(model()(pixels), theirs(pixels), rtol=0, atol=1e-5)


def test_five_stages_at_any_size() -> None:
    for size, side in (((64, 64), 128), ((16, 40), 128), ((256, 256), 256)):
        found = stages(model(), torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).double())
        assert [part.shape[1] for part in found] == [16, 24, 40, 112, 320]
        assert [part.shape[2] for part in found] == [side // 2**k for k in range(1, 6)]
    assert found[0].dtype == torch.float32


def test_range_symmetry_and_independence_of_the_batch() -> None:
    x = photographs(64, 3)
    x_hat = noisy(x, 0.2)
    scores = SCORE(x_hat, x)
    assert scores.dtype == torch.float64 and scores.shape == (3,)
    assert SCORE(x, x).tolist() == [0.0] * 3
    assert scores.tolist() == [float(SCORE(x_hat[i : i + 1], x[i : i + 1])) for i in range(3)]
    torch.testing.assert_close(SCORE(x, x_hat), scores)
    assert 0 < float(SCORE(-x, x).max()) <= 20


def test_grey_is_scored_and_what_is_too_small_refused() -> None:
    grey = photographs(64, 1)[:, :1]
    torch.testing.assert_close(SCORE(-grey, grey), SCORE((-grey).expand(-1, 3, -1, -1), grey.expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match="at least 16 x 16"):
        SCORE(grey[..., :15], grey[..., :15])


@pytest.mark.parametrize(
    ("damage", "levels"),
    [(blurred, (0.5, 0.7, 1, 1.5, 2, 3)), (noisy, (0.02, 0.05, 0.1, 0.2, 0.4)), (jpeg, (95, 85, 70, 50, 30, 15, 5))],
)
@pytest.mark.parametrize(("size", "n"), [(64, 8), (256, 2)])
def test_more_damage_is_a_larger_distance_on_every_photograph(damage, levels, size, n) -> None:
    x = photographs(size, n)
    scores = torch.stack([SCORE(damage(x, level), x) for level in levels])
    assert bool((scores.diff(dim=0) > 0).all()), scores


def displaced(by: int) -> tuple[Tensor, Tensor, Tensor]:
    """Crops of photographs, the same displaced by some pixels, and the mean over all displacements up to that."""
    photographs_256, triples = photographs(256, 6), []
    for top, left in ((8, 8), (8, 184), (96, 96), (184, 8), (184, 184)):
        at = {
            (a, b): photographs_256[..., top + a : top + a + 64, left + b : left + b + 64]
            for a in range(-by, by + 1)
            for b in range(-by, by + 1)
        }
        triples.append((at[0, 0], at[by, by], quantised(torch.stack(list(at.values())).mean(0))))
    x, sharp, mean = (torch.cat(parts) for parts in zip(*triples, strict=True))
    return x, sharp, mean


def test_a_sharp_displaced_picture_beats_the_blurred_mean_where_psnr_says_the_opposite() -> None:
    """The mean is the posterior mean of a picture whose place is not known: the best PSNR, and blurred."""
    x, sharp, mean = displaced(3)
    psnr, prefers = Psnr(), SCORE(sharp, x) < SCORE(mean, x)
    assert bool((psnr(mean, x) > psnr(sharp, x)).all())
    assert float(prefers.double().mean()) > 0.7


def test_other_grass_beats_grass_without_texture() -> None:
    x, other, flat = [], [], []
    for name in ("brick", "grass", "gravel"):
        picture = torch.from_numpy(getattr(data, name)())[None, None].float()
        texture = interpolate(picture, size=(256, 256), mode="bilinear", antialias=True) / 127.5 - 1
        texture = quantised(texture).expand(-1, 3, -1, -1)
        for top, left in ((0, 0), (0, 64), (64, 0), (64, 64)):
            x.append(texture[..., top : top + 64, left : left + 64])
            other.append(texture[..., top + 96 : top + 160, left + 112 : left + 176])
    truth, sharp = torch.cat(x), torch.cat(other)
    flat = blurred(truth, 5)
    psnr = Psnr()
    assert bool((psnr(flat, truth) > psnr(sharp, truth)).all())
    assert float((SCORE(sharp, truth) < SCORE(flat, truth)).double().mean()) > 0.8


def test_the_suite_says_what_computed_the_score() -> None:
    told = Suite([Psnr(), DeepDistance()], deep_sets=DeepSetScores(), download_seconds=0.0).describe()
    assert set(told) == {"deep_distance", "deep_frechet", "deep_kernel"}
    assert told["deep_distance"]["sha256"] == BACKBONES["efficientnet_lite0"].prefix
    assert told["deep_distance"]["library"].startswith("timm ")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="do not fit"):
        network(Found(path, "0"))


def test_the_network_is_imported_with_the_first_score_only() -> None:
    import subprocess

    code = "import sys, safari_bench.metrics; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def save(folder: Path, pictures: Tensor) -> list[Path]:
    folder.mkdir(parents=True)
    paths = []
    for k, picture in enumerate(pictures):
        paths.append(folder / f"{k:03d}.png")
        Image.fromarray(((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()).save(paths[-1])
    return paths


def test_set_scores_grow_with_damage_and_say_how_many_pictures(tmp_path: Path) -> None:
    x, sets = photographs(64, 6), DeepSetScores(least=6)
    clean, found = save(tmp_path / "clean", x), {}
    for level in (0.7, 1.5, 3):
        found[level] = sets(save(tmp_path / str(level), blurred(x, level)), clean, tmp_path / "cache", CPU)
    equal = sets(clean, clean, tmp_path / "cache", CPU)
    assert equal["scores"]["deep_frechet"] == pytest.approx(0, abs=1e-5) and equal["n"] == 6
    for name in ("deep_frechet", "deep_kernel"):
        assert found[0.7]["scores"][name] < found[1.5]["scores"][name] < found[3]["scores"][name]
    (note,) = equal["notes"]
    assert "6 pictures, fewer than 256" in note
    too_few = DeepSetScores(least=7)(clean, clean, tmp_path / "cache", CPU)
    assert too_few["scores"] == {} and too_few["notes"] == [] and too_few["n"] == 6
    with pytest.raises(ValueError, match=r"deep_sets\.least: got 1, expected at least 2"):
        DeepSetScores(1)


def test_set_scores_are_those_of_scipy(tmp_path: Path) -> None:
    """The Frechet distance of two Gaussians, written out."""
    from scipy.linalg import sqrtm

    x = photographs(64, 5)
    clean, damaged = save(tmp_path / "clean", x), save(tmp_path / "damaged", noisy(x, 0.1))
    got = DeepSetScores(least=2)(damaged, clean, tmp_path / "cache", CPU)["scores"]["deep_frechet"]
    features = []
    for paths in (clean, damaged):
        pixels = [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].double() / 255 for path in paths]
        features.append(
            torch.cat([normalize(stages(model(), one)[-1].mean((2, 3))) for one in pixels]).double().numpy()
        )
    means, covariances = [f.mean(0) for f in features], [np.cov(f, rowvar=False) for f in features]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert got == pytest.approx(expected, rel=1e-3)


@pytest.mark.weights
@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_it_ranks_damaged_photographs_as_lpips_does(real_weights: None, net: str) -> None:
    from scipy.stats import spearmanr

    x = photographs(64, 8)
    damages = [(blurred, (0.7, 1, 2, 3)), (noisy, (0.05, 0.1, 0.2, 0.4)), (jpeg, (70, 50, 15, 5))]
    pairs = [(damage(x, level), x) for damage, levels in damages for level in levels]
    lpips = Suite([Lpips(net)], download_seconds=10.0)
    assert not lpips.absent, "safari-bench weights fetch"
    ours = torch.cat([SCORE(*pair) for pair in pairs])
    theirs = torch.cat([lpips(*pair)[f"lpips_{net}"] for pair in pairs])
    assert spearmanr(ours, theirs).statistic > 0.8
