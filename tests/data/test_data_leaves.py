"""Generated pictures: their seeds, their statistics beside what is known of natural images, the dataset's contract."""

import hashlib
import math

import numpy as np
import pytest
import torch

from safari_bench.data import DataError, Dataset, Leaves, dead_leaves, digest, leaves, to_uint8
from safari_bench.data.leaves import leaf_generator, leaf_picture

N = 64


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """(64, 64, 64, 3), levels of 255."""
    return np.stack([leaf_picture(leaf_generator("test", i), 64, 64) for i in range(N)]).astype(float)


def power_slope(grey: np.ndarray) -> float:
    """Slope of log power, averaged over rings and pictures (b, n, n), against log frequency, 1..n/2 cycles per side."""
    n = grey.shape[1]
    window = np.outer(np.hanning(n), np.hanning(n))
    mean = (grey * window).sum((1, 2), keepdims=True) / window.sum()
    power = (np.abs(np.fft.fft2((grey - mean) * window)) ** 2).mean(0)
    cycles = n * np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n))
    rings = np.arange(1, n // 2 + 1)
    means = [power[np.abs(cycles - k) < 0.5].mean() for k in rings]
    return float(np.polyfit(np.log(rings), np.log(means), 1)[0])


class TestSeeds:
    def test_same_seed_same_bytes_others_differ(self) -> None:
        first, again = (leaf_picture(leaf_generator("train", 7), 24, 40) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        generator = leaf_generator("train", 7)
        assert (leaf_picture(generator, 24, 40) == first).all()
        assert (leaf_picture(generator, 24, 40) != first).mean() > 0.9  # the stream goes on

    def test_the_generator_is_philox_keyed_by_split_and_index(self) -> None:
        key = int.from_bytes(hashlib.sha256(b"leaves\x1ftuning\x1f3").digest()[:16], "little")
        expected = np.random.Generator(np.random.Philox(key=key)).random(4)
        np.testing.assert_array_equal(leaf_generator("tuning", 3).random(4), expected)

    def test_no_global_random_state_is_read_or_changed(self) -> None:
        np.random.seed(1)
        before = leaf_picture(leaf_generator("test", 0), 32, 32)
        np.random.seed(2)
        assert (leaf_picture(leaf_generator("test", 0), 32, 32) == before).all()
        assert np.random.get_state()[2] == np.random.RandomState(2).get_state()[2]

    def test_splits_share_no_picture(self) -> None:
        hashes = [r.sha256 for split in ("test", "tuning", "train") for r in Leaves(split, 16, 30).records()]
        assert len(set(hashes)) == 90

    def test_the_same_scene_at_another_size(self) -> None:
        """Layout and colours are drawn before anything whose number depends on the size."""
        small, large = (leaf_picture(leaf_generator("test", 5), n, n).astype(float) for n in (32, 128))
        other = leaf_picture(leaf_generator("test", 6), 32, 32).astype(float)
        reduced = large.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
        assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.8
        assert abs(np.corrcoef(other.ravel(), reduced.ravel())[0, 1]) < 0.5


class TestStatistics:
    def test_the_slope_is_measured_rightly(self) -> None:
        noise = np.random.default_rng(0).standard_normal((16, 128, 128))
        radius = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
        pink = np.fft.ifft2(np.fft.fft2(noise) / np.maximum(radius, 1 / 128)).real[:, :64, :64]
        assert abs(power_slope(noise[:, :64, :64])) < 0.1 and abs(power_slope(pink) + 2) < 0.2

    def test_power_falls_as_in_photographs(self, pictures: np.ndarray) -> None:
        """The photographs of this package, reduced to 64 px: -2.7 (train) and -2.3 (test)."""
        assert -3.1 < power_slope(pictures.mean(-1)) < -2.3

    def test_edges_make_differences_heavy_tailed(self, pictures: np.ndarray) -> None:
        """Noise of the same spectrum has kurtosis 3; photographs are far above (Huang and Mumford, CVPR 1999)."""
        d = np.diff(pictures.mean(-1), axis=2).ravel()
        assert (d**4).mean() / (d**2).mean() ** 2 > 6

    def test_no_cast_and_no_bias(self, pictures: np.ndarray) -> None:
        means = pictures.mean((1, 2))
        for deviation in [*(means - means.mean(1, keepdims=True)).T, means.mean(1) - 127.5]:
            assert abs(deviation.mean()) < 4 * deviation.std() / math.sqrt(N)
        assert (means - means.mean(1, keepdims=True)).std() > 4  # single pictures do have one

    def test_colours_are_correlated_and_light_varies_most(self, pictures: np.ndarray) -> None:
        flat = pictures.reshape(-1, 3)
        assert np.corrcoef(flat.T).min() > 0.5 and np.corrcoef(flat.T)[~np.eye(3, dtype=bool)].max() < 0.97
        assert flat.std(0).min() > 45 and flat.std(0).max() < 80

    def test_no_picture_is_empty_or_burnt(self, pictures: np.ndarray) -> None:
        assert pictures.mean(-1).std((1, 2)).min() > 12
        assert ((pictures < 1) | (pictures > 254)).mean((1, 2, 3)).max() < 0.1

    def test_surfaces_have_texture(self, pictures: np.ndarray) -> None:
        """Half of all neighbours differ by more than 4 levels, as in the photographs of the test split."""
        assert np.median(np.abs(np.diff(pictures.mean(-1), axis=2))) > 4

    def test_every_place_is_alike(self, pictures: np.ndarray) -> None:
        """No pattern over the pictures: the mean picture is flat up to chance, border and centre are equally busy."""
        grey = pictures.mean(-1)
        assert grey.mean(0).std() < 2 * grey.std() / math.sqrt(N)
        busy = np.abs(np.diff(grey, axis=2)).mean(0)
        assert 0.8 < busy[16:48, 16:48].mean() / np.concatenate([busy[:8], busy[-8:]]).mean() < 1.25

    def test_small_radii_are_as_frequent_as_r_to_the_minus_three(self) -> None:
        radii = []
        for i in range(150):
            scene = dead_leaves._draw_leaves(leaf_generator("train", i), 1.0, 1.0, (0.0, 1.0))
            radii += [math.sqrt(leaf.long * leaf.short) for leaf in scene[1:]]
        # every picture's smallest radius is below 0.1, so above it only the density speaks
        counts = np.histogram(radii, [0.1, 0.15, 0.3, 0.6])[0]
        expected = np.array([0.1**-2 - 0.15**-2, 0.15**-2 - 0.3**-2, 0.3**-2 - 0.6**-2])
        expected *= counts.sum() / expected.sum()
        assert ((counts - expected) ** 2 / expected).sum() < 13.8  # chi squared, 2 degrees of freedom, p = 0.001
        assert min(radii) >= 0.02 and max(radii) <= 0.6


class TestShapes:
    @pytest.mark.parametrize(
        ("corners", "area"),
        [(0, math.pi), (2, 4 * math.gamma(1.25) ** 2 / math.gamma(1.5)), (4, 4), (6, 2 * math.sqrt(3))],
    )
    def test_cover_is_the_area_and_edges_are_one_pixel_wide(self, corners: int, area: float) -> None:
        canvas = dead_leaves._Canvas(64, 80)
        leaf = dead_leaves._leaf(
            [0.3] * 18, 0.2, [0.45, 0.55], np.ones((3, 1, 1)), np.zeros((3, 1, 1)), (0.0, 1.0), 0.0
        )
        values = vars(leaf) | {"corners": corners, "wobble": 0.0, "shadow": 0.0, "long": 0.24, "short": 0.18}
        dead_leaves._Leaf(**values).paint(canvas, [np.zeros((128, 160))] * 3)
        cover = canvas.values[0]
        assert cover.sum() / (64 * 80) == pytest.approx(area * 0.24 * 0.18, rel=0.01)
        edge = ((cover > 0.01) & (cover < 0.99)).sum()
        perimeter = 2 * math.pi * 0.21 * math.sqrt(64 * 80)
        assert 0.7 * perimeter < edge < 2 * perimeter

    def test_a_leaf_hides_what_lies_behind(self) -> None:
        canvas = dead_leaves._Canvas(32, 32)
        canvas.values += np.random.default_rng(0).standard_normal(canvas.values.shape)
        outside = canvas.values[:, :4].copy()
        colour, tint = np.full((3, 1, 1), 2.0), np.zeros((3, 1, 1))
        leaf = dead_leaves._leaf([0.3] * 18, 0.2, [0.5, 0.5], colour, tint, (0.0, 1.0), 0.0)
        leaf.paint(canvas, [np.zeros((64, 64))] * 3)
        np.testing.assert_allclose(canvas.values[:, 15:17, 15:17], 2, atol=1e-12)
        np.testing.assert_array_equal(canvas.values[:, :4], outside)

    def test_splines_reproduce_lines(self) -> None:
        weights = dead_leaves._splines(40, 0.17)
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
        np.testing.assert_allclose(
            weights @ (np.arange(weights.shape[1]) - 1), (np.arange(40) + 0.5) * 0.17, atol=1e-12
        )


class TestLeaves:
    @pytest.mark.parametrize(("size", "shape"), [(16, (3, 16, 16)), ([17, 40], (3, 17, 40)), ((200, 16), (3, 200, 16))])
    def test_loads_what_its_records_promise(self, size: int | list[int], shape: tuple[int, int, int]) -> None:
        data: Dataset = Leaves("train", size, n=3)
        assert isinstance(data, Dataset) and data.image_shape == shape
        assert [r.id for r in data.records()] == ["leaves-train-000000", "leaves-train-000001", "leaves-train-000002"]
        for index, record in enumerate(data.records()):
            x = data.load(index)
            assert x.shape == shape and x.dtype == torch.float32 and x.min() >= -1 and x.max() <= 1
            pixels = to_uint8(x).permute(1, 2, 0).contiguous().numpy()
            named = f"{shape[1]}x{shape[2]}x3:".encode() + pixels.tobytes()
            assert hashlib.sha256(named).hexdigest() == record.sha256
            np.testing.assert_array_equal(pixels, leaf_picture(leaf_generator("train", index), *shape[1:]))

    def test_an_image_depends_on_neither_n_nor_the_others(self) -> None:
        few, more = Leaves("test", 20, n=4), Leaves("test", 20, n=9)
        x = few.load(3)
        assert more.records()[:4] == few.records() and torch.equal(more.load(3), x)
        assert few.describe()["manifest_sha256"] != more.describe()["manifest_sha256"]

    def test_hashes_are_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data, made = Leaves("test", 16, n=5), []
        monkeypatch.setattr(leaves, "leaf_picture", lambda *a: made.append(a) or leaf_picture(*a))
        assert data.records() == data.records() and data.describe() == data.describe()
        assert len(made) == 5

    def test_describe(self) -> None:
        told = Leaves("tuning", [16, 24], n=2).describe()
        assert told == told | {"name": "leaves", "split": "tuning", "size": [16, 24], "n": 2}
        assert told["recipe"] == "generated-16x24" and len(told["manifest_sha256"]) == 64
        assert len(Leaves()) == 24 and Leaves().image_shape == (3, 64, 64) and Leaves().split == "test"

    def test_other_pixels_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = Leaves("test", 16, n=3)
        record = data.records()[1]
        pixels = leaf_picture(leaf_generator("test", 1), 16, 16)
        pixels[3, 4, 1] ^= 1
        monkeypatch.setattr(leaves, "leaf_picture", lambda *_: pixels)
        with pytest.raises(DataError) as error:
            data.load(1)
        for part in (record.id, record.sha256, digest(pixels), "same seed"):
            assert part in str(error.value)

    def test_requests_that_make_no_sense(self) -> None:
        with pytest.raises(DataError, match="'val', expected one of test, tuning, train"):
            Leaves("val")
        for size in (15, 0, [64], [64, 8], [64, 64, 64]):
            with pytest.raises(DataError, match=r"dataset.size: got .* expected an integer from 16 to 2048 or a pair"):
                Leaves("test", size)
        for n in (0, -3):
            with pytest.raises(DataError, match=rf"dataset.n: got {n}, expected an integer from 1 to 1000000"):
                Leaves("test", n=n)
        with pytest.raises(IndexError):
            Leaves("test", 16, n=2).load(2)
