"""grid.png shows the saved pixels, enlarged by whole factors, in the right places."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safari_bench.reports import TableError, build

pytestmark = pytest.mark.usefixtures("no_figures")

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
GREY = (214, 214, 214)


def grid(run, images: int = 2) -> np.ndarray:
    build(run.folder, images_per_task=images)
    return np.asarray(Image.open(run.folder / "grid.png"))


BELOW = 17  # px for the PSNR


def tiles(picture: np.ndarray, rows: int, columns: int, side: int = 192, gap: int = 6) -> list[list[np.ndarray]]:
    """Cut from the lower right corner, without the text below them."""
    bottom, right = picture.shape[0] - gap - BELOW, picture.shape[1] - gap
    down, step = side + gap + BELOW, side + gap
    return [
        [
            picture[bottom - r * down - side : bottom - r * down, right - c * step - side : right - c * step]
            for c in reversed(range(columns))
        ]
        for r in reversed(range(rows))
    ]


def enlarged(run, path: Path, side: int = 192) -> np.ndarray:
    pixels = np.asarray(Image.open(path))
    return np.kron(pixels, np.ones((side // len(pixels), side // len(pixels), 1), np.uint8))


def test_tiles_are_the_saved_pixels_in_the_order_of_the_table(run) -> None:
    dps = run.cell("dps", {"psnr": 1.0}, color=BLUE)
    degraded = run.cell("degraded", {"psnr": 1.0}, color=RED)
    reference = run.folder / "photos" / "reference"
    for image in "ab":
        run.picture(reference / f"{image}.png", GREEN)
    run.picture(dps / "images" / "b.png", (7, 77, 177))
    found = tiles(grid(run), 2, 3)
    for row, image in zip(found, "ab", strict=True):
        paths = [reference / f"{image}.png", degraded / "images" / f"{image}.png", dps / "images" / f"{image}.png"]
        for tile, path in zip(row, paths, strict=True):
            np.testing.assert_array_equal(tile, enlarged(run, path))


def test_missing_pictures_leave_a_grey_tile(run) -> None:
    run.cell("degraded", {"psnr": 1.0}, color=RED)
    run.cell("dps", {"psnr": 1.0}, statuses={"a": ("failed", "x"), "b": ("unsupported", "x")}, color=BLUE)
    run.cell("safari", {"psnr": 1.0}, color=GREEN, count=1)
    found = tiles(grid(run), 2, 4)  # no references either
    assert [[tuple(tile[0, 0]) == GREY for tile in row] for row in found] == [
        [True, False, False, True],
        [True, False, True, True],
    ]
    for row, column in ((0, 0), (0, 3), (1, 2), (1, 3)):
        tile = found[row][column]
        assert (tile == GREY).all(-1).mean() > 0.95 and tile.min() < 60  # something is written on it
    assert len({found[row][column].tobytes() for row, column in ((0, 0), (0, 3), (1, 3))}) == 3  # none, failed, n/s


def test_rows_without_any_picture_leave_a_published_grid_alone(run) -> None:
    run.cell("dps", {"psnr": 1.0})
    assert run.folder / "grid.png" not in build(run.folder)
    (run.folder / "grid.png").write_bytes(b"published")
    build(run.folder)
    assert (run.folder / "grid.png").read_bytes() == b"published"


def test_rows_are_counted_per_task(run) -> None:
    one = run.cell("dps", {"psnr": 1.0}, color=RED)
    run.cell("dps", {"psnr": 1.0}, task="denoising", color=BLUE)
    assert one.exists()
    tall = grid(run, 3)
    assert tall.shape[0] - grid(run, 1).shape[0] == 2 * 2 * (198 + BELOW)
    found = tiles(tall, 6, 2)
    assert [int(np.argmax(row[1].mean((0, 1)))) for row in found] == [2, 2, 2, 0, 0, 0]  # denoising first


def test_large_pictures_are_not_resized_and_mixed_sizes_are_centred(run) -> None:
    folder = run.cell("dps", {"psnr": 1.0}, color=RED)
    run.picture(folder / "images" / "a.png", RED, size=256)
    found = tiles(grid(run, 2), 2, 2, side=256)
    np.testing.assert_array_equal(found[0][1], np.asarray(Image.open(folder / "images" / "a.png")))
    np.testing.assert_array_equal(found[1][1][32:224, 32:224], enlarged(run, folder / "images" / "b.png"))
    assert (found[1][1][:32] == 255).all()


def test_grey_pictures_and_long_names(run) -> None:
    folder = run.cell("dps", {"psnr": 1.0}, options={"x": "long name " * 9}, color=RED)
    run.cell("dps", {"psnr": 1.0}, options={"x": "other"}, color=RED)
    Image.new("L", (4, 4), 90).save(folder / "images" / "a.png")
    found = tiles(grid(run), 2, 3)
    assert (found[0][1] == 90).all()
    heads = np.asarray(Image.open(run.folder / "grid.png"))[: -2 * (198 + BELOW)]
    assert len(heads) > 4 * 17 and heads[0].min() == 255  # wrapped, not cut


def test_a_file_that_is_no_picture_is_named_and_the_tables_are_there(run) -> None:
    folder = run.cell("dps", {"psnr": 1.0}, color=RED)
    (folder / "images" / "a.png").write_bytes(b"nothing")
    with pytest.raises(TableError, match=r"images/a.png is not a picture: .*delete it"):
        build(run.folder)
    assert (run.folder / "table1.md").exists()


def detailed(path: Path, where: tuple[int, int], side: int = 64) -> np.ndarray:
    """A flat picture with one checkered square of 12 px."""
    pixels = np.full((side, side, 3), 128, np.uint8)
    x, y = where
    pixels[y : y + 12, x : x + 12] += (np.indices((12, 12)).sum(0) % 2 * 60).astype(np.uint8)[..., None]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def test_insets_show_the_finest_part_of_the_reference_in_every_picture(run) -> None:
    folder = run.cell("dps", {"psnr": [21.25, 30.0, 30.0, 30.0]}, color=RED)
    reference = run.folder / "photos" / "reference" / "a.png"
    pixels = detailed(reference, (40, 8))
    restored = detailed(folder / "images" / "a.png", (4, 44))  # detail elsewhere: the reference alone decides
    shown = tiles(grid(run, 1), 1, 2)[0]
    for tile, own in zip(shown, (pixels, restored), strict=True):
        inset = np.kron(own[8:20, 40:52], np.ones((6, 6, 1), np.uint8))  # twice the enlargement of the tile
        corner = tile[192 - 72 :, :72]  # the part lies above, to the right: furthest from it is below, to the left
        np.testing.assert_array_equal(corner[1:-1, 1:-1], inset[1:-1, 1:-1])
        around = np.kron(own, np.ones((3, 3, 1), np.uint8))
        np.testing.assert_array_equal(tile[:24], around[:24])
        np.testing.assert_array_equal(tile[:, 156:], around[:, 156:])
    assert (shown[0][24, 120:156] == (255, 210, 0)).all()  # a frame says where it is from


def test_the_psnr_of_each_picture_stands_below_it(run) -> None:
    run.cell("dps", {"psnr": [21.25, float("nan"), 3.0, 3.0]}, color=RED)
    picture = grid(run, 2)
    strips = [picture[-6 - BELOW - k * (198 + BELOW) : picture.shape[0] - 6 - k * (198 + BELOW)] for k in (1, 0)]
    assert [bool(strip[:, -198:].min() < 100) for strip in strips] == [True, False]  # not computed
    assert (strips[0][:, -2 * 198 : -198] == 255).all()  # the reference has none
