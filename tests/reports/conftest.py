"""A run folder of invented cells."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from safari_bench.ledger import Cell, run_id
from safari_bench.reports import figures

IDS = ("a", "b", "c", "d")
TASK = {"operator": {"factor": 4}, "noise": "gaussian", "sigma": 0.05, "sigma_range": "minus_one_one", "rate": 30.0}

Values = Mapping[str, float | Sequence[float]]


class Run:
    """Writes cells as the runner does; values of a metric are one per image, or one for all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cell(
        self,
        sampler: str,
        values: Values | None = None,
        *,
        dataset: str = "photos",
        task: str = "sr_x4",
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        statuses: Mapping[str, tuple[str, str]] | None = None,
        ids: Sequence[str] = IDS,
        count: int | None = None,
        spec: Mapping[str, Any] | None = None,
        run: Mapping[str, Any] | None = None,
        row: Mapping[str, Any] | None = None,
        color: tuple[int, int, int] | None = None,
    ) -> Path:
        resolved = {
            "dataset": {"name": dataset, "manifest_sha256": "m"},
            "prior": {"name": "gaussian", "sha256": "p"},
            "task": {"name": task, **TASK},
            "sampler": {"name": sampler, **(options or {})},
            "precision": "fp32",
            "seed": seed,
            **(spec or {}),
        }
        cell = Cell(self.folder / dataset / task / sampler / run_id(resolved), ids)
        with cell.lock():
            cell.open({"spec": resolved, "name": "made up", **(run or {})})
            rows = []
            for k, image in enumerate(ids[:count]):
                status, reason = (statuses or {}).get(image, ("ok", ""))
                scores = {n: v if isinstance(v, int | float) else v[k] for n, v in (values or {}).items()}
                rows.append(
                    {
                        **dict(dataset=dataset, image_id=image, image_sha256="i", y_sha256=f"{task}{image}{seed}"),
                        **dict(task=task, sigma=0.05, sigma_range="minus_one_one", sampler=sampler, prior="gaussian"),
                        **dict(run_id=run_id(resolved), seed=seed, status=status, reason=reason),
                        **scores,
                        "image_file": f"{image}.png" if status == "ok" else "",
                        **(row or {}),
                    }
                )
                if color is not None and status == "ok":
                    self.picture(cell.folder / "images" / f"{image}.png", color)
            cell.append(rows)
            if count is None:
                cell.close()
        return cell.folder

    def picture(self, path: Path, color: tuple[int, int, int], size: int = 4) -> None:
        """A ramp in the colour given, so that an interpolation or a shift would show."""
        path.parent.mkdir(parents=True, exist_ok=True)
        ramp = np.arange(size * size).reshape(size, size, 1) % 7
        Image.fromarray((np.array(color) + ramp).astype(np.uint8)).save(path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "table1")


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[[str], Run]:
    return lambda name: Run(tmp_path / name / "table1")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves empty files: drawing takes a second, and only some tests look at it."""
    for name in ("distortion", "cost", "spectrum"):
        monkeypatch.setattr(figures, name, lambda *_: b"")
