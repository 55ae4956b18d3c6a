"""kill -9 at any moment loses at most the batch in flight and changes no number.

Run as a program, this file forks processes that work on a cell as the runner does, and kills them: before a line of the
ledger's code chosen at random, or after a random time.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import safari_bench
from safari_bench.ledger import HEAD, Cell

IDS = [f"{n:03d}" for n in range(60)]


def work(folder: Path) -> None:
    """Batches of three until the cell is complete; image 13 fails when first tried."""
    cell = Cell(folder, IDS)
    while not cell.complete():
        with cell.lock():
            cell.open({"spec": {"seed": 3}})
            missing = cell.missing()
            for k in range(0, len(missing), 3):
                cell.append([row(image, (folder / "tried").exists()) for image in missing[k : k + 3]])
                if "013" in missing[k : k + 3]:
                    (folder / "tried").touch()
            cell.close()


def row(image: str, tried: bool) -> dict[str, object]:
    status = "failed" if image == "013" and not tried else "ok"
    return dict.fromkeys(HEAD, "t") | {
        "image_id": image,
        "seed": 3,
        "sigma": 0.1,
        "status": status,
        "psnr": int(image) / 7,
    }


class Fuse:
    """Counts the lines of the ledger that run, and kills its own process before the one with the number given."""

    def __init__(self, die_at: int) -> None:
        self.lines, self.die_at = 0, die_at

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if f"{os.sep}ledger{os.sep}" not in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
            return None
        self.lines += event == "line"
        if self.lines == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self


def forked(folder: Path, fuse: Fuse | None = None) -> int:
    child = os.fork()
    if child:
        return child
    sys.settrace(fuse)
    work(folder)
    sys.settrace(None)
    if fuse is not None:
        folder.with_suffix(".lines").write_text(str(fuse.lines))
    os._exit(0)


def died(child: int) -> bool:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code == -signal.SIGKILL


def kill_many(root: Path, moments: random.Random) -> None:
    start = time.perf_counter()
    assert not died(forked(root / "whole"))
    seconds = time.perf_counter() - start
    assert not died(forked(root / "traced", Fuse(-1)))
    lines = int((root / "traced.lines").read_text())
    expected = (root / "whole" / "rows.csv").read_bytes()
    kills, seen = 0, []
    for folder in (root / str(n) for n in range(16)):
        for _ in range(3):
            if moments.random() < 0.6:
                child = forked(folder, Fuse(moments.randrange(lines // 2)))
            else:
                child = forked(folder)
                time.sleep(moments.random() * seconds / 2)
                os.kill(child, signal.SIGKILL)
            kills += died(child)
            seen.append(len(Cell(folder, IDS).rows()))  # readable whatever happened
        assert not died(forked(folder))
        assert (folder / "rows.csv").read_bytes() == expected, folder
        assert not list(folder.rglob("*.tmp")) and not (folder / "rows").exists(), folder
    print(json.dumps({"kills": kills, "seen": seen}))


def test_kill_at_any_moment_changes_nothing(tmp_path: Path) -> None:
    source = str(Path(safari_bench.__file__).parents[1])
    command = [sys.executable, __file__, str(tmp_path), "0"]
    done = subprocess.run(command, env={"PYTHONPATH": source}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    table = (tmp_path / "whole" / "rows.csv").read_text()
    assert table.count("\n") == 61 and "failed" not in table
    assert report["kills"] > 24, "the kills must hit processes at work"
    assert len(set(report["seen"])) > 6, "and at different stages"


if __name__ == "__main__":
    kill_many(Path(sys.argv[1]), random.Random(int(sys.argv[2])))
