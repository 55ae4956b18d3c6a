"""LPIPS against the `lpips` package, which finds the same files through torch's hub in its own way."""

import dataclasses
import warnings
from pathlib import Path
from unittest import mock

import backbones
import lpips
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from safari_bench.metrics import Lpips, Psnr, Suite, perceptual
from safari_bench.metrics.weights import BACKBONES

NETS = {"alex": 31, "vgg": 16}
every_net = pytest.mark.parametrize("net", NETS)


def pictures(seed: int, *shape: int) -> Tensor:
    """8-bit pixels on [-1, 1]."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)) / 127.5 - 1


def theirs(net: str) -> nn.Module:
    """The library's own, in float32, which loads what $TORCH_HOME holds. Random weights are not drawn first."""
    initials = {name: mock.DEFAULT for name in ("normal_", "kaiming_normal_", "kaiming_uniform_", "uniform_")}
    with warnings.catch_warnings(), mock.patch.multiple(nn.init, **initials):
        warnings.simplefilter("ignore")
        return lpips.LPIPS(net=net, verbose=False)


@pytest.fixture(autouse=True)
def forgotten() -> None:
    perceptual._network.cache_clear()


@every_net
def test_equal_to_the_library_per_image(published: Path, net: str) -> None:
    x, x_hat = pictures(0, 4, 3, 48, 40), pictures(1, 4, 3, 48, 40)
    x_hat[1] = (0.9 * x_hat[1] * 127.5).round() / 127.5
    x_hat[2] = x[2].flip(-1)
    ours = Suite([Lpips(net)]).metrics[0](x_hat, x)
    with torch.no_grad():
        expected = theirs(net)(x_hat, x).flatten()
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert ours.unique().numel() == 4 and ours.min() > 1e-3  # random features do tell these pictures apart


@pytest.mark.slow
@every_net
def test_equal_to_the_library_with_files_of_the_full_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: str
) -> None:
    name = Lpips(net).backbone
    folder = tmp_path / "hub" / "checkpoints"
    backbones.write(folder, (name,), seed=7, full=True)
    path = folder / BACKBONES[name].file
    assert path.stat().st_size / 1e6 == pytest.approx(BACKBONES[name].megabytes, rel=0.01)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(BACKBONES, name, dataclasses.replace(BACKBONES[name], prefix=backbones.digest(path)[:8]))
    x, x_hat = pictures(2, 2, 3, 64, 64), pictures(3, 2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(net)(x_hat, x).flatten()
    np.testing.assert_allclose(Lpips(net)(x_hat, x), expected, atol=1e-6)


@every_net
def test_a_batch_equals_its_images_alone_to_the_last_bit(published: Path, net: str) -> None:
    metric, x, x_hat = Lpips(net), pictures(4, 3, 3, 32, 33), pictures(5, 3, 3, 32, 33)
    together = metric(x_hat, x)
    alone = [float(metric(x_hat[i : i + 1], x[i : i + 1])) for i in (2, 0, 1)]
    assert [float(together[i]) for i in (2, 0, 1)] == alone
    assert torch.equal(metric(x_hat.contiguous(memory_format=torch.channels_last), x), together)


@every_net
def test_equal_images_score_zero_and_the_order_does_not_matter(published: Path, net: str) -> None:
    metric, x, x_hat = Lpips(net), pictures(6, 1, 3, 32, 32), pictures(7, 1, 3, 32, 32)
    assert float(metric(x, x)) == 0
    assert float(metric(x, x_hat)) == float(metric(x_hat, x))


@every_net
def test_the_smallest_picture(published: Path, net: str) -> None:
    side = NETS[net]
    score = Lpips(net)(pictures(8, 1, 3, side, side), pictures(9, 1, 3, side, side))
    assert bool(score.isfinite().all())
    with pytest.raises(ValueError, match=f"expected at least {side} x {side}"):
        Lpips(net)(pictures(8, 1, 3, side - 1, side), pictures(9, 1, 3, side - 1, side))


@pytest.mark.parametrize("absent", [False, True])
def test_what_cannot_be_scored_is_refused(
    published: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, absent: bool
) -> None:
    if absent:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    suite = Suite([Lpips()], download_seconds=0.0)
    with pytest.raises(ValueError, match="channels: got 1"):
        suite(pictures(0, 1, 1, 32, 32), pictures(1, 1, 1, 32, 32))
    spoilt = pictures(0, 2, 3, 32, 32)
    spoilt[1, 0, 3, 4] = torch.nan
    with pytest.raises(ValueError, match="image 1 of the batch"):
        suite(spoilt, pictures(1, 2, 3, 32, 32))


def test_another_net_is_refused() -> None:
    with pytest.raises(ValueError, match=r"net: got 'squeeze', expected one of \['vgg', 'alex'\]"):
        Lpips("squeeze")


def test_without_weights_the_column_is_nan_and_the_rest_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    suite = Suite([Psnr(), Lpips(), Lpips("alex")], download_seconds=0.0)
    scores = suite(pictures(0, 2, 3, 32, 32), pictures(1, 2, 3, 32, 32))
    assert list(scores) == ["psnr", "lpips_vgg", "lpips_alex"]
    assert scores["psnr"].isfinite().all()
    assert scores["lpips_vgg"].isnan().all() and scores["lpips_vgg"].shape == (2,)
    assert suite.absent == {"lpips_vgg", "lpips_alex"}
    assert [line.split(":")[0] for line in suite.notices] == ["lpips_vgg n/a", "lpips_alex n/a"]
    assert suite.describe()["lpips_vgg"]["weights"] is None


def test_the_suite_says_which_files_it_used(published: Path) -> None:
    told = Suite([Psnr(), Lpips("alex")]).describe()
    assert set(told) == {"lpips_alex"}
    assert told["lpips_alex"]["library"] == "lpips 0.1.4"
    assert told["lpips_alex"]["weights"] == "alexnet-owt-7be5be79.pth"
    assert told["lpips_alex"]["sha256"] == backbones.digest(published / "alexnet-owt-7be5be79.pth")


def test_a_suite_refuses_a_damaged_file_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / BACKBONES["vgg16"].file).write_bytes(b"half a download")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="expected 397923af"):
        Suite([Lpips()], download_seconds=0.0)


@pytest.mark.gpu
@every_net
def test_a_gpu_gives_the_number_of_the_cpu(published: Path, net: str) -> None:
    metric, x, x_hat = Lpips(net), pictures(4, 2, 3, 64, 64), pictures(5, 2, 3, 64, 64)
    on_cpu = metric(x_hat, x)
    np.testing.assert_allclose(metric(x_hat.cuda(), x.cuda()).cpu(), on_cpu, rtol=1e-10)
