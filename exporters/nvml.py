"""What NVIDIA's driver says of its GPUs, where there are any: names, clocks, throttling, memory.

Through nvidia-ml-py, which is optional. Nothing here changes a setting of a GPU.
"""

import importlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from exporters.device import gpu_bus_id

# Reasons for which a GPU runs below its clocks that spoil a measurement. Being idle does not.
_THROTTLING: Final = {
    "power cap": "nvmlClocksEventReasonSwPowerCap",
    "hardware slowdown": "nvmlClocksThrottleReasonHwSlowdown",
    "thermal slowdown": "nvmlClocksEventReasonSwThermalSlowdown",
    "hardware thermal slowdown": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "power brake": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}

_QUERY: Final = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,driver_version",
    "--format=csv,noheader",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as its driver names it."""

    name: str
    memory: str
    """With its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """All of them, or why none can be seen."""

    driver: str | None
    found: tuple[Gpu, ...]
    reason: str
    """Who said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """One look at a GPU; None for what it does not tell."""

    sm_mhz: int | None
    memory_mhz: int | None
    celsius: int | None
    watts: float | None
    throttled: tuple[str, ...] | None
    """Why its clocks are below what they could be; empty if they are not."""


def gpus() -> Gpus:
    """The GPUs of this machine, from NVML or else from nvidia-smi."""
    library, why = _library()
    if library is not None:
        count = library.nvmlDeviceGetCount()
        handles = [library.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
        found = tuple(
            Gpu(
                name=_text(library.nvmlDeviceGetName(handle)),
                memory=f"{library.nvmlDeviceGetMemoryInfo(handle).total / 2**30:.0f} GiB",
            )
            for handle in handles
        )
        driver = _text(library.nvmlSystemGetDriverVersion())
        return Gpus(driver=driver, found=found, reason="NVML")
    return _from_nvidia_smi(why)


def sampler() -> Callable[[], GpuSample] | None:
    """A look at the GPU that this process uses first; None where nobody can tell.

    A look takes about a millisecond.
    """
    library, _ = _library()
    handle = _handle(library) if library is not None else None
    if library is None or handle is None:
        return None

    def sample() -> GpuSample:
        milliwatts = _asked(library, library.nvmlDeviceGetPowerUsage, handle)
        return GpuSample(
            sm_mhz=_asked(library, library.nvmlDeviceGetClockInfo, handle, library.NVML_CLOCK_SM),
            memory_mhz=_asked(
                library, library.nvmlDeviceGetClockInfo, handle, library.NVML_CLOCK_MEM
            ),
            celsius=_asked(
                library, library.nvmlDeviceGetTemperature, handle, library.NVML_TEMPERATURE_GPU
            ),
            watts=None if milliwatts is None else milliwatts / 1e3,
            throttled=_throttled(library, handle),
        )

    return sample


def process_bytes() -> int | None:
    """GPU memory that this process holds, its CUDA context included; None where it is not told."""
    library, _ = _library()
    handle = _handle(library) if library is not None else None
    if library is None or handle is None:
        return None
    running = _asked(library, library.nvmlDeviceGetComputeRunningProcesses, handle) or []
    # In a container the driver may count processes by numbers that we do not know.
    own = [entry.usedGpuMemory for entry in running if entry.pid == os.getpid()]
    return own[0] if own else None


def _library() -> tuple[ModuleType | None, str]:
    """NVML ready to be asked, or why not."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None, "nvidia-ml-py is not installed: pip install nvidia-ml-py"
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        return None, f"NVML says: {error}"
    return library, "NVML"


def _from_nvidia_smi(why: str) -> Gpus:
    tool = shutil.which(_QUERY[0])
    if tool is None:
        return Gpus(driver=None, found=(), reason=f"{why}; there is no nvidia-smi")
    told = subprocess.run(  # noqa: S603 - the driver's own tool
        [tool, *_QUERY[1:]], capture_output=True, text=True, check=False, timeout=60
    )
    rows = [line.split(", ") for line in told.stdout.splitlines() if line.count(", ") == 2]
    if told.returncode != 0 or not rows:
        said = " ".join((told.stdout + told.stderr).split())
        return Gpus(driver=None, found=(), reason=f"{why}; nvidia-smi says: {said}")
    found = tuple(Gpu(name=name, memory=memory) for name, memory, _ in rows)
    return Gpus(driver=rows[0][2], found=found, reason="nvidia-smi")


def _handle(library: ModuleType) -> Any:  # noqa: ANN401 - NVML's handles have no type
    """Of CUDA's first device: CUDA may hide some and order them differently."""
    bus_id = gpu_bus_id()
    if bus_id is None:
        return None
    return _asked(library, library.nvmlDeviceGetHandleByPciBusId, bus_id.encode())


def _throttled(library: ModuleType, handle: object) -> tuple[str, ...] | None:
    ask = getattr(library, "nvmlDeviceGetCurrentClocksEventReasons", None)
    reasons = _asked(library, ask or library.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    if reasons is None:
        return None
    masks = {why: getattr(library, name, 0) for why, name in _THROTTLING.items()}
    return tuple(why for why, mask in masks.items() if reasons & mask)


def _asked(library: ModuleType, ask: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 - numbers and records of NVML
    """The answer, or None where this GPU or driver gives none."""
    try:
        return ask(*arguments)
    except library.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
