"""Where everything of a run is: results/<name>/<dataset>/<task>/<sampler>/<run id>. Nothing else knows these paths."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["REFERENCES", "RUNS", "Place", "find_run", "places"]

#: the folder of run folders, where a bare name is looked for.
RUNS = Path("results")
#: folder of clean pictures, below <dataset>, of a cell whose run.json names none. Older versions had one for all sets.
REFERENCES = "reference"


@dataclass(frozen=True)
class Place:
    """Where one cell is, whether or not it exists yet.

    Attributes:
        run_folder: results/<name>.
        dataset, task, sampler, run_id: names of the folders below it.
    """

    run_folder: Path
    dataset: str
    task: str
    sampler: str
    run_id: str

    @classmethod
    def of(cls, cell: Path) -> "Place":
        """The place of a cell's folder."""
        cell = Path(cell)
        dataset, task, sampler, run_id = cell.parts[-4:]
        return cls(cell.parents[3], dataset, task, sampler, run_id)

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        return self.run_folder / self.dataset / self.task / self.sampler / self.run_id

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells the cells of a run folder apart."""
        return self.dataset, self.task, self.sampler, self.run_id

    @property
    def images(self) -> Path:
        """The folder of the restorations."""
        return self.folder / "images"

    @property
    def features(self) -> Path:
        """The folder of what set scores remember of a dataset's clean pictures, shared by all cells of the dataset."""
        return self.run_folder / self.dataset / "features"

    def references(self, run: Mapping[str, Any]) -> Path:
        """The folder of the clean pictures, which cells of the same images share.

        Args:
            run: the contents of run.json. Under one dataset name, another set of images has another folder.
        """
        return self.run_folder / self.dataset / str(run.get("references", REFERENCES))


def places(run_folder: Path) -> list[Place]:
    """The cells of a run folder that have a run.json, in the order of their paths."""
    return [Place.of(path.parent) for path in sorted(Path(run_folder).glob("*/*/*/*/run.json"))]


def find_run(word: str | Path) -> Path:
    """The run folder that a person means: a path, or the name of a folder of results/. It need not exist."""
    folder = Path(word)
    named = RUNS / folder
    return named if not folder.is_dir() and named.is_dir() else folder
