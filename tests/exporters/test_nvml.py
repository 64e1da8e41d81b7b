"""How a driver's answers are read. No GPU is at hand, so a driver of ours answers as NVML does."""

import os
import sys
from types import SimpleNamespace
from typing import NoReturn

import pytest

from exporters import nvml
from exporters.clocks import watcher
from exporters.nvml import gpus, process_bytes, sampler

pynvml = pytest.importorskip("pynvml")


class NotSupportedError(Exception):
    pass


def refuse(*arguments: object) -> NoReturn:
    raise NotSupportedError


def driver(**answers: object) -> SimpleNamespace:
    """NVML with one GPU; every name that we ask for must be one that nvidia-ml-py has."""
    functions: dict[str, object] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda number: f"gpu{number}",
        "nvmlDeviceGetHandleByPciBusId": lambda bus_id: bus_id.decode(),
        "nvmlDeviceGetName": lambda handle: "NVIDIA H200",
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=141 * 2**30),
        "nvmlSystemGetDriverVersion": lambda: b"580.1",
        "nvmlDeviceGetPowerUsage": lambda handle: 125_500,
        "nvmlDeviceGetClockInfo": lambda handle, kind: {0: 1, 1: 1980, 2: 3201}[kind],
        "nvmlDeviceGetTemperature": lambda handle, kind: 41,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x4 | 0x1,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [
            SimpleNamespace(pid=1, usedGpuMemory=5),
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=7 * 2**20),
        ],
        **answers,
    }
    assert all(hasattr(pynvml, name) for name in functions)
    constants = {name: value for name, value in vars(pynvml).items() if isinstance(value, int)}
    return SimpleNamespace(**constants, **functions, NVMLError=NotSupportedError)


def install(monkeypatch: pytest.MonkeyPatch, **answers: object) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver(**answers))
    monkeypatch.setattr(nvml, "gpu_bus_id", lambda: "00000000:01:00.0")


def test_a_gpu_is_named_with_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    found = gpus()
    assert (found.driver, found.reason) == ("580.1", "NVML")
    assert [(gpu.name, gpu.memory) for gpu in found.found] == [("NVIDIA H200", "141 GiB")]


def test_a_look_has_clocks_heat_power_and_what_holds_it_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch)
    look = sampler()
    assert look is not None
    seen = look()
    assert (seen.sm_mhz, seen.memory_mhz, seen.celsius, seen.watts) == (1980, 3201, 41, 125.5)
    assert seen.throttled == ("power cap",), "being idle, the other reason, holds nothing down"


def test_what_a_gpu_does_not_tell_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch,
        nvmlDeviceGetPowerUsage=refuse,
        nvmlDeviceGetCurrentClocksEventReasons=refuse,
        nvmlDeviceGetComputeRunningProcesses=refuse,
    )
    look = sampler()
    assert look is not None
    assert look().watts is None
    assert look().throttled is None
    assert process_bytes() is None


def test_memory_is_this_processes_own(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert process_bytes() == 7 * 2**20


def test_a_watcher_tells_at_how_many_looks_clocks_were_held_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reasons = iter([0x4, 0x0, 0x0, 0x4 | 0x20])
    install(monkeypatch, nvmlDeviceGetCurrentClocksEventReasons=lambda handle: next(reasons))
    machine = watcher(gpu=True)
    for _ in range(4):
        machine.look()
        machine.next_s = 0.0
    seen = machine.conditions()
    assert seen.throttled == {"power cap": 0.5, "thermal slowdown": 0.25}
    assert seen.gpu_sm_mhz == (1980.0, 1980.0)
    assert seen.gpu_watts == (125.5, 125.5)
    assert seen.looks == 4


def test_looks_are_not_taken_one_upon_the_other() -> None:
    machine = watcher(gpu=False)
    machine.look()
    machine.look()
    seen = machine.conditions()
    assert seen.looks == 1
    assert seen.throttled is None
    assert seen.gpu_sm_mhz is None
