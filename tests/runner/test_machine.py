"""What run.json says of the machine, and how much memory a process may have."""

import re
from importlib import metadata
from pathlib import Path

import pytest
import torch

from safari_bench import machine

GIB = 2**30
CPU = torch.device("cpu")


def test_every_package_that_makes_numbers_is_recorded() -> None:
    packages = machine.describe(CPU, Path("/"))["packages"]
    needed = {
        re.split("[><=~!; ]", need)[0].lower() for need in metadata.requires("safari-bench") if "extra" not in need
    }
    no_numbers = {"hydra-joblib-launcher", "tabulate", "tqdm", "jaxtyping", "beartype", "filelock", "pyyaml", "jinja2"}
    no_numbers |= {"statsmodels", "huggingface-hub", "requests", "pywavelets"}  # the last is for restore alone
    assert {name.lower() for name in packages} == needed - no_numbers


class Host:
    """Stand-ins for /proc and /sys/fs/cgroup, 8 GiB of them available."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc, self.groups = folder / "proc", folder / "cgroup"
        monkeypatch.setattr(machine, "_PROC", self.proc)
        monkeypatch.setattr(machine, "_CGROUPS", self.groups)
        self.write(self.proc / "meminfo", f"MemTotal: 1 kB\nMemAvailable:    {8 * 2**20} kB\n")

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def within(self, membership: str) -> None:
        self.write(self.proc / "self" / "cgroup", f"9:name=systemd:/\n{membership}\n")

    def group(self, path: str, limit: object, used: int, cache: int | None = None, v1: bool = False) -> None:
        folder = self.groups / "memory" / path if v1 else self.groups / path
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if v1 else ("memory.max", "memory.current")
        for name, value in zip(names, (limit, used), strict=True):
            self.write(folder / name, f"{value}\n")
        if cache is not None:
            self.write(folder / "memory.stat", f"anon 1\ninactive_file 0\ntotal_inactive_file {cache}\n" if v1 else
                       f"anon 1\ninactive_file_other 5\ninactive_file {cache}\n")  # fmt: skip


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_without_groups_the_machine_s_own_memory_counts(host: Host) -> None:
    assert machine.free_mib(CPU) == 8192


def test_a_container_s_limit_counts_and_files_that_can_be_forgotten_do_not(host: Host) -> None:
    host.within("0::/")
    host.group("", 4 * GIB, 3 * GIB)
    assert machine.free_mib(CPU) == 1024
    host.group("", 4 * GIB, 3 * GIB, cache=GIB)
    assert machine.free_mib(CPU) == 2048
    host.group("", 16 * GIB, GIB)
    assert machine.free_mib(CPU) == 8192
    host.group("", GIB, 2 * GIB, cache=0)
    assert machine.free_mib(CPU) == 0
    host.group("", "max", GIB)
    assert machine.free_mib(CPU) == 8192


def test_of_nested_groups_the_tightest_counts(host: Host) -> None:
    host.within("0::/slurm/job_7/step_0")
    host.group("slurm/job_7", 3 * GIB, GIB)
    host.group("slurm/job_7/step_0", "max", GIB)
    host.group("slurm", 6 * GIB, 2 * GIB)
    assert machine.free_mib(CPU) == 2048


@pytest.mark.parametrize("path", ["job", ""], ids=["host", "container"])
def test_version_1_wherever_its_files_are_mounted(host: Host, path: str) -> None:
    host.within("5:cpu,memory:/job\n0::/")
    host.group(path, 4 * GIB, 3 * GIB, cache=GIB // 2, v1=True)
    assert machine.free_mib(CPU) == 1536
    host.group(path, 0x7FFFFFFFFFFFF000, 3 * GIB, v1=True)  # no limit
    assert machine.free_mib(CPU) == 8192
