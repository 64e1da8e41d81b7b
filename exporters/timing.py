"""One run of a session, and how long it takes."""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from exporters.sessions import CPU

Run = Callable[[], None]

_WARM_UP_RUNS: Final = 10


def bound(opened: onnxruntime.InferenceSession, images: NDArray[Any], *, provider: str) -> Run:
    """One run with input and output on the device: what is timed is the network, not the bus.

    ``images`` must live as long as the run: on a CPU they are read where they lie.
    """
    device = "cpu" if provider == CPU else "cuda"
    source = onnxruntime.OrtValue.ortvalue_from_numpy(images, device, 0)
    binding = opened.io_binding()
    binding.bind_ortvalue_input(opened.get_inputs()[0].name, source)
    name = opened.get_outputs()[0].name
    binding.bind_output(name, device, 0)
    opened.run_with_iobinding(binding)
    # Into the same memory each time: fresh pages for a large output take longer than a layer.
    (output,) = binding.get_outputs()
    binding.clear_binding_outputs()
    binding.bind_ortvalue_output(name, output)

    def run() -> None:
        opened.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def warmed_up(run: Run, *, seconds: float) -> float:
    """Seconds of one run, once memory is allocated, kernels are chosen and clocks are up."""
    times_ms: list[float] = []
    end = time.perf_counter() + seconds
    while len(times_ms) < _WARM_UP_RUNS or time.perf_counter() < end:
        times_ms.append(timed_ms(run))
    return float(np.median(times_ms[len(times_ms) // 2 :])) / 1e3


def timed_ms(run: Run) -> float:
    """Milliseconds of one run."""
    start = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - start) / 1e6
