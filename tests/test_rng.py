"""Random streams: what a draw depends on, what it must not depend on, and that it has the law it claims.

Statistical bounds are set for a false alarm of about one in a million per test, had the seed not been fixed.
"""

import hashlib

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from safari_bench.rng import Streams

IDS = [f"{i:05d}" for i in range(64)]

#: The first draws of Streams(7, "photos", ["00003"]) for "measurement", with numpy 2.
GOLDEN = [-0.8569135665893555, 0.02223466895520687, -0.8271851539611816, -0.00463909050449729]


def draw(seed: int = 0, dataset: str = "photos", ids: list[str] | None = None, purpose: str = "noise") -> Tensor:
    return Streams(seed, dataset, IDS[:4] if ids is None else ids).normal(purpose, (3, 8))


@pytest.mark.parametrize("method", ["normal", "uniform"])
def test_a_draw_depends_neither_on_the_batch_nor_on_the_place_in_it(method: str) -> None:
    def drawn(ids: list[str]) -> Tensor:
        return getattr(Streams(3, "photos", ids), method)("noise", (3, 8))

    together = drawn(["a", "b", "c", "d"])
    assert torch.equal(drawn(["d", "b"]), together[[3, 1]])
    for i, image_id in enumerate("abcd"):
        assert torch.equal(drawn([image_id])[0], together[i])


def test_seed_dataset_id_and_purpose_each_change_the_draw() -> None:
    reference = draw(ids=["a"])
    assert torch.equal(draw(ids=["a"]), reference)
    others = [draw(seed=1, ids=["a"]), draw(dataset="leaves", ids=["a"]), draw(ids=["b"]), draw(ids=["a"], purpose="z")]
    for i, one in enumerate([reference, *others]):
        for two in others[i:]:
            assert not bool((one == two).any())


def test_fields_of_the_key_do_not_run_into_each_other() -> None:
    assert not torch.equal(draw(1, "1a", ["b"]), draw(11, "a", ["b"]))
    assert not torch.equal(draw(1, "a", ["bc"], "d"), draw(1, "ab", ["c"], "d"))
    assert not torch.equal(draw(1, "a", ["b"], "cd"), draw(1, "a", ["bc"], "d"))


def test_a_second_draw_continues_the_stream() -> None:
    streams = Streams(0, "photos", ["a", "b"])
    parts = torch.cat([streams.normal("noise", (5,)), streams.normal("noise", (11,))], dim=1)
    assert torch.equal(parts, Streams(0, "photos", ["a", "b"]).normal("noise", (16,)))
    assert parts.unique().numel() == parts.numel()


def test_one_purpose_does_not_advance_another() -> None:
    disturbed = Streams(0, "photos", ["a", "b"])
    disturbed.normal("mask", (100,))
    disturbed.uniform("kernel", (7,))
    assert torch.equal(disturbed.normal("noise", (16,)), Streams(0, "photos", ["a", "b"]).normal("noise", (16,)))


@pytest.mark.parametrize("method", ["normal", "uniform"])
def test_float64_sees_the_numbers_of_float32(method: str) -> None:
    single = getattr(Streams(0, "photos", IDS), method)("noise", (16,))
    double = getattr(Streams(0, "photos", IDS, dtype=torch.float64), method)("noise", (16,))
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert torch.equal(single.double(), double)


def test_the_device_does_not_enter_the_key() -> None:
    """On the meta device values are dropped, but the generators must have moved on exactly as on the CPU."""
    elsewhere, here = Streams(0, "photos", ["a"], device="meta"), Streams(0, "photos", ["a"])
    assert elsewhere.normal("noise", (6,)).device.type == "meta"
    here.normal("noise", (6,))
    assert elsewhere.generators("noise")[0].random() == here.generators("noise")[0].random()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_sees_the_numbers_of_the_cpu() -> None:
    on_gpu = Streams(0, "photos", IDS, device="cuda").normal("noise", (16,))
    assert on_gpu.is_cuda and torch.equal(on_gpu.cpu(), Streams(0, "photos", IDS).normal("noise", (16,)))


def test_the_key_is_the_sha_256_of_the_four_names() -> None:
    """Published measurements rest on this: a change of the key, or of numpy's streams, changes every one of them."""
    digest = hashlib.sha256(b"7\x1fphotos\x1f00003\x1fmeasurement").digest()
    key = np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key)).standard_normal(4, dtype=np.float32)
    drawn = Streams(7, "photos", ["00003"]).normal("measurement", (4,))[0]
    assert drawn.tolist() == expected.tolist()
    assert drawn.tolist() == pytest.approx(GOLDEN, abs=1e-6)


def test_shapes_and_length() -> None:
    streams = Streams(0, "photos", ["a", "b", "c"])
    assert len(streams) == 3
    assert streams.normal("noise", (3, 4, 5)).shape == (3, 3, 4, 5)
    assert streams.uniform("position", ()).shape == (3,)
    assert streams.generators("noise") is streams.generators("noise")


def test_normal_draws_are_standard_normal() -> None:
    z = Streams(0, "photos", IDS).normal("noise", (4096,)).double().flatten().numpy()
    n = z.size
    assert abs(z.mean()) < 5 * n**-0.5
    assert abs((z**2).mean() - 1) < 5 * (2 / n) ** 0.5
    assert abs((z**3).mean()) < 5 * (15 / n) ** 0.5
    assert abs((z**4).mean() - 3) < 5 * (96 / n) ** 0.5
    assert stats.kstest(z, "norm").pvalue > 1e-6


def test_uniform_draws_fill_the_unit_interval() -> None:
    u = Streams(0, "photos", IDS).uniform("mask", (4096,)).double().flatten().numpy()
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-6


def test_streams_of_neighbouring_ids_purposes_and_seeds_are_uncorrelated() -> None:
    """Correlation of n draws has sd n^-1/2; the bound is Bonferroni's for one false alarm in a million."""
    n = 4096
    rows = [Streams(s, "photos", IDS).normal(p, (n,)) for s in (0, 1) for p in ("noise", "noise2")]
    correlation = np.corrcoef(torch.cat(rows).double().numpy())
    pairs = correlation[np.triu_indices_from(correlation, k=1)]
    assert np.abs(pairs).max() < stats.norm.isf(1e-6 / 2 / pairs.size) * n**-0.5


def test_draws_within_a_stream_are_uncorrelated_with_later_ones() -> None:
    streams = Streams(0, "photos", IDS)
    first, second = (streams.normal("noise", (4096,)).double().flatten() for _ in range(2))
    for lag in (0, 1, 2, 64):
        a, b = first[lag:], (second if lag == 0 else first)[: first.numel() - lag]
        assert abs((a * b).mean().item()) < 5.3 * a.numel() ** -0.5
