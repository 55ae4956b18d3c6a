"""Test modules may import the oracles that lie beside them."""

import dataclasses
import os
import sys
import tempfile
from pathlib import Path

import pytest
import torch

for folder in ("operators", "samplers", "metrics", "priors", "exact"):
    sys.path.insert(0, str(Path(__file__).parent / folder))


#: tests see no weights of this machine and no network, unless they ask for them
TORCH_HOME = os.environ.get("TORCH_HOME")
os.environ["SAFARI_BENCH_DOWNLOAD_SECONDS"] = "0"
os.environ["TORCH_HOME"] = tempfile.mkdtemp(prefix="torch_home")


@pytest.fixture
def real_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of this machine are found again."""
    monkeypatch.setenv("TORCH_HOME", TORCH_HOME) if TORCH_HOME else monkeypatch.delenv("TORCH_HOME")


@pytest.fixture(scope="session")
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder for TORCH_HOME with random backbones under the published names, and their digests."""
    import backbones

    home = tmp_path_factory.mktemp("torch_home")
    return home, backbones.write(home / "hub" / "checkpoints")


@pytest.fixture
def published(torch_home: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The random backbones as if they were the published ones: found by all, and their digests the expected ones."""
    from safari_bench.metrics.weights import BACKBONES

    home, digests = torch_home
    for name, digest in digests.items():
        monkeypatch.setitem(BACKBONES, name, dataclasses.replace(BACKBONES[name], prefix=digest[:8]))
    monkeypatch.setenv("TORCH_HOME", str(home))
    return home / "hub" / "checkpoints"


torch.set_num_threads(1)  # small tensors: a second thread costs more than it gives
