"""Which files of a folder are images, and what they are called."""

from pathlib import Path

import pytest

from safari_bench.data import DataError, safe_name
from safari_bench.data.listing import find_images


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


class TestListing:
    def test_order_and_ids(self, tmp_path: Path) -> None:
        for name in ("b.png", "a.png", "deep/er/c.png"):
            touch(tmp_path / name)
        assert list(find_images(tmp_path).items()) == [("a", "a.png"), ("b", "b.png"), ("deep/er/c", "deep/er/c.png")]

    def test_extensions_in_any_case_and_nothing_else(self, tmp_path: Path) -> None:
        good = ["a.PNG", "b.jpg", "c.JpEg", "d.webp", "e.bmp", "f.tif", "g.TIFF"]
        for name in [*good, "notes.txt", "h.gif", "png", ".hidden.png", "._a.jpg", ".thumbs/i.png"]:
            touch(tmp_path / name)
        assert list(find_images(tmp_path).values()) == good

    def test_a_shared_stem_keeps_its_extension(self, tmp_path: Path) -> None:
        for name in ("a.jpg", "a.png", "b.png", "sub/a.png"):
            touch(tmp_path / name)
        assert list(find_images(tmp_path)) == ["a.jpg", "a.png", "b", "sub/a"]

    def test_a_stem_that_is_another_file_keeps_its_extension(self, tmp_path: Path) -> None:
        for name in ("a.jpg", "a.png", "a.png.jpg"):
            touch(tmp_path / name)
        assert list(find_images(tmp_path)) == ["a.jpg", "a.png", "a.png.jpg"]

    @pytest.mark.parametrize("name", ["a\nb.png", "caf\udce9.png"])
    def test_unprintable_names_are_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        with pytest.raises(DataError, match="rename the files"):
            find_images(tmp_path)

    def test_linked_folders_count_once(self, tmp_path: Path) -> None:
        root = tmp_path / "images"
        touch(root / "deep" / "a.png")
        touch(tmp_path / "elsewhere" / "d.png")
        (root / "link").symlink_to(tmp_path / "elsewhere")
        assert "link/d" in find_images(root)
        (root / "deep" / "loop").symlink_to(root)
        with pytest.raises(DataError, match="one folder, its images would count twice; delete the link"):
            find_images(root)

    def test_a_missing_folder_a_file_and_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"gone: got nothing there.*check dataset\.root"):
            find_images(tmp_path / "gone")
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match="file: got a file, expected a folder"):
            find_images(tmp_path / "file")
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"no image.*\.bmp \.jpeg \.jpg \.png \.tif \.tiff \.webp"):
            find_images(tmp_path / "empty")


class TestSafeName:
    @pytest.mark.parametrize(
        ("image_id", "name"),
        [("a", "a"), ("00012", "00012"), ("deep/er/c", "deep__er__c"), ("coffee-64-x0-y180-s1",) * 2, ("a.png",) * 2],
    )
    def test_plain_ids_stay_readable(self, image_id: str, name: str) -> None:
        assert safe_name(image_id) == name

    def test_different_ids_have_different_names(self) -> None:
        awkward = ["a/b", "a__b", "a_/b", "a/_b", "a___b", "a b", "a_b", "é", "è", "写", "真", "_", "__", "/", "", "."]
        awkward += [
            "..",
            "-a",
            ".a",
            "a~b",
            "a:b",
            "x" * 300,
            "x" * 301,
            "a" * 119 + "/b",
            safe_name("a__b"),
            safe_name("é"),
        ]
        names = [safe_name(i) for i in awkward]
        assert len(set(names)) == len(awkward)

    @pytest.mark.parametrize("image_id", ["é/à.png", "..", "../../a", "-rf", ".x", "a\tb", "写" * 200, "con:1|2"])
    def test_names_are_flat_short_ascii(self, image_id: str) -> None:
        name = safe_name(image_id)
        assert name.isascii() and len(name) < 200 and name[0] not in ".-"
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~")
