"""What a figure was measured on, for the JSON beside it."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch


def hardware(device: str) -> dict[str, object]:
    """The processor and, where ``device`` is "cuda", the GPU."""
    found: dict[str, object] = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
    }
    if device == "cuda":
        found |= {
            "gpu": torch.cuda.get_device_name(),
            "driver": _driver(),
            "cuda": torch.version.cuda,
        }
    return found


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Of Python and of those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    """As the kernel calls it; such as "AMD EPYC 9454 48-Core Processor"."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _driver() -> str:
    """The version of NVIDIA's driver."""
    version = Path("/proc/driver/nvidia/version")
    return version.read_text(encoding="utf-8").splitlines()[0] if version.exists() else "unknown"
