"""`make ablation` is one command for every study: what fails in one stops no other, and shows in the exit status."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


@pytest.mark.parametrize(("bad", "failed"), [("nothing", False), ("experiments=ablation_factorial", True)])
def test_a_failing_study_stops_no_other(bad: str, failed: bool, tmp_path: Path) -> None:
    said = tmp_path / "said"
    stub = tmp_path / "safari-bench"
    stub.write_text(f'#!/bin/sh\necho "$@" >> {said}\ncase "$*" in *{bad}*) exit 1;; esac\n')
    stub.chmod(0o755)
    (tmp_path / "installed").touch()
    made = subprocess.run(["make", "ablation", f"BIN={tmp_path}", f"STAMP={tmp_path}/installed"], cwd=ROOT, timeout=60)
    assert (made.returncode != 0) == failed
    lines = said.read_text().splitlines()
    run = [word for line in lines for word in line.split() if word.startswith("experiments=")]
    studied = [line.split()[-1].removeprefix("results/") for line in lines if line.startswith("ablate")]
    assert [word.removeprefix("experiments=") for word in run] == studied
    assert {"ablation", "ablation_factorial", "ablation_cutoff", "ablation_factor", "ablation_methods"} == set(studied)
    assert all((ROOT / "experiments" / f"{name}.yaml").is_file() for name in studied)
