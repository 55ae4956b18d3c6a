"""FFHQ and ImageNet in their official layouts and file names, with pictures of a test's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safari_bench.cli import main
from safari_bench.data import DataError, Ffhq, Folder, ImageNet, TooFew, to_uint8


def picture(seed: int, h: int, w: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC))


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def pixels_of(data: Ffhq | ImageNet, index: int) -> np.ndarray:
    return to_uint8(data.load(index)).permute(1, 2, 0).contiguous().numpy()


def faces(root: Path, numbers: range, name: str = "{:05d}.png", side: int = 32) -> Path:
    for number in numbers:
        save(root / name.format(number, thousand=number - number % 1000), picture(number, side, side))
    return root


def val(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}"


class TestFfhq:
    def test_ids_and_hashes_do_not_depend_on_the_layout(self, tmp_path: Path) -> None:
        flat = faces(tmp_path / "flat", range(998, 1003))
        deep = faces(tmp_path / "images1024x1024", range(998, 1003), "{thousand:05d}/{:05d}.png")
        for split, ids in (("tuning", ["01000", "01001", "01002"]),):
            first, second = (Ffhq(root, split=split, size=32, n=3).records() for root in (flat, deep))
            assert first == second and [record.id for record in first] == ids

    def test_validation_is_the_first_thousand_and_nothing_takes_a_missing_one_s_place(self, tmp_path: Path) -> None:
        root = faces(tmp_path, range(3))
        assert [record.id for record in Ffhq(root, size=32, n=2).records()] == ["00000", "00001"]
        (root / "00001.png").unlink()
        with pytest.raises(DataError, match=r"got 2 of the 3 pictures of split validation of FFHQ, without 00001; put"):
            Ffhq(root, size=32, n=3)
        with pytest.raises(DataError, match=r"got 2 of the 1000 pictures .*00001, 00003.* and 993 others"):
            Ffhq(root, size=32)
        with pytest.raises(DataError, match=r"dataset\.n: got 1001.*1 to 1000"):
            Ffhq(root, n=1001)

    def test_a_list_of_official_ids_in_its_order(self, tmp_path: Path) -> None:
        root = faces(tmp_path, [69007, 69017, 69027, 5])
        (tmp_path / "list.txt").write_text("# DiffPIR\n69027\n69000/69007.png\n69017.png\n")
        data = Ffhq(root, split="all", size=32, n=2, subset=tmp_path / "list.txt")
        assert [record.id for record in data.records()] == ["69027", "69007"]
        with pytest.raises(DataError, match="3 entries that are no image of the split: 69007, 69017, 69027"):
            Ffhq(root, size=32, n=None, subset=tmp_path / "list.txt")
        (root / "69017.png").unlink()
        with pytest.raises(TooFew, match=r"got 2 of the 3 pictures of the list .*, without 69017"):
            Ffhq(root, split="all", size=32, n=None, subset=tmp_path / "list.txt")

    def test_a_file_of_the_size_is_taken_as_it_is_and_a_larger_one_reduced(self, tmp_path: Path) -> None:
        save(tmp_path / "00000.png", picture(0, 32, 32))
        save(tmp_path / "00001.png", picture(1, 128, 128))
        data = Ffhq(tmp_path, size=32, n=2)
        np.testing.assert_array_equal(pixels_of(data, 0), picture(0, 32, 32))
        means = picture(1, 128, 128).reshape(32, 4, 32, 4, 3).mean((1, 3))
        assert np.abs(pixels_of(data, 1) - means).mean() < 2  # the picture is smooth: any good filter is near the mean
        assert data.describe()["recipe"] == "square-32x32" and data.describe()["split"] == "validation"

    @pytest.mark.parametrize(("h", "w"), [(16, 16), (32, 40)])
    def test_a_picture_that_is_small_or_not_square_is_refused(self, tmp_path: Path, h: int, w: int) -> None:
        save(tmp_path / "00000.png", picture(0, h, w))
        with pytest.raises(DataError, match=rf"00000\.png: got {h}x{w} pixels .*expected a square of 32 or more"):
            Ffhq(tmp_path, size=32, n=1).records()

    def test_a_wrong_folder_says_what_belongs_there(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no folder .*put the PNGs of https://github.com/NVlabs/ffhq-dataset"):
            Ffhq(tmp_path / "gone")
        save(tmp_path / "face.png", picture(0, 32, 32))
        with pytest.raises(DataError, match="no file named as in FFHQ"):
            Ffhq(tmp_path)
        faces(tmp_path / "a", range(1))
        faces(tmp_path / "b", range(1))
        with pytest.raises(DataError, match=r"more than once, 00000 as a/00000\.png and b/00000\.png"):
            Ffhq(tmp_path)
        with pytest.raises(DataError, match=r"split: got 'test'"):
            Ffhq(tmp_path, split="test")


class TestImageNet:
    def test_ids_do_not_depend_on_the_layout_and_follow_the_numbers(self, tmp_path: Path) -> None:
        for number, synset in ((3, "n01440764"), (1, "n09999999"), (2, "n01440764")):
            save(tmp_path / "classes" / synset / f"{val(number)}.JPEG", picture(number, 40, 50))
            save(tmp_path / "flat" / f"{val(number)}.JPEG", picture(number, 40, 50))
        deep, flat = (ImageNet(tmp_path / root, size=32, n=None).records() for root in ("classes", "flat"))
        assert deep == flat and [record.id for record in deep] == [val(1), val(2), val(3)]

    @pytest.mark.parametrize(
        ("h", "w", "halvings", "covering", "corner"),
        [
            (600, 1000, 3, (64, 107), (0, 21)),  # 1000 x 600 -> 125 x 75, then 64 / 75 of it
            (128, 130, 1, (64, 65), (0, 0)),
            (127, 300, 0, (64, 151), (0, 43)),
            (50, 40, 0, (80, 64), (8, 0)),  # enlarged
        ],
    )
    def test_the_crop_is_the_one_of_guided_diffusion(self, tmp_path, h, w, halvings, covering, corner) -> None:
        save(tmp_path / f"{val(1)}.png", picture(1, h, w))
        image = Image.fromarray(picture(1, h, w))
        for _ in range(halvings):
            image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        image = image.resize(covering[::-1], Image.Resampling.BICUBIC)
        top, left = corner
        expected = np.asarray(image)[top : top + 64, left : left + 64]
        np.testing.assert_array_equal(pixels_of(ImageNet(tmp_path, size=64, n=1), 0), expected)

    def test_orientation_tags_are_ignored_as_the_published_code_does(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        save(tmp_path / f"{val(1)}.png", picture(1, 32, 32), exif=exif)
        np.testing.assert_array_equal(pixels_of(ImageNet(tmp_path, size=32, n=1), 0), picture(1, 32, 32))

    def test_lists_as_others_write_them(self, tmp_path: Path) -> None:
        for number in range(1, 5):
            save(tmp_path / f"{val(number)}.JPEG", picture(number, 32, 32))
        names = f"# chosen\nn01440764/{val(3)}.JPEG 0\n{val(1)}\n"
        (tmp_path / "list.txt").write_text(names)
        data = ImageNet(tmp_path, size=32, n=None, subset=tmp_path / "list.txt")
        assert [record.id for record in data.records()] == [val(3), val(1)]
        (tmp_path / f"{val(3)}.JPEG").rename(tmp_path / f"{val(3)}_n01440764.JPEG")  # as on the Hub
        data = ImageNet(tmp_path, size=32, n=None, subset=tmp_path / "list.txt")
        assert [record.id for record in data.records()] == [val(3), val(1)]
        (tmp_path / "list.txt").write_text(f"{val(9)}.JPEG\n")
        with pytest.raises(DataError, match=f"no image of the folder: {val(9)}"):
            ImageNet(tmp_path, size=32, n=None, subset=tmp_path / "list.txt")

    def test_a_list_shorter_than_n_is_named(self, tmp_path: Path) -> None:
        for number in range(1, 4):
            save(tmp_path / f"{val(number)}.JPEG", picture(number, 32, 32))
        (tmp_path / "list.txt").write_text(f"{val(3)}\n{val(1)}\n")
        said = r"n: got 1000, but the list .*/list\.txt has 2 images; expected 1 to 2, or null for all"
        with pytest.raises(TooFew, match=said) as error:
            ImageNet(tmp_path, size=32, subset=tmp_path / "list.txt")
        assert (error.value.got, error.value.wanted) == (2, 1000)
        with pytest.raises(TooFew, match=r"but the list .*/list\.txt has 2 images"):
            Folder(tmp_path, size=32, n=3, subset=tmp_path / "list.txt")
        with pytest.raises(TooFew, match=r"but split validation in .* has 3 images"):
            ImageNet(tmp_path, size=32)

    def test_tuning_images_are_not_those_that_are_tested_first(self, tmp_path: Path) -> None:
        for number in (1, 49001):
            save(tmp_path / f"{val(number)}.JPEG", picture(number, 32, 32))
        assert [r.id for r in ImageNet(tmp_path, split="tuning", size=32, n=1).records()] == [val(49001)]
        assert [r.id for r in ImageNet(tmp_path, size=32, n=1).records()] == [val(1)]


class TestManifestVerb:
    def words(self, root: Path, *more: str) -> list[str]:
        return ["dataset=ffhq", f"dataset.root={root}", "dataset.size=32", "dataset.n=3", *more]

    def test_written_checked_and_used(self, tmp_path: Path, monkeypatch, capsys) -> None:
        monkeypatch.chdir(tmp_path)
        root = faces(tmp_path / "faces", range(3))
        assert main(["manifest", "ffhq.csv", *self.words(root)]) == 0
        assert main(["manifest", "--check", "ffhq.csv", *self.words(root)]) == 0
        assert "3 images of ffhq compared, 0 differences" in capsys.readouterr().out
        Ffhq(root, size=32, n=3, manifest="ffhq.csv").records()
        assert main(["manifest", "ffhq.csv", *self.words(root)]) == 2  # nothing is overwritten
        assert main(["manifest", *self.words(root)]) == 2

    def test_every_difference_is_named(self, tmp_path: Path, monkeypatch, capsys) -> None:
        monkeypatch.chdir(tmp_path)
        root = faces(tmp_path / "faces", range(4))
        assert main(["manifest", "ffhq.csv", *self.words(root, "dataset.n=4")]) == 0
        capsys.readouterr()
        save(root / "00000.png", picture(77, 32, 32))
        (root / "00001.png").write_bytes((root / "00001.png").read_bytes()[:60])
        (root / "00003.png").unlink()
        assert main(["manifest", "--check", "ffhq.csv", *self.words(root)]) == 1
        said = capsys.readouterr().out
        assert "3 images of ffhq compared, 3 differences" in said
        assert "00000: sha256" in said and "00001: image" in said and "00003: listed, but not in the folder" in said
