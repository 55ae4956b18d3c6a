"""Folders of images, made in a temporary place with all the oddities that real ones have."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from safari_bench.data import DataError, Dataset, Folder, Photos, digest, manifest_csv, to_uint8
from safari_bench.data import pictures as pictures_module


def picture(seed: int, h: int = 40, w: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def ids(data: Dataset) -> list[str]:
    return [record.id for record in data.records()]


def pixels_of(data: Dataset, index: int) -> np.ndarray:
    return to_uint8(data.load(index)).permute(1, 2, 0).contiguous().numpy()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pictures of 40 x 48, one in a nested folder."""
    for seed, name in enumerate(("b.png", "a.png", "deep/er/c.png")):
        save(tmp_path / "images" / name, picture(seed))
    return tmp_path / "images"


class TestRecipes:
    def test_crop_takes_the_centre(self, tmp_path: Path) -> None:
        source = picture(0, 11, 20)
        save(tmp_path / "a.png", source)
        np.testing.assert_array_equal(pixels_of(Folder(tmp_path, size=(6, 4), recipe="crop"), 0), source[2:8, 8:12])

    def test_none_changes_nothing(self, tmp_path: Path) -> None:
        source = picture(0)
        save(tmp_path / "a.png", source)
        data = Folder(tmp_path, size=(40, 48), recipe="none")
        assert data.image_shape == (3, 40, 48)
        np.testing.assert_array_equal(pixels_of(data, 0), source)

    @pytest.mark.parametrize(("h", "w"), [(40, 90), (90, 40), (37, 37), (33, 200), (20, 31)])
    @pytest.mark.parametrize("size", [32, (16, 32), (32, 17)])
    def test_resize_crop_always_covers(self, tmp_path: Path, h: int, w: int, size: int | tuple[int, int]) -> None:
        save(tmp_path / "a.png", picture(0, h, w))
        expected = (size, size) if isinstance(size, int) else size
        assert Folder(tmp_path, size=size).load(0).shape == (3, *expected)

    def test_resize_crop_shows_the_centre_undistorted(self, tmp_path: Path) -> None:
        """A picture linear in x and y stays linear under any resize: read off where the crop came from."""
        h, w = 80, 160
        y, x = np.mgrid[:h, :w] + 0.5
        source = np.stack([x, y, np.zeros_like(x)], axis=-1)
        save(tmp_path / "a.png", source.astype(np.uint8))
        got = pixels_of(Folder(tmp_path, size=40), 0).astype(float)
        # the middle 80 x 80 reduced by 2: pixel i covers 2 i .. 2 i + 2, whose mean is 2 i + 1, less 0.5 for the cast
        np.testing.assert_allclose(got[5:-5, 5:-5, 0], np.tile(40 + 2 * np.arange(5, 35) + 0.5, (30, 1)), atol=0.51)
        np.testing.assert_allclose(got[5:-5, 5:-5, 1], np.tile(2 * np.arange(5, 35) + 0.5, (30, 1)).T, atol=0.51)

    def test_resize_is_antialiased(self, tmp_path: Path) -> None:
        board = np.indices((128, 128)).sum(0) % 2 * 255
        save(tmp_path / "a.png", np.stack([board] * 3, axis=-1).astype(np.uint8))
        inner = pixels_of(Folder(tmp_path, size=32), 0)[4:-4, 4:-4].astype(float)
        assert np.abs(inner - 127.5).max() < 3

    def test_exif_is_applied_before_the_size_is_checked(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        source = picture(0, 20, 30)
        Image.fromarray(source).save(tmp_path / "a.png", exif=exif)
        np.testing.assert_array_equal(pixels_of(Folder(tmp_path, size=(30, 20), recipe="none"), 0), np.rot90(source, 3))

    def test_too_small_for_the_crop(self, root: Path) -> None:
        data = Folder(root, size=64, recipe="crop")
        with pytest.raises(DataError, match=r"a\.png: got 40x48 .*at least 64x64 .*resize_crop"):
            data.records()

    def test_other_size_than_promised(self, root: Path) -> None:
        with pytest.raises(DataError, match=r"a\.png: got 40x48 .*exactly 40x40 for recipe none"):
            Folder(root, size=40, recipe="none").load(0)

    def test_bad_recipe_and_size(self, root: Path) -> None:
        with pytest.raises(DataError, match="'stretch', expected one of resize_crop, crop, none"):
            Folder(root, recipe="stretch")
        for size in (0, -1, (3, 0), (1, 2, 3)):
            with pytest.raises(DataError, match=r"dataset\.size"):
                Folder(root, size=size)


class TestFolder:
    def test_records_promise_what_load_gives(self, root: Path) -> None:
        data: Dataset = Folder(root, size=32)
        assert [record.sha256 for record in data.records()] == [digest(pixels_of(data, i)) for i in range(3)]
        x = data.load(0)
        assert x.dtype == torch.float32 and x.min() >= -1 and x.max() <= 1

    def test_unicode_and_spaces(self, tmp_path: Path) -> None:
        for seed, name in enumerate(("été à la mer.png", "写真 1.png")):
            save(tmp_path / name, picture(seed))
        data = Folder(tmp_path, size=32)
        assert ids(data) == ["été à la mer", "写真 1"]
        assert data.load(1).shape == (3, 32, 32)

    def test_same_pixels_in_another_container_are_the_same_image(self, tmp_path: Path) -> None:
        for name in ("one/a.png", "two/a.bmp"):
            save(tmp_path / name, picture(0))
        assert Folder(tmp_path / "one", size=32).records() == Folder(tmp_path / "two", size=32).records()

    def test_n_takes_the_first_and_keeps_ids(self, root: Path) -> None:
        save(root / "b.jpg", picture(7))
        assert ids(Folder(root, size=32, n=2)) == ["a", "b.jpg"] == ids(Folder(root, size=32))[:2]
        for n in (0, -3, 5):
            with pytest.raises(DataError, match=f"got {n}, but .* has 4 images"):
                Folder(root, size=32, n=n)

    def test_split_is_a_folder_inside(self, root: Path) -> None:
        data = Folder(root, split="deep", size=32)
        assert ids(data) == ["er/c"] and data.describe()["split"] == "deep"

    def test_truncated_image_is_named(self, root: Path) -> None:
        path = save(root / "cut.jpg", picture(9, 200, 200))
        path.write_bytes(path.read_bytes()[:4000])
        data = Folder(root, size=32)
        with pytest.raises(DataError, match=r"cut\.jpg: cannot be decoded"):
            data.records()
        assert data.load(0).shape == (3, 32, 32)

    def test_a_file_that_changes_during_the_run_is_noticed(self, root: Path) -> None:
        data = Folder(root, size=32)
        before = data.records()
        save(root / "a.png", picture(99))
        with pytest.raises(DataError, match=rf"a\.png.*{before[0].sha256}.*changed during the run"):
            data.load(0)
        assert data.records() == before

    def test_every_image_is_hashed_once(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[str] = []
        original = pictures_module.read_image
        monkeypatch.setattr(
            pictures_module,
            "read_image",
            lambda path, **turn: (read.append(Path(path).name), original(path, **turn))[1],
        )
        data = Folder(root, size=32)
        assert read == []
        data.load(2)
        data.records()
        data.records()
        data.describe()
        assert sorted(read) == ["a.png", "b.png", "c.png"]

    def test_a_bar_is_shown_for_many_images_only(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Folder(root, size=32).records()
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(pictures_module, "_BAR_ABOVE", 2)
        Folder(root, size=32, name="mine").records()
        assert "hashing mine" in capsys.readouterr().err

    def test_describe(self, root: Path) -> None:
        told = Folder(root, size=(24, 32), n=2, recipe="crop").describe()
        assert told == told | {"name": "folder", "split": None, "size": [24, 32], "n": 2, "recipe": "crop-24x32"}
        assert str(root) not in str(told)
        assert told["manifest_sha256"] != Folder(root, size=(24, 32), recipe="crop").describe()["manifest_sha256"]


class TestSubset:
    def test_ids_and_paths_in_the_order_of_the_list(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("# chosen\n\ndeep/er/c\n  a.png  \na\n")
        assert ids(Folder(root, size=32, subset=tmp_path / "list.txt")) == ["deep/er/c", "a"]

    def test_n_counts_within_the_subset(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("deep/er/c\nb\n")
        assert ids(Folder(root, size=32, subset=tmp_path / "list.txt", n=1)) == ["deep/er/c"]

    def test_every_unknown_entry_is_named(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("a\nx.png\nc\n")
        with pytest.raises(DataError, match=r"2 entries that are no image of the folder: c, x\.png"):
            Folder(root, subset=tmp_path / "list.txt")

    def test_empty_and_missing_lists(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("# nothing\n")
        with pytest.raises(DataError, match="got no entry"):
            Folder(root, subset=tmp_path / "list.txt")
        with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
            Folder(root, subset=tmp_path / "gone.txt")


class TestManifest:
    @pytest.fixture
    def manifest(self, root: Path, tmp_path: Path) -> Path:
        (tmp_path / "manifest.csv").write_text(manifest_csv(Folder(root, size=32)))
        return tmp_path / "manifest.csv"

    def test_contents(self, root: Path, manifest: Path) -> None:
        rows = list(csv.DictReader(manifest.read_text().splitlines()))
        expected = [(record.id, record.sha256) for record in Folder(root, size=32).records()]
        assert [(row["id"], row["sha256"]) for row in rows] == expected
        assert {row["recipe"] for row in rows} == {"resize_crop-32x32"}

    def test_agreement(self, root: Path, manifest: Path) -> None:
        data = Folder(root, size=32, manifest=manifest)
        assert len(data.records()) == 3
        assert Folder(root, size=32, manifest=manifest, n=2).load(1).shape == (3, 32, 32)

    def test_every_changed_image_is_named(self, root: Path, manifest: Path) -> None:
        save(root / "a.png", picture(50))
        save(root / "deep/er/c.png", picture(51))
        data = Folder(root, size=32, manifest=manifest)
        with pytest.raises(DataError) as error:
            data.records()
        assert "2 differences" in str(error.value) and "\n  b:" not in str(error.value)
        assert "\n  a: sha256" in str(error.value) and "\n  deep/er/c: sha256" in str(error.value)
        with pytest.raises(DataError, match="a: sha256"):
            data.load(0)
        assert data.load(1).shape == (3, 32, 32)

    def test_every_missing_and_additional_image_is_named(self, root: Path, manifest: Path) -> None:
        (root / "a.png").unlink()
        save(root / "new.png", picture(8))
        with pytest.raises(DataError, match=r"(?s)2 differences.*new: not listed.*a: listed, but not in the folder"):
            Folder(root, size=32, manifest=manifest)

    def test_another_recipe(self, root: Path, manifest: Path) -> None:
        with pytest.raises(DataError, match="recipe crop-32x32, listed resize_crop-32x32"):
            Folder(root, size=32, recipe="crop", manifest=manifest)

    @pytest.mark.parametrize(
        "text",
        ["", "id,sha256\na,0\n", "id,sha256,recipe\n", "id,sha256,recipe\na,0\n", "id,sha256,recipe\na,0,r\na,1,r\n"],
    )
    def test_what_is_no_manifest(self, root: Path, tmp_path: Path, text: str) -> None:
        (tmp_path / "odd.csv").write_text(text)
        with pytest.raises(DataError, match=r"odd\.csv.*rewrite it"):
            Folder(root, size=32, manifest=tmp_path / "odd.csv")
        with pytest.raises(DataError, match=r"gone\.csv: cannot be read"):
            Folder(root, size=32, manifest=tmp_path / "gone.csv")

    def test_any_dataset_can_be_listed(self, tmp_path: Path) -> None:
        (tmp_path / "photos.csv").write_text(manifest_csv(Photos("test", 64, n=3)))
        assert len((tmp_path / "photos.csv").read_text().splitlines()) == 4
