"""What a latency was measured on, in words."""

import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporters.sessions import CPU, cpu_threads

# What decides which kernels ONNX Runtime has for convolutions and eight-bit products.
_KERNELS: Final = (
    "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx_vnni", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
_DOT_PRODUCTS: Final = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
"""Any of these makes products of eight-bit integers faster than those of floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """A processor; None and empty for what this system does not tell."""

    name: str
    threads: int
    """That this process may use."""
    kernels: tuple[str, ...]
    """Instructions that ONNX Runtime has kernels for."""
    memory_bytes: int | None
    mhz: float | None
    """Now, the mean over processors."""

    @property
    def multiplies_bytes(self) -> bool:
        """Whether it has instructions for products of eight-bit integers."""
        return not _DOT_PRODUCTS.isdisjoint(self.kernels)


def cpu() -> Cpu:
    """The processor of this machine."""
    flags = set(" ".join([*_cpuinfo("flags"), *_cpuinfo("Features")]).split())
    names = os.sysconf_names
    known = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
    return Cpu(
        name=_cpu_name(),
        threads=cpu_threads(),
        kernels=tuple(flag for flag in _KERNELS if flag in flags),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None,
        mhz=cpu_mhz(),
    )


def cpu_mhz() -> float | None:
    """Mean clock over processors; None where the kernel, or the host of a machine, hides it."""
    files = sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    try:
        values = [float(file.read_text()) / 1e3 for file in files]
    except (OSError, ValueError):
        values = []
    values = values or [float(value) for value in _cpuinfo("cpu MHz")]
    return sum(values) / len(values) if values else None


def device_name(provider: str, *, threads: int) -> str:
    """Such as "cpu: AMD EPYC 9454 48-Core Processor, 2 threads" or "gpu: NVIDIA H200"."""
    if provider == CPU:
        return f"cpu: {_cpu_name()}, {threads} thread{'s' if threads > 1 else ''}"
    return f"gpu: {_gpu_name()}"


def _cpu_name() -> str:
    named = _cpuinfo("model name")
    return named[0] if named else platform.processor() or platform.machine()


def _cpuinfo(key: str) -> list[str]:
    """What the kernel says of this, once per processor."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def gpu_bus_id() -> str | None:
    """Where the first GPU that CUDA shows to this process is plugged in; None without a driver."""
    try:
        driver, handle = _first_gpu()
    except OSError:
        return None
    bus_id = ctypes.create_string_buffer(32)
    failed = handle is None or driver.cuDeviceGetPCIBusId(bus_id, len(bus_id), handle)
    return None if failed else bus_id.value.decode()


def _gpu_name() -> str:
    """The first GPU that this process may use, from the driver itself.

    Raises:
        OSError: There is no NVIDIA driver.
    """
    driver, handle = _first_gpu()
    name = ctypes.create_string_buffer(256)
    failed = handle is None or driver.cuDeviceGetName(name, len(name), handle)
    return "unknown" if failed else name.value.decode()


def _first_gpu() -> tuple[ctypes.CDLL, ctypes.c_int | None]:
    """The driver and its first GPU, None if it shows none.

    Raises:
        OSError: There is no NVIDIA driver.
    """
    driver = ctypes.CDLL("libcuda.so.1")
    handle = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(handle), 0)
    return driver, None if failed else handle
