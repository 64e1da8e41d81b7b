"""What else the machine did while something was timed, looked at between blocks of runs."""

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from exporters.device import cpu_mhz
from exporters.nvml import GpuSample, sampler

Range = tuple[float, float]
"""The lowest and the highest that was seen."""

# Reading every processor's clock wakes it up: not after every block of a millisecond.
_PAUSE_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The machine's state over a measurement; None for what it does not tell."""

    looks: int
    load: Range | None
    """Processes that ran or wanted to, the mean of a minute (``getloadavg``)."""
    cpu_mhz: Range | None
    stolen: float | None
    """Share of the processors' time that the host gave to other machines, 0..1."""
    interruptions_per_s: float | None
    """How often this process was put aside for another."""
    gpu_sm_mhz: Range | None
    gpu_memory_mhz: Range | None
    gpu_celsius: Range | None
    gpu_watts: Range | None
    throttled: dict[str, float] | None
    """Share of the looks at which a GPU's clocks were held down, by reason; empty if never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    load: float | None
    mhz: float | None
    gpu: GpuSample | None


@dataclass(slots=True, kw_only=True)
class Watcher:
    """Looks now and then, and sums up."""

    gpu: Callable[[], GpuSample] | None
    began_s: float = field(default_factory=time.perf_counter)
    ticks: tuple[int, int] | None
    put_aside: int
    looks: list[_Look] = field(default_factory=list)
    next_s: float = 0.0

    def look(self) -> None:
        """Note the machine's state, unless that was done a moment ago."""
        now = time.perf_counter()
        if now < self.next_s:
            return
        self.looks.append(
            _Look(load=_load(), mhz=cpu_mhz(), gpu=self.gpu() if self.gpu is not None else None)
        )
        self.next_s = time.perf_counter() + _PAUSE_S

    def conditions(self) -> Conditions:
        """What was seen so far."""
        seconds = time.perf_counter() - self.began_s
        aside = _times_put_aside() - self.put_aside
        samples = [look.gpu for look in self.looks if look.gpu is not None]
        return Conditions(
            looks=len(self.looks),
            load=_range([look.load for look in self.looks]),
            cpu_mhz=_range([look.mhz for look in self.looks]),
            stolen=_stolen_share(self.ticks, _stolen_ticks()),
            interruptions_per_s=aside / seconds if seconds > 0 else None,
            gpu_sm_mhz=_range([sample.sm_mhz for sample in samples]),
            gpu_memory_mhz=_range([sample.memory_mhz for sample in samples]),
            gpu_celsius=_range([sample.celsius for sample in samples]),
            gpu_watts=_range([sample.watts for sample in samples]),
            throttled=_throttled(samples),
        )


def watcher(*, gpu: bool) -> Watcher:
    """One that looks at the processors, and at the first GPU if ``gpu``."""
    return Watcher(
        gpu=sampler() if gpu else None, ticks=_stolen_ticks(), put_aside=_times_put_aside()
    )


def _times_put_aside() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _range(values: Sequence[float | None]) -> Range | None:
    known = [float(value) for value in values if value is not None]
    return (min(known), max(known)) if known else None


def _throttled(samples: Sequence[GpuSample]) -> dict[str, float] | None:
    known = [sample.throttled for sample in samples if sample.throttled is not None]
    if not known:
        return None
    reasons = sorted({reason for found in known for reason in found})
    return {reason: sum(reason in found for found in known) / len(known) for reason in reasons}


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _stolen_ticks() -> tuple[int, int] | None:
    """Ticks that the host took, and all ticks, of all processors since it started (proc(5))."""
    file = Path("/proc/stat")
    if not file.exists():
        return None
    first = file.read_text(encoding="utf-8").partition("\n")[0].split()[1:]
    ticks = [int(count) for count in first[:8]]
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else None


def _stolen_share(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])
