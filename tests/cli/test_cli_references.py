"""Two sets of images whose files are named alike, run under one name: neither is scored by the other's pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from safari_bench.cli import main
from safari_bench.data import digest, read_image
from safari_bench.ledger import Place
from safari_bench.reports import figures
from safari_bench.reports.records import Record

WORDS = ["prior=gaussian", "sampler=degraded", "dataset=folder", "dataset.size=64", "compute.device=cpu", "name=stale"]


@pytest.fixture(autouse=True)
def roots(tmp_path, monkeypatch):
    """Folders A and B, two pictures each, of the same names."""
    monkeypatch.chdir(tmp_path)
    for name in ("distortion", "cost", "spectrum"):  # nobody looks at them here
        monkeypatch.setattr(figures, name, lambda *_: b"")
    for seed, root in enumerate("AB"):
        Path(root).mkdir()
        for number in range(2):
            coarse = np.random.default_rng([seed, number]).integers(0, 256, (5, 5, 3), np.uint8)
            Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(f"{root}/{number}.png")


def both() -> None:
    main(["-m", *WORDS, "dataset.root=B,A"])
    assert len(cells()) == 2


def cells() -> dict[str, Path]:
    """Root -> the folder of its cell."""
    found = Path("results/stale/folder/sr_x4/degraded").iterdir()
    return {json.loads((cell / "run.json").read_text())["config"]["dataset"]["root"]: cell for cell in found}


def one_folder_for_all() -> None:
    """The layout of versions that kept one reference per file name: the first set's."""
    shared = Path("results/stale/folder/reference")
    run = json.loads((cells()["B"] / "run.json").read_text())
    for path in (Path("results/stale/folder") / run["references"]).iterdir():
        shutil.copy(path, shared)
    for folder in (path for path in shared.iterdir() if path.is_dir()):
        shutil.rmtree(folder)
    for cell in cells().values():
        run = json.loads((cell / "run.json").read_text())
        del run["references"]
        (cell / "run.json").write_text(json.dumps(run))


def test_each_set_has_its_own_references_and_scores_stay_what_they_were(capsys):
    both()
    for root, cell in cells().items():
        table = pd.read_csv(cell / "rows.csv", dtype={"image_id": str})
        record = Record(Place.of(cell), "degraded", json.loads((cell / "run.json").read_text()), table)
        for _, row in table.iterrows():
            reference = record.reference(row.image_file)
            np.testing.assert_array_equal(read_image(reference), read_image(Path(root, row.image_file)))
            assert digest(read_image(reference)) == row.image_sha256
    before = {root: (cell / "rows.csv").read_bytes() for root, cell in cells().items()}
    capsys.readouterr()
    assert main(["score", "stale", "compute.device=cpu"]) in (0, 2)
    said = capsys.readouterr().out
    assert said.count("2 pictures; as before: psnr") == 2 and "changed" not in said
    assert {root: (cell / "rows.csv").read_bytes() for root, cell in cells().items()} == before


def test_an_older_run_is_scored_and_a_reference_of_another_image_refused(capsys):
    both()
    one_folder_for_all()
    before = {root: (cell / "rows.csv").read_bytes() for root, cell in cells().items()}
    capsys.readouterr()
    assert main(["score", "stale", "compute.device=cpu"]) == 2
    said = capsys.readouterr().err
    assert "results/stale/folder/reference/0.png: sha256 of the pixels is " in said
    assert f"expected {digest(read_image('A/0.png'))}" in said and str(cells()["A"]) in said
    assert "another name=" in said
    assert {root: (cell / "rows.csv").read_bytes() for root, cell in cells().items()} == before
    shutil.rmtree(cells()["A"])
    assert main(["score", "stale", "compute.device=cpu"]) == 0
    assert "2 pictures; as before: psnr" in capsys.readouterr().out


def test_set_scores_are_refused_likewise(published, capsys):
    perceptual = [
        "metrics=perceptual",
        "metrics.download_seconds=0",
        "+metrics.sets.layer='64'",
        "metrics.deep_sets=null",
    ]
    both()
    for cell in cells().values():
        (cell / "set_scores.json").unlink(missing_ok=True)
    one_folder_for_all()
    assert main(["-m", *WORDS, "dataset.root=A", *perceptual]) != 0  # complete, but for its set scores
    said = capsys.readouterr()
    assert "sha256 of the pixels" in said.out + said.err
    assert not (cells()["A"] / "set_scores.json").exists()
    main(["-m", *WORDS, "dataset.root=B", *perceptual])
    assert (cells()["B"] / "set_scores.json").exists()


def test_a_reference_that_is_gone_is_named(capsys):
    assert main([*WORDS, "dataset.root=A"]) == 0
    (path,) = Path("results/stale/folder/reference").glob("*/1.png")
    path.unlink()
    assert main(["score", "stale", "compute.device=cpu"]) == 2
    assert f"image {path}: no such file" in capsys.readouterr().err
