"""Pins: a change of y, generated pictures, tuned settings or scores is seen, and NUMBERS is bumped on purpose.

After a deliberate change: bump `safari_bench.NUMBERS`, run `python tests/test_pins.py`, and say in CHANGELOG.md, under
"Numbers changed", which results moved.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from safari_bench import NUMBERS
from safari_bench.cli import main, settings
from safari_bench.cli.compose import jobs
from safari_bench.cli.schema import register, root
from safari_bench.data import leaf_generator, leaf_picture

FILE = Path(__file__).with_name("pins.json")
#: but for those that want a file of the user's
TASKS = sorted(p.stem for p in (root() / "conf" / "task").glob("*.yaml") if "???" not in p.read_text())
DATASETS = ("leaves", "photos")
IMAGES = 2
#: cell -> words; tuned settings of a prior that ships, one image each
CELLS = {
    "ddnm deblur_gaussian": ("sampler=ddnm", "task=deblur_gaussian", "dataset=photos", "dataset.n=1"),
    "dps sr_x4": ("sampler=dps", "task=sr_x4", "dataset=photos", "dataset.n=1"),
}
#: dB; float32 sums differ between processors, and guidance amplifies that: at most 0.07 was seen on one image
TOLERANCE = 0.1


def measurements(task: str) -> dict[str, list[str]]:
    """dataset -> digests of y as float32 bytes, of the first images."""
    register()
    found = {}
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(root() / "conf")):
        for dataset in DATASETS:
            words = [f"task={task}", f"dataset={dataset}", f"dataset.n={IMAGES}", "sampler=degraded", "prior=gaussian"]
            job = jobs(hydra.compose("config", overrides=words), lambda: False)[0]
            y = [
                job.task.measure(job.dataset.load(i), job.seed, job.dataset.name, record.id)[1].float()
                for i, record in enumerate(job.dataset.records())
            ]
            found[dataset] = [sha256(part.contiguous().numpy().tobytes()).hexdigest()[:16] for part in y]
    return found


def leaves() -> dict[str, str]:
    """split -> digest of a dead-leaves picture."""
    splits = ("train", "tuning", "test")
    return {
        s: sha256(np.ascontiguousarray(leaf_picture(leaf_generator(s, 0), 64, 64))).hexdigest()[:16] for s in splits
    }


def tuned() -> dict[str, str]:
    """file of conf/tuned -> digest of its values, whatever their order and comments."""
    found = {}
    for name, path in settings.files().items():
        entries: Any = OmegaConf.to_container(OmegaConf.load(path))
        values = {f"{t} {s}": settings.entry(name, name, t, s) for t in entries for s in entries[t]}
        found[name] = sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
    return found


def scores(words: tuple[str, ...], folder: Path) -> float:
    """PSNR of a cell's first image."""
    assert main([*words, f"output={folder}", "name=pins", "compute.device=cpu"]) == 0
    (path,) = folder.glob(f"pins/*/*/{words[0].partition('=')[2]}/*/rows.csv")
    return float(pd.read_csv(path).psnr[0])


@pytest.fixture(scope="module")
def pins() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text()))


def test_pins_are_of_these_numbers(pins):
    assert pins["numbers"] == NUMBERS, "NUMBERS was bumped: write the pins again, python tests/test_pins.py"


@pytest.mark.parametrize("task", TASKS)
def test_measurements_are_the_same_bytes(task, pins):
    assert measurements(task) == pins["measurements"].get(task)


def test_generated_pictures_are_the_same_bytes(pins):
    assert leaves() == pins["leaves"]


def test_tuned_values_are_the_same(pins):
    assert tuned() == pins["settings"]


@pytest.mark.parametrize("cell", CELLS)
def test_scores_of_a_cell(cell, pins, tmp_path):
    assert scores(CELLS[cell], tmp_path) == pytest.approx(pins["psnr"][cell], abs=TOLERANCE)


def write(folder: Path) -> None:
    """The pins of the code as it is."""
    found = {
        "numbers": NUMBERS,
        "measurements": {task: measurements(task) for task in TASKS},
        "leaves": leaves(),
        "settings": tuned(),
        "psnr": {cell: round(scores(words, folder), 3) for cell, words in CELLS.items()},
    }
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(write(Path(temporary)))
