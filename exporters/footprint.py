"""Memory and load time of a file, in processes that do nothing else and have not seen it before."""

import gc
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from pydantic import TypeAdapter

from exporters.child import last_words, run_module
from exporters.feeds import random_input
from exporters.nvml import process_bytes
from exporters.providers import EXECUTION_PROVIDERS, preload
from exporters.sessions import CPU, Tuning, session
from exporters.timing import timed_ms

_LIMIT_S: Final = 1800.0  # TensorRT may take many minutes to build an engine
_STEADY_RUNS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one process needed."""

    create_ms: float
    """To read the file and make it ready, TensorRT's engine included."""
    first_run_ms: float
    steady_ms: float
    """Median of the runs after it."""
    resident_bytes: int | None
    """Most memory of the process, less what it held before it loaded the file; None where the
    system does not tell."""
    gpu_bytes: int | None
    """On the GPU, less the driver's own for the process; None where it is not told."""
    gpu_context_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Over several processes: medians, and the first by itself."""

    create_ms: float
    first_run_ms: float
    resident_bytes: int | None
    gpu_bytes: int | None
    processes: int
    cold: Load
    """The first process. With TensorRT it builds the engine, which the others find built."""


class FootprintError(RuntimeError):
    """A file could not be loaded in a process of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    path: Path
    provider: str
    threads: int
    tuning: Tuning
    batch: int


_REQUEST: Final = TypeAdapter(_Request)
_LOAD: Final = TypeAdapter(Load)


def footprint(
    path: Path, *, provider: str, threads: int, tuning: Tuning, batch: int, processes: int
) -> Footprint:
    """Load a file in ``processes`` processes, one after the other.

    Raises:
        FootprintError: It does not load or run there.
    """
    request = _Request(
        path=path.absolute(), provider=provider, threads=threads, tuning=tuning, batch=batch
    )
    loads = [_load(request) for _ in range(processes)]
    return Footprint(
        create_ms=float(np.median([load.create_ms for load in loads])),
        first_run_ms=float(np.median([load.first_run_ms for load in loads])),
        resident_bytes=_middle([load.resident_bytes for load in loads]),
        gpu_bytes=_middle([load.gpu_bytes for load in loads]),
        processes=processes,
        cold=loads[0],
    )


def _load(request: _Request) -> Load:
    try:
        process = run_module(
            "exporters.footprint", stdin=_REQUEST.dump_json(request).decode(), timeout_s=_LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise FootprintError(f"loading {request.path} took longer than {_LIMIT_S:.0f} s") from error
    if process.returncode != 0:
        raise FootprintError(f"cannot load {request.path}: {last_words(process)}")
    return _LOAD.validate_json(process.stdout)


def _measured(request: _Request) -> Load:
    context = _context_bytes(request)
    before = _held_from_now()
    start = time.perf_counter_ns()
    opened = session(
        request.path, provider=request.provider, threads=request.threads, tuning=_frugal(request)
    )
    create_ms = (time.perf_counter_ns() - start) / 1e6
    feeds = {
        source.name: random_input(source, batch=request.batch, generator=0)
        for source in opened.get_inputs()
    }

    def run() -> None:
        opened.run(None, feeds)

    first_run_ms = timed_ms(run)
    steady_ms = float(np.median([timed_ms(run) for _ in range(_STEADY_RUNS)]))
    held = process_bytes() if request.provider != CPU else None
    peak = _status_bytes("VmHWM")
    return Load(
        create_ms=create_ms,
        first_run_ms=first_run_ms,
        steady_ms=steady_ms,
        resident_bytes=None if before is None or peak is None else peak - before,
        gpu_bytes=None if held is None or context is None else held - context,
        gpu_context_bytes=context,
    )


def _frugal(request: _Request) -> Tuning:
    """Without the doubling of memory ahead of need, which would hide what the file needs."""
    options: Mapping[str, str] = request.tuning.provider
    if request.provider == EXECUTION_PROVIDERS["cuda"]:
        options = {**options, "arena_extend_strategy": "kSameAsRequested", "enable_cuda_graph": "0"}
    return Tuning(
        optimisation=request.tuning.optimisation,
        provider=options,
        dims=request.tuning.dims,
        deterministic=request.tuning.deterministic,
    )


def _context_bytes(request: _Request) -> int | None:
    """What the driver takes for a process that has put one number on the GPU."""
    if request.provider == CPU:
        return None
    preload(request.provider)
    kept = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), "cuda", 0)
    held = process_bytes()
    del kept
    return held


def _held_from_now() -> int | None:
    """Bytes of this process in memory; the most that it held so far is forgotten (proc(5))."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status_bytes("VmRSS")


def _status_bytes(key: str) -> int | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(rf"^{key}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _middle(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return int(np.median(known)) if known else None


if __name__ == "__main__":
    gc.disable()
    sys.stdout.buffer.write(_LOAD.dump_json(_measured(_REQUEST.validate_json(sys.stdin.read()))))
