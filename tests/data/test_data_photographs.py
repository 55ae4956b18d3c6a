"""The photographs that ship: files, credits, splits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recipes import benchmark
from recipes.duplicates import difference_hash, near_duplicates
from safari_bench.data import DataError, Dataset, Photographs, digest, to_uint8, whole_photographs
from safari_bench.data import photographs as module

CELLS = [(split, size) for split in ("test", "tuning") for size in module.SIZES]
FOLDER = Path(module.__file__).parent / "photographs_256"


@pytest.mark.parametrize(("split", "size"), CELLS)
def test_loads_what_its_records_promise(split, size):
    data: Dataset = Photographs(split, size)
    assert len(data.records()) == {"test": 23, "tuning": 12}[split] and data.image_shape == (3, size, size)
    for index, record in enumerate(data.records()):
        x = data.load(index)
        assert x.dtype == torch.float32 and x.abs().max() <= 1
        assert digest(to_uint8(x).permute(1, 2, 0).contiguous().numpy()) == record.sha256


def test_smaller_sizes_are_block_means():
    large, small = (Photographs("tuning", size, 1).load(0).double() for size in (256, 64))
    means = torch.nn.functional.avg_pool2d(large[None], 4)[0]
    assert (means - small).abs().max() <= 0.51 / 127.5


def test_every_file_is_credited_and_free():
    rows = module.credits()
    assert {path.stem for path in FOLDER.glob("*.webp")} == {row["id"] for row in rows}
    assert len({row["id"] for row in rows}) == len({row["source_sha256"] for row in rows}) == 35
    for row in rows:
        assert row["licence"] in ("CC0-1.0", "public domain") and row["author"] and row["package"] and row["file"]


def test_no_photograph_is_in_two_splits():
    hashes = {"test": {}, "tuning": {}, "train": {}}
    for row in module.credits():
        hashes[row["split"]][row["id"]] = difference_hash(Image.fromarray(module.shipped(row["id"])))
    for split, found in hashes.items():
        found |= {name: difference_hash(Image.fromarray(p)) for name, p in whole_photographs(split).items()}
    for one, other in (("test", "tuning"), ("test", "train"), ("tuning", "train")):
        assert near_duplicates(hashes[one], hashes[other]) == []


def test_near_duplicates_are_found():
    picture = Image.fromarray(module.shipped("crab"))
    other = {"giraffe": difference_hash(Image.fromarray(module.shipped("giraffe")))}
    edited = (
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        .resize((90, 80))
        .point([min(255, 20 + v) for v in range(256)] * 3)
    )
    hashes = {"crab": difference_hash(picture)}
    assert [pair[:2] for pair in near_duplicates(hashes, other | {"edited": difference_hash(edited)})] == [
        ("crab", "edited")
    ]


def test_other_pixels_are_refused(monkeypatch):
    pixels = module.shipped("crab").copy()
    pixels[10, 20, 1] ^= 128
    monkeypatch.setattr(module, "shipped", lambda name: pixels)
    with pytest.raises(DataError, match=f"crab: sha256 of the pixels is {digest(pixels)}.*install"):
        Photographs("test", 256).load(0)


def test_arguments_are_checked():
    with pytest.raises(DataError, match="'train', expected one of test, tuning"):
        Photographs("train")
    with pytest.raises(DataError, match="got 96, expected one of 64, 128, 256"):
        Photographs("test", 96)
    with pytest.raises(DataError, match=r"got 24, but .* has 23 images"):
        Photographs("test", 64, 24)


def test_describe():
    told = Photographs("tuning", 128, 2).describe()
    assert told == told | {"name": "photographs", "split": "tuning", "size": [128, 128], "n": 2}
    assert np.unique([len(told["manifest_sha256"])]) == 64


def test_the_page_of_credits_is_what_its_recipe_makes():
    page = Path(benchmark.__file__).parents[1] / "docs" / "credits.md"
    assert page.read_text(encoding="utf-8") == benchmark.credits_page()
