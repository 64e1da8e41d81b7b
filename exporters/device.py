"""What a latency was measured on, in words."""

import ctypes
import platform
from pathlib import Path

from exporters.sessions import CPU


def device_name(provider: str, *, threads: int) -> str:
    """Such as "cpu: AMD EPYC 9454 48-Core Processor, 2 threads" or "gpu: NVIDIA H200"."""
    if provider == CPU:
        return f"cpu: {_cpu_name()}, {threads} thread{'s' if threads > 1 else ''}"
    return f"gpu: {_gpu_name()}"


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _gpu_name() -> str:
    """The first GPU that this process may use, from the driver itself.

    Raises:
        OSError: There is no NVIDIA driver.
    """
    driver = ctypes.CDLL("libcuda.so.1")
    handle = ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(handle), 0)
        or driver.cuDeviceGetName(name, len(name), handle)
    )
    return "unknown" if failed else name.value.decode()
