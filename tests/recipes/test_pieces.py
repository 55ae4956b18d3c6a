"""Files cut into pieces and put together."""

import os

import pytest

from recipes.pieces import join, split


def test_pieces_make_the_file(tmp_path):
    data = os.urandom(2500)
    (tmp_path / "a.safetensors").write_bytes(data)
    pieces = split(tmp_path / "a.safetensors", tmp_path / "out", largest=1000)
    assert [piece.stat().st_size for piece in pieces] == [1000, 1000, 500]
    (made,) = join(tmp_path / "out", tmp_path / "back")
    assert made.name == "a.safetensors" and made.read_bytes() == data
    pieces[1].unlink()
    with pytest.raises(ValueError, match="incomplete"):
        join(tmp_path / "out", tmp_path / "back")
