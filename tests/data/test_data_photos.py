"""The shipped photographs: the manifest, the split, the crops."""

import csv
import hashlib
import socket
from collections import Counter, defaultdict
from importlib import resources
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import sklearn
import torch
from PIL import Image

from recipes.photos_manifest import COLUMNS, build_manifest, has_content
from safari_bench.data import DataError, Dataset, Photos, digest, to_uint8, whole_photographs
from safari_bench.data.pip_photographs import SPLITS, Crop, _read

CELLS = [(split, size) for split in SPLITS for size in (64, 256)]


@pytest.fixture(scope="module")
def text() -> str:
    return resources.files("safari_bench.data").joinpath("photos.csv").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def crop_of(row: dict[str, str]) -> Crop:
    return Crop(row["photograph"], int(row["left"]), int(row["top"]), int(row["scale"]), int(row["size"]))


class TestManifest:
    def test_is_what_its_generator_makes(self, text: str) -> None:
        assert text == build_manifest()

    def test_columns(self, text: str) -> None:
        assert text.splitlines()[0].split(",") == list(COLUMNS)

    def test_no_photograph_is_in_two_splits(self, rows: list[dict[str, str]]) -> None:
        splits = defaultdict(set)
        for row in rows:
            splits[row["photograph"]].add(row["split"])
        assert all(len(s) == 1 for s in splits.values())
        assert {p for p, s in splits.items() if s == {"test"}} == {"astronaut", "coffee", "china"}
        assert {p for p, s in splits.items() if s == {"tuning"}} == {"chelsea", "grace_hopper"}

    def test_ids_are_unique_and_say_what_the_crop_is(self, rows: list[dict[str, str]]) -> None:
        assert len({row["id"] for row in rows}) == len(rows)
        for row in rows:
            expected = "{photograph}-{size}-x{left}-y{top}-s{scale}".format(**row)
            assert row["id"] == expected
            assert int(row["box"]) == int(row["size"]) * int(row["scale"])

    def test_counts(self, rows: list[dict[str, str]]) -> None:
        counts = Counter((row["split"], row["size"], row["photograph"]) for row in rows)
        least = {"test": 8, "tuning": 6, "train": 16}
        for split, names in SPLITS.items():
            assert all(counts[split, "64", name] >= least[split] for name in names)
        assert counts.total() - sum(n for (_, size, _), n in counts.items() if size == "64") >= 15
        assert len(Photos("test", 64)) == 24

    def test_crops_lie_inside_and_hold_something(self, rows: list[dict[str, str]]) -> None:
        whole = {name: image for split in SPLITS for name, image in whole_photographs(split).items()}
        for row in rows:
            crop = crop_of(row)
            height, width, _ = whole[crop.photograph].shape
            assert 0 <= crop.left <= width - crop.box and 0 <= crop.top <= height - crop.box
            assert has_content(crop.pixels()), row["id"]

    def test_crops_of_a_photograph_overlap_little(self, rows: list[dict[str, str]]) -> None:
        for a, b in combinations((crop_of(r) for r in rows if r["split"] != "train"), 2):
            if (a.photograph, a.size) == (b.photograph, b.size):
                w = max(0, min(a.left + a.box, b.left + b.box) - max(a.left, b.left))
                h = max(0, min(a.top + a.box, b.top + b.box) - max(a.top, b.top))
                assert w * h / (a.box**2 + b.box**2 - w * h) <= 0.25, (a.id, b.id)

    def test_content_is_judged(self) -> None:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
        edge = np.zeros((64, 64, 3), np.uint8)
        edge[:, 32:] = 255
        half = noise.copy()
        half[:32] = 90
        faint = rng.integers(0, 6, (64, 64, 3), np.uint8)
        assert [has_content(p) for p in (noise, edge, half, faint)] == [True, False, False, False]


class TestPhotos:
    @pytest.mark.parametrize(("split", "size"), CELLS)
    def test_loads_what_its_records_promise(self, split: str, size: int) -> None:
        data: Dataset = Photos(split, size)
        records = data.records()
        assert data.image_shape == (3, size, size)
        for index, record in enumerate(records):
            x = data.load(index)
            assert x.shape == (3, size, size) and x.dtype == torch.float32
            assert x.min() >= -1 and x.max() <= 1
            pixels = to_uint8(x).permute(1, 2, 0).contiguous().numpy()
            assert hashlib.sha256(f"{size}x{size}x3:".encode() + pixels.tobytes()).hexdigest() == record.sha256

    def test_reduction_is_the_block_mean_rounded_half_to_even(self) -> None:
        crop = Crop("coffee", 5, 7, 4, 8)
        source = whole_photographs("test")["coffee"]
        for i, j, c in [(0, 0, 0), (3, 5, 1), (7, 7, 2), (2, 6, 0)]:
            block = [int(source[7 + 4 * i + u, 5 + 4 * j + v, c]) for u in range(4) for v in range(4)]
            # Python's round is half to even, and a sixteenth is exact
            assert crop.pixels()[i, j, c] == round(sum(block) / 16)

    def test_scale_one_is_the_source(self) -> None:
        path = Path(sklearn.__file__).parent / "datasets/images/china.jpg"
        source = np.asarray(Image.open(path))
        np.testing.assert_array_equal(Crop("china", 30, 40, 1, 16).pixels(), source[40:56, 30:46])

    def test_first_n_are_balanced(self) -> None:
        for split, size in CELLS:
            names = SPLITS[split]
            if size == 64:
                ids = [record.id for record in Photos(split, size, n=2 * len(names)).records()]
                assert Counter(i.split("-")[0] for i in ids) == dict.fromkeys(names, 2)

    def test_n_takes_the_first_and_changes_nothing_else(self) -> None:
        few, all_ = Photos("test", 64, n=5), Photos("test", 64)
        assert few.records() == all_.records()[:5] and len(few) == 5
        assert torch.equal(few.load(4), all_.load(4))
        assert few.describe()["manifest_sha256"] != all_.describe()["manifest_sha256"]

    def test_describe(self) -> None:
        told = Photos("tuning", 256, n=2).describe()
        assert told == told | {"name": "photos", "split": "tuning", "size": [256, 256], "n": 2}
        assert len(told["manifest_sha256"]) == 64

    @pytest.mark.parametrize("n", [0, -1, 25])
    def test_n_out_of_range(self, n: int) -> None:
        with pytest.raises(DataError, match=rf"got {n}, but .* has 24 images; expected 1 to 24"):
            Photos("test", 64, n=n)

    def test_unknown_split_and_size(self) -> None:
        with pytest.raises(DataError, match="'val', expected one of test, tuning, train"):
            Photos("val")
        with pytest.raises(DataError, match="got 128, expected one of 64, 256"):
            Photos("test", 128)

    def test_other_pixels_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = Photos("test", 64)
        pixels = data._crops[3].pixels()
        pixels[10, 20, 1] ^= 1
        monkeypatch.setattr(Crop, "pixels", lambda self: pixels)
        with pytest.raises(DataError) as error:
            data.load(3)
        record = data.records()[3]
        for part in (record.id, record.sha256, digest(pixels), "JPEG decoder", "Pillow", "constraints.txt"):
            assert part in str(error.value)


class TestPhotographs:
    @pytest.mark.parametrize("split", SPLITS)
    def test_whole_and_writeable(self, split: str) -> None:
        images = whole_photographs(split)
        assert tuple(images) == SPLITS[split]
        for image in images.values():
            assert image.dtype == np.uint8 and image.ndim == 3 and min(image.shape[:2]) >= 300
            image[...] = 0
        assert all(image.any() for image in whole_photographs(split).values())

    def test_nothing_is_downloaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **kwargs: object) -> None:
            raise AssertionError("network")

        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)
        _read.cache_clear()
        assert sum(len(whole_photographs(split)) for split in SPLITS) == 11

    def test_missing_wheel_content_is_explained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {"astronaut": ("skimage", "data/gone.png"), "coffee": ("no_such_package_here", "a.png")}
        monkeypatch.setattr("safari_bench.data.pip_photographs._FILES", files)
        _read.cache_clear()
        with pytest.raises(DataError, match=r"astronaut: the installed skimage does not carry data/gone\.png"):
            Crop("astronaut", 0, 0, 1, 64).pixels()
        with pytest.raises(DataError, match="package no_such_package_here"):
            Crop("coffee", 0, 0, 1, 64).pixels()
        _read.cache_clear()
