"""Manifests of folders: CSV files with the columns id, sha256, recipe, so that two machines can tell they agree."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from safari_bench.data.contract import DataError, Dataset, Record

__all__ = ["Manifest", "manifest_csv"]

_COLUMNS = ["id", "sha256", "recipe"]


def manifest_csv(dataset: Dataset) -> str:
    """Id, pixel hash and recipe of every image of a dataset, in its order, as the text of a manifest."""
    recipe = dataset.describe()["recipe"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((record.id, record.sha256, recipe) for record in dataset.records())
    return text.getvalue()


class Manifest:
    """What a manifest file promises.

    Args:
        path: a file with the text of `manifest_csv`.
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
        self._refuse(self._names(chosen, present, recipe))

    def check_hashes(self, records: Iterable[Record]) -> None:
        """Raises DataError, naming every record whose pixels are not those listed."""
        self._refuse(self._hashes((r.id, r.sha256) for r in records))

    def differences(self, digests: Mapping[str, str | DataError], present: Iterable[str], recipe: str) -> list[str]:
        """One sentence for everything in which a dataset is not as listed; none if it is.

        Args:
            digests: id -> pixel hash of the dataset's images, or why there is none.
            present, recipe: see `check_names`.
        """
        broken = [f"{i}: {got}" for i, got in digests.items() if isinstance(got, DataError)]
        whole = [(i, got) for i, got in digests.items() if isinstance(got, str) and i in self.sha256]
        return self._names(digests, present, recipe) + broken + self._hashes(whole)

    def _names(self, chosen: Iterable[str], present: Iterable[str], recipe: str) -> list[str]:
        unlisted = sorted(set(chosen) - self.sha256.keys())
        absent = sorted(self.sha256.keys() - set(present))
        return (
            [f"recipe {recipe}, listed {', '.join(self.recipes)}"] * (self.recipes != [recipe])
            + [f"{i}: not listed" for i in unlisted]
            + [f"{i}: listed, but not in the folder" for i in absent]
        )

    def _hashes(self, digests: Iterable[tuple[str, str]]) -> list[str]:
        return [f"{i}: sha256 {got}, listed {self.sha256[i]}" for i, got in digests if got != self.sha256[i]]

    def _refuse(self, differences: list[str]) -> None:
        if differences:
            raise DataError(
                f"dataset.manifest {self.path}: {len(differences)} differences:\n  "
                + "\n  ".join(differences)
                + "\nExpected the very images, recipe and decoder of the manifest: fetch the files again and install "
                "the Pillow that constraints.txt pins, or write a new manifest and compare no results across the two"
            )
