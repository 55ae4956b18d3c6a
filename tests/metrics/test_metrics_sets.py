"""FID and KID against torch-fidelity on the same folders of PNGs."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import backbones
import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image

from safari_bench.metrics import SetScores, Suite, WeightsError
from safari_bench.metrics.weights import BACKBONES

CPU = torch.device("cpu")
FID, KID = torch_fidelity.KEY_METRIC_FID, torch_fidelity.KEY_METRIC_KID_MEAN
N = 5


def save(folder: Path, seed: int, n: int = N, bright: int = 0) -> list[Path]:
    """Smooth random pictures, so that two sets of them differ by more than noise."""
    folder.mkdir(parents=True, exist_ok=True)
    random, paths = np.random.default_rng(seed), []
    for k in range(n):
        coarse = Image.fromarray(random.integers(bright, 256, (6, 6, 3), dtype=np.uint8))
        paths.append(folder / f"{k:03d}.png")
        coarse.resize((40, 32), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


class Scene:
    """Two folders of pictures, and whichever files went through the network in the last call."""

    def __init__(self, folder: Path) -> None:
        self.restored, self.reference = save(folder / "images", 1, bright=120), save(folder / "reference", 2)
        self.cache = folder / "features"
        self.passed: list[Path] = []

    def score(self, scores: SetScores, known: dict[str, Any] | None = None) -> dict[str, Any]:
        self.passed = []
        return scores(self.restored, self.reference, self.cache, CPU, known, self._note)

    def _note(self, paths: Iterable[Path]) -> Iterable[Path]:
        for path in paths:
            self.passed.append(path)
            yield path

    def theirs(self, weights: Path, layer: str = "64", **options: Any) -> dict[str, float]:
        return torch_fidelity.calculate_metrics(
            input1=str(self.restored[0].parent),
            input2=str(self.reference[0].parent),
            feature_extractor="inception-v3-compat",
            feature_layer_fid=layer,
            feature_layer_kid=layer,
            feature_extractor_weights_path=str(weights),
            **dict(fid=True, kid=True, cuda=False, cache=False, verbose=False, save_cpu_ram=True),
            **options,
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def inception(published: Path) -> Path:
    return published / BACKBONES["inception"].file


def shallow(fid_from: int = 2, **settings: Any) -> SetScores:
    """The first layer with features: some 30 times faster than the last."""
    return SetScores(fid_from, layer="64", **settings)


@pytest.mark.parametrize(("subsets", "size"), [(5, 3), (100, 1000)])
def test_equal_to_torch_fidelity_on_the_same_folders(scene: Scene, inception: Path, subsets: int, size: int) -> None:
    """Exactly, with its float64 option, though in batches; to 1e-3 with the float32 it takes by default."""
    found = scene.score(shallow(kid_subsets=subsets, kid_subset_size=size))
    settings = {"kid_subsets": 1 if size >= N else subsets, "kid_subset_size": min(size, N)}
    same = scene.theirs(inception, feature_extractor_internal_dtype="float64", batch_size=3, **settings)
    assert found["scores"] == {"fid_64": same[FID], "kid_64": same[KID]}
    rough = scene.theirs(inception, kid_subsets=subsets, kid_subset_size=min(size, N))
    assert list(found["scores"].values()) == pytest.approx([rough[FID], rough[KID]], rel=1e-3)
    assert found["n"] == N and found["scores"]["fid_64"] > 1
    assert (found["kid_sd"] is None) == (size >= N)


@pytest.mark.slow
def test_equal_to_torch_fidelity_in_the_layer_that_papers_use(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home" / "hub" / "checkpoints"
    backbones.write(folder, ("inception",), seed=3, full=True)
    path = folder / BACKBONES["inception"].file
    assert path.stat().st_size / 1e6 == pytest.approx(BACKBONES["inception"].megabytes, rel=0.01)
    right = dataclasses.replace(BACKBONES["inception"], prefix=backbones.digest(path)[:8])
    monkeypatch.setitem(BACKBONES, "inception", right)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    found = scene.score(SetScores(fid_from=2, kid_subsets=3, kid_subset_size=4))
    same = scene.theirs(
        path, "2048", feature_extractor_internal_dtype="float64", batch_size=2, kid_subsets=3, kid_subset_size=4
    )
    assert found["scores"] == {"fid": same[FID], "kid": same[KID]}


def test_a_set_equals_itself(scene: Scene, inception: Path) -> None:
    scene.restored = scene.reference
    found = scene.score(shallow())
    assert found["scores"]["fid_64"] == pytest.approx(0, abs=1e-4)
    assert found["scores"]["kid_64"] < 0  # the estimate of 0 from few pictures, whose own pairs are left out


def test_the_order_of_the_files_does_not_matter(scene: Scene, inception: Path) -> None:
    scores = shallow(kid_subsets=5, kid_subset_size=4)
    before = scene.score(scores)
    scene.restored.reverse()
    scene.reference[0], scene.reference[3] = scene.reference[3], scene.reference[0]
    assert scene.score(scores) == before


def test_features_of_the_references_are_kept_and_found_again(scene: Scene, inception: Path) -> None:
    first = scene.score(shallow())
    assert scene.passed == scene.restored + scene.reference or scene.passed == scene.reference + scene.restored
    scene.restored = save(scene.restored[0].parent, 5)
    second = scene.score(shallow())
    assert scene.passed == scene.restored
    assert second["scores"] != first["scores"]
    assert len(list(scene.cache.iterdir())) == 1


def test_a_changed_reference_is_not_scored_with_features_of_the_old_one(scene: Scene, inception: Path) -> None:
    first = scene.score(shallow())
    save(scene.reference[0].parent, 9, n=1)
    second = scene.score(shallow())
    assert scene.passed == scene.reference + scene.restored
    assert second["scores"]["fid_64"] != first["scores"]["fid_64"]
    assert len(list(scene.cache.iterdir())) == 2


def test_other_weights_are_not_scored_with_features_of_the_old_ones(
    scene: Scene, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.score(shallow())
    backbones.write(tmp_path / "own", ("inception",), seed=1)
    path = tmp_path / "own" / BACKBONES["inception"].file
    other = dataclasses.replace(BACKBONES["inception"], prefix=backbones.digest(path)[:8])
    monkeypatch.setitem(BACKBONES, "inception", other)
    scores = shallow()
    Suite([], scores, weights_dir=str(tmp_path / "own"))
    second = scene.score(scores, first)
    assert scene.passed == scene.reference + scene.restored
    assert second["weights"]["sha256"] != first["weights"]["sha256"]
    same = scene.theirs(path, feature_extractor_internal_dtype="float64", kid_subset_size=N)
    assert second["scores"]["fid_64"] == same[FID]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"nonsense"], ids=["empty", "cut", "nonsense"])
def test_damaged_features_are_computed_again(scene: Scene, inception: Path, damage: bytes) -> None:
    before = scene.score(shallow())
    (path,) = scene.cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage)
    assert scene.score(shallow()) == before
    assert path.read_bytes() == whole


def test_what_is_known_is_not_computed_again_unless_something_changed(scene: Scene, inception: Path) -> None:
    known = json.loads(json.dumps(scene.score(shallow())))
    assert scene.score(shallow(), known) == known
    assert scene.passed == []
    changed = scene.score(shallow(kid_subsets=2, kid_subset_size=3), known)
    assert changed["scores"] != known["scores"]
    save(scene.restored[0].parent, 5, n=1)
    assert scene.score(shallow(), known)["scores"] != known["scores"]


def test_few_pictures_are_said_to_be_few(scene: Scene, inception: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scene.score(shallow(fid_from=N + 1))
    assert set(found["scores"]) == {"kid_64"}
    assert found["notes"][0] == f"no fid_64 of {N} pictures, fewer than {N + 1}"
    (note,) = scene.score(shallow(fid_from=N))["notes"]
    assert f"{N} pictures, fewer than 2048" in note
    monkeypatch.setattr(SetScores, "reliable_from", N)
    assert scene.score(shallow(fid_from=N))["notes"] == []


def test_one_picture_has_no_score(scene: Scene, inception: Path) -> None:
    scene.restored, scene.reference = scene.restored[:1], scene.reference[:1]
    assert scene.score(shallow())["scores"] == {}


def test_without_weights_there_is_nothing_and_what_there_was_stays(
    scene: Scene, inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = scene.score(shallow())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    scores = shallow()
    suite = Suite([], scores, download_seconds=0.0)
    assert suite.absent == {"fid_64", "kid_64"}
    assert scene.score(scores)["scores"] == {"fid_64": None, "kid_64": None}
    assert scene.score(scores, known) == known
    save(scene.restored[0].parent, 5, n=1)
    assert scene.score(scores, known)["scores"] == {"fid_64": None, "kid_64": None}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fid_from": 1}, "sets.fid_from: got 1, expected at least 2"),
        ({"kid_subsets": 0}, "sets.kid_subsets: got 0"),
        ({"kid_subset_size": 1}, "sets.kid_subset_size: got 1"),
        ({"layer": "100"}, "sets.layer: got '100', expected 64"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SetScores(**settings)


@pytest.mark.parametrize("counts", [(0, 0), (2, 1)])
def test_sets_that_are_no_pairs_are_refused(scene: Scene, counts: Sequence[int]) -> None:
    scene.restored, scene.reference = scene.restored[: counts[0]], scene.reference[: counts[1]]
    with pytest.raises(ValueError, match="expected pairs"):
        scene.score(shallow())


def test_weights_of_another_network_are_refused(
    scene: Scene, inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"conv.weight": torch.zeros(3)}, folder / inception.name)
    prefix = backbones.digest(folder / inception.name)[:8]
    monkeypatch.setitem(BACKBONES, "inception", dataclasses.replace(BACKBONES["inception"], prefix=prefix))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    with pytest.raises(WeightsError, match="do not fit Inception"):
        scene.score(shallow())


@pytest.mark.parametrize("modern", [True, False])
def test_code_in_a_file_of_weights_is_not_run(
    scene: Scene, inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modern: bool
) -> None:
    folder, mark = tmp_path / "home" / "hub" / "checkpoints", tmp_path / "mark"
    folder.mkdir(parents=True)
    held = {**backbones.weights("inception", 0), "more": backbones.Bomb(mark)}
    torch.save(held, folder / inception.name, _use_new_zipfile_serialization=modern)
    prefix = backbones.digest(folder / inception.name)[:8]
    monkeypatch.setitem(BACKBONES, "inception", dataclasses.replace(BACKBONES["inception"], prefix=prefix))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    with pytest.raises(WeightsError, match="no weights in torch's format"):
        scene.score(shallow())
    assert not mark.exists()


@pytest.mark.gpu
def test_a_gpu_gives_the_number_of_the_cpu(scene: Scene, inception: Path) -> None:
    on_cpu = scene.score(shallow())["scores"]
    on_gpu = shallow()(scene.restored, scene.reference, scene.cache, torch.device("cuda"))["scores"]
    assert on_gpu == pytest.approx(on_cpu, rel=1e-6)
