"""A prior that cannot be loaded is looked at once a process, however many jobs ask for it."""

import json

import pytest

from safari_bench.cli import compose
from safari_bench.priors import guided_diffusion
from safari_bench.priors.unet import PriorError


def test_a_file_that_is_refused_is_read_once(tmp_path, monkeypatch):
    path = tmp_path / "ffhq_10m.pt"
    path.write_bytes(b"not a checkpoint")
    node = json.dumps(
        {
            "name": "guided_diffusion",
            "_target_": "safari_bench.priors.guided_diffusion.load",
            "checkpoint": str(path),
            "sha256": "0" * 64,
        }
    )
    read = []
    looked = guided_diffusion.sha256_of
    monkeypatch.setattr(guided_diffusion, "sha256_of", lambda *a, **k: (read.append(a), looked(*a, **k))[1])
    reasons = []
    for _ in range(3):
        with pytest.raises(PriorError) as error:
            compose.prior_of(node)
        reasons.append(str(error.value))
    assert len(set(reasons)) == 1 and str(path) in reasons[0]
    assert len(read) == 1
