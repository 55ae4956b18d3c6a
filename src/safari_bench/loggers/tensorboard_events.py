"""TensorBoard: one folder of events per cell, in results/<name>/tensorboard."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from safari_bench.ledger import Place
from safari_bench.loggers.contract import Pace, pictures, required, running

__all__ = ["TensorBoard"]


class TensorBoard:
    """Scalars as a cell's batches end, and its pictures; tensorboard --logdir results/<name>/tensorboard shows them.

    The step of a score is the number of images done, so that a resumed cell goes on where it stopped; that of
    `progress`, the part of the cell that is done, is thousandths of an image.

    Args:
        images: how many pictures of a cell are shown, restoration beside reference.
        every: seconds from one point of `progress` to the next, at least.

    Raises:
        LoggerError: the package tensorboard is not installed.
    """

    def __init__(self, images: int = 8, every: float = 5.0) -> None:
        self._writer = required("torch.utils.tensorboard", "tensorboard", "tensorboard").SummaryWriter
        self.images, self.every = images, every
        self._now: tuple[Any, Pace] | None = None  # the writer of the cell that is followed

    def wants(self, cell: Path, run: Mapping[str, Any]) -> bool:
        return not (_folder(cell) / "finished").exists()

    @contextmanager
    def follow(self, cell: Path, run: Mapping[str, Any]) -> Iterator[Callable[[pd.DataFrame], None]]:
        """Gives a function that is told all rows there are, after each batch."""
        folder, last = _folder(cell), pd.DataFrame()
        if (folder / "finished").exists():
            shutil.rmtree(folder)  # failed images are tried again: the old curves are of other rows
        writer = self._writer(log_dir=str(folder))
        self._now = writer, Pace(self.every)

        def tell(rows: pd.DataFrame) -> None:
            nonlocal last
            last = rows
            for name, value in running(rows).items():
                writer.add_scalar(name, value, len(rows))

        try:
            yield tell
            for row in last.head(self.images).itertuples():
                found = [path for path in pictures(cell, run, str(row.image_file)) if path]
                if found:
                    shown = np.hstack([np.asarray(Image.open(path, formats=["PNG"]).convert("RGB")) for path in found])
                    writer.add_image(f"{row.image_id} (restored, reference)", shown, len(last), dataformats="HWC")
        finally:
            self._now = None
            writer.close()
        if len(last) == len(run["ids"]):
            (folder / "finished").touch()

    def progress(self, done: float, total: int) -> None:
        if self._now and self._now[1].due():
            self._now[0].add_scalar("progress", done / total, round(1000 * done))


def _folder(cell: Path) -> Path:
    place = Place.of(cell)
    return place.run_folder / "tensorboard" / "-".join(place.key)
