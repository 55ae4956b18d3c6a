"""Manifests of folders: CSV files with the columns id, sha256, recipe, so that two machines can tell they agree."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from safari_bench.data.contract import DataError, Dataset, Record

__all__ = ["Manifest", "write_manifest"]

_COLUMNS = ["id", "sha256", "recipe"]


def write_manifest(dataset: Dataset, path: Path | str) -> None:
    """Write id, pixel hash and recipe of every image of a dataset, in its order."""
    recipe = dataset.describe()["recipe"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((record.id, record.sha256, recipe) for record in dataset.records())
    Path(path).write_text(text.getvalue(), encoding="utf-8", newline="")


class Manifest:
    """What a manifest file promises.

    Args:
        path: a file that `write_manifest` wrote.
    Raises:
        DataError: if the file cannot be read, has other columns, no row, or an id twice.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        try:
            with open(path, encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                rows, columns = list(reader), list(reader.fieldnames or [])
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"dataset.manifest {path}: cannot be read ({error}); expected a CSV file") from error
        if columns != _COLUMNS or any(None in row.values() for row in rows):
            raise DataError(
                f"dataset.manifest {path}: got columns {columns}, expected {_COLUMNS} in all rows; rewrite it"
            )
        self.recipes = sorted({row["recipe"] for row in rows})
        self.sha256 = {row["id"]: row["sha256"] for row in rows}
        if not rows or len(self.sha256) != len(rows):
            raise DataError(
                f"dataset.manifest {path}: got {len(rows)} rows with {len(self.sha256)} different ids, expected one "
                "row per image; rewrite it"
            )

    def check_names(self, chosen: Iterable[str], present: Iterable[str], recipe: str) -> None:
        """Compare all that can be compared without decoding an image.

        Args:
            chosen: ids the dataset is about to use; each must be listed.
            present: ids of all images in the folder; each listed id must be among them.
            recipe: the dataset's.
        Raises:
            DataError: naming every difference.
        """
        unlisted = sorted(set(chosen) - self.sha256.keys())
        absent = sorted(self.sha256.keys() - set(present))
        self._refuse(
            [f"recipe {recipe}, listed {', '.join(self.recipes)}"] * (self.recipes != [recipe])
            + [f"{i}: not listed" for i in unlisted]
            + [f"{i}: listed, but not in the folder" for i in absent]
        )

    def check_hashes(self, records: Iterable[Record]) -> None:
        """Raises DataError, naming every record whose pixels are not those listed."""
        other = [r for r in records if r.sha256 != self.sha256[r.id]]
        self._refuse([f"{r.id}: sha256 {r.sha256}, listed {self.sha256[r.id]}" for r in other])

    def _refuse(self, differences: list[str]) -> None:
        if differences:
            raise DataError(
                f"dataset.manifest {self.path}: {len(differences)} differences:\n  "
                + "\n  ".join(differences)
                + "\nExpected the very images, recipe and decoder of the manifest: fetch the files again and install "
                "the Pillow that constraints.txt pins, or write a new manifest and compare no results across the two"
            )
