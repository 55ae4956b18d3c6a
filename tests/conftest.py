"""Test modules may import the oracles that lie beside them."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

for folder in ("operators", "samplers", "metrics", "priors", "exact"):
    sys.path.insert(0, str(Path(__file__).parent / folder))


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
    for name, backbone in dict(BACKBONES).items():
        monkeypatch.setitem(BACKBONES, name, dataclasses.replace(backbone, prefix=digests[name][:8]))
    monkeypatch.setenv("TORCH_HOME", str(home))
    return home / "hub" / "checkpoints"


torch.set_num_threads(1)  # small tensors: a second thread costs more than it gives
