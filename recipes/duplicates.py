"""Near-duplicates among photographs, found by difference hashes: 64 bits that scaling hardly changes."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["CLOSE", "difference_hash", "near_duplicates"]

#: hashes that differ in at most this many of 64 bits show one scene; unrelated ones with clear skies came as near as 8
CLOSE = 6

Bits = NDArray[np.bool_]


def difference_hash(picture: Image.Image) -> Bits:
    """64 bits: which of neighbouring cells in a 9 x 8 thumbnail is the brighter one."""
    small = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits: Bits = (small[:, 1:] > small[:, :-1]).ravel()
    return bits


def near_duplicates(ours: Mapping[str, Bits], theirs: Mapping[str, Bits]) -> list[tuple[str, str, int]]:
    """Pairs of names with at most `CLOSE` differing bits, and their number; mirror images count too."""
    found = []
    for one, bits in ours.items():
        # a mirrored picture has its columns reversed and every comparison turned round
        mirrored = ~bits.reshape(8, 8)[:, ::-1].ravel()
        for other, there in theirs.items():
            apart = int(min((bits != there).sum(), (mirrored != there).sum()))
            if apart <= CLOSE:
                found.append((one, other, apart))
    return found
