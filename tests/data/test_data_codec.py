"""The pixel codec and the image reader, against files made with Pillow or by hand."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from safari_bench.data import DataError, Record, digest, encode_png, from_uint8, open_picture, read_image, to_uint8
from safari_bench.data.contract import records_digest


def levels() -> torch.Tensor:
    return torch.arange(256, dtype=torch.uint8)


def gradient(h: int = 12, w: int = 20) -> np.ndarray:
    """Every pixel differs, and the picture equals none of its flips or rotations."""
    y, x = np.mgrid[:h, :w]
    return np.stack([x * 10, y * 15, x + y], axis=-1).astype(np.uint8)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG assembled from its specification, for formats Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class TestCodec:
    @pytest.mark.parametrize("shape", [(256,), (1, 16, 16), (2, 2, 8, 8)])
    def test_all_levels_survive(self, shape: tuple[int, ...]) -> None:
        u8 = levels().reshape(shape)
        assert torch.equal(to_uint8(from_uint8(u8)), u8)
        assert torch.equal(to_uint8(from_uint8(u8).double()), u8)

    def test_from_uint8_is_the_affine_map(self) -> None:
        x = from_uint8(levels())
        assert x.dtype == torch.float32
        np.testing.assert_allclose(x.double().numpy(), np.arange(256) / 127.5 - 1, atol=1e-7)

    def test_rounds_instead_of_truncating(self) -> None:
        below, above = (100.49 / 127.5 - 1), (100.51 / 127.5 - 1)
        assert to_uint8(torch.tensor([below, above])).tolist() == [100, 101]

    def test_clips_instead_of_stretching(self) -> None:
        x = torch.tensor([-torch.inf, -3.0, -1.0, 0.5, 1.0, 1.2, torch.inf])
        assert to_uint8(x).tolist() == [0, 0, 0, 191, 255, 255, 255]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_widened_first(self, dtype: torch.dtype) -> None:
        x = from_uint8(levels()).to(dtype)
        np.testing.assert_array_equal(to_uint8(x).numpy(), np.rint((x.double().numpy() + 1) * 127.5))

    def test_one_nan_is_refused(self) -> None:
        x = torch.zeros(2, 3, 4, 4)
        x[1, 2, 3, 3] = torch.nan
        with pytest.raises(DataError, match=r"1 NaN of 96"):
            to_uint8(x)

    def test_dtypes_are_not_guessed(self) -> None:
        with pytest.raises(DataError, match="from_uint8"):
            to_uint8(levels())
        with pytest.raises(DataError, match="to_uint8"):
            from_uint8(levels().float())


class TestEncodePng:
    def test_file_holds_the_very_pixels(self) -> None:
        pixels = gradient()
        file = io.BytesIO(encode_png(torch.tensor(pixels).permute(2, 0, 1)))
        np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)

    def test_grey(self) -> None:
        file = io.BytesIO(encode_png(levels().reshape(1, 16, 16)))
        np.testing.assert_array_equal(np.asarray(Image.open(file)), levels().reshape(16, 16).numpy())

    @pytest.mark.parametrize("x", [torch.zeros(3, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)])
    def test_refuses_floats_and_batches(self, x: torch.Tensor) -> None:
        with pytest.raises(DataError, match="to_uint8"):
            encode_png(x)


class TestReadImage:
    def test_rgb(self, tmp_path: Path) -> None:
        Image.fromarray(gradient()).save(tmp_path / "a.png")
        pixels = read_image(tmp_path / "a.png")
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, gradient())

    @pytest.mark.parametrize("mode", ["L", "1", "P"])
    def test_grey_and_palette_become_rgb(self, tmp_path: Path, mode: str) -> None:
        image = Image.fromarray(gradient()).convert(mode)
        image.save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))

    def test_transparency_is_over_white(self, tmp_path: Path) -> None:
        rgba = np.zeros((4, 3, 4), np.uint8)
        rgba[..., 0] = 200
        rgba[:, 0, 3], rgba[:, 1, 3], rgba[:, 2, 3] = 0, 51, 255
        Image.fromarray(rgba).save(tmp_path / "a.png")
        # 51 / 255 = 0.2: 0.2 * 200 + 0.8 * 255 = 244, 0.8 * 255 = 204
        assert read_image(tmp_path / "a.png")[0].tolist() == [[255, 255, 255], [244, 204, 204], [200, 0, 0]]

    def test_transparent_palette_entry_is_white(self, tmp_path: Path) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.putpixel((1, 0), 1)
        image.save(tmp_path / "a.png", transparency=0)
        assert read_image(tmp_path / "a.png")[0].tolist() == [[255, 255, 255], [0, 255, 0]]

    def test_16_bit_grey_keeps_the_high_byte(self, tmp_path: Path) -> None:
        values = np.array([[0, 255, 256, 0x80FF, 0xFFFF]], np.uint16)
        Image.fromarray(values).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png")[0].tolist() == [[v] * 3 for v in (0, 0, 1, 0x80, 0xFF)]

    def test_16_bit_colour_keeps_the_high_byte(self, tmp_path: Path) -> None:
        row = b"\0" + np.array([0x00FF, 0x80FF, 0xFFFF], ">u2").tobytes()
        (tmp_path / "a.png").write_bytes(png(1, 1, 16, 2, row))
        assert read_image(tmp_path / "a.png")[0].tolist() == [[0, 0x80, 0xFF]]

    def test_32_bit_is_refused(self, tmp_path: Path) -> None:
        Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(DataError, match=r"a\.tif.*32-bit.*8 or 16 bits"):
            read_image(tmp_path / "a.tif")

    @pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
    def test_exif_orientation(self, tmp_path: Path, orientation: int, turns: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(gradient()).save(tmp_path / "a.png", exif=exif)
        # EXIF 6 means "rotate 90 degrees clockwise to view", three quarter turns counter-clockwise
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(gradient(), turns))

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
    def test_truncated_file_is_named(self, tmp_path: Path, suffix: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        path = tmp_path / f"cut.{suffix}"
        Image.fromarray(noise).save(path)
        read_image(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=rf"cut\.{suffix}: cannot be decoded .* truncated, .*subset"):
            read_image(path)

    @pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>"])
    def test_what_is_no_image(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
            read_image(tmp_path / "a.png")

    def test_missing_file_and_dead_link(self, tmp_path: Path) -> None:
        (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
        for name in ("gone.png", "link.png"):
            with pytest.raises(DataError, match=f"{name}: no such file"):
                read_image(tmp_path / name)


def test_digest_depends_on_pixels_and_shape_alone() -> None:
    pixels = gradient(4, 6)
    assert digest(pixels) == digest(np.asfortranarray(pixels))
    assert digest(pixels) != digest(pixels.reshape(6, 4, 3))
    changed = pixels.copy()
    changed[3, 5, 2] ^= 1
    assert digest(pixels) != digest(changed)


def test_records_digest_depends_on_ids_hashes_and_order() -> None:
    a, b = Record("a", "0"), Record("b", "1")
    others = [[b, a], [a], [Record("c", "0"), b], [Record("a", "2"), b]]
    assert len({records_digest(records) for records in [[a, b], *others]}) == 5


def test_digest_is_that_of_the_stored_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(gradient()).save(buffer, format="BMP")
    (tmp_path / "a.bmp").write_bytes(buffer.getvalue())
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    assert digest(read_image(tmp_path / "a.bmp")) == digest(read_image(tmp_path / "a.png"))


def test_a_program_that_is_named_as_a_picture_is_not_run(tmp_path: Path) -> None:
    """Pillow hands EPS files to Ghostscript."""
    Image.new("RGB", (32, 32)).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.png")
    for read in (read_image, open_picture):
        with pytest.raises(DataError, match="cannot be decoded"):
            read(tmp_path / "x.png")


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    for read in (read_image, open_picture):
        with pytest.raises(DataError, match="no regular file"):
            read(tmp_path / "x.png")
