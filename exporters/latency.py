"""How much faster the pruned network runs: a paired ratio with its interval and noise floor.

A process of its own holds three sessions: the dense file, the dense file again, and the pruned
one. They are timed in turns (``paired``), in random order, so that what else the machine does falls
on all alike. The dense file against itself shows what this machine calls a difference when there
is none. ``bench`` does this for any files, and more of it.
"""

import gc
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from pydantic import TypeAdapter

from exporters.child import last_words, run_module
from exporters.device import device_name
from exporters.feeds import input_shape, random_input
from exporters.latency_statistics import (
    Interval,
    Times,
    distinguishable,
    p95,
    ratio,
    ratio_interval,
)
from exporters.paired import Budget, measure
from exporters.sessions import cpu_threads, session
from exporters.timing import bound

_WARM_UP_S: Final = 0.5

# Loading, warming up and the least number of blocks of slow networks come on top of the time given.
_GRACE_S: Final = 900.0


class LatencyError(RuntimeError):
    """The files could not be timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Time of one batch, over single runs; inputs are on the device already."""

    median_ms: float
    p95_ms: float | None
    """None when there are fewer than 100 runs."""
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Dense against pruned at one batch size, and the circumstances."""

    batch: int
    dense: Latency
    pruned: Latency
    speedup: float
    """dense / pruned, above 1 when pruned is faster: geometric mean over blocks of runs."""
    speedup_interval: Interval
    """95 %, bootstrap over blocks."""
    noise: Interval
    """The same interval for dense against itself."""
    distinguishable: bool
    """Whether the speed-up's interval lies beyond the noise in either direction, so excludes 1."""
    provider: str
    device: str
    threads: int
    runtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    dense: Path
    pruned: Path
    batches: tuple[int, ...]
    provider: str
    seconds: float
    seed: int
    threads: int


_REQUEST: Final = TypeAdapter(_Request)
_COMPARISONS: Final = TypeAdapter(tuple[Comparison, ...])


def compare_latency(
    dense: Path,
    pruned: Path,
    *,
    batches: Sequence[int],
    provider: str,
    seconds: float,
    seed: int,
    threads: int | None = None,
) -> tuple[Comparison, ...]:
    """Time two ONNX files against each other, once per batch size.

    Args:
        dense: The file before pruning.
        pruned: The file after pruning; takes the same images.
        batches: Images per run.
        provider: ONNX Runtime's name of the execution provider.
        seconds: Time after which a batch size is done, even if its ratio is not known to 2 %;
            20 blocks are always finished, and loading and warming up are not counted.
        seed: Of the images, the order in blocks and the bootstrap.
        threads: CPU threads; None for as many as this process may use.

    Raises:
        LatencyError: A file does not load, does not run on ``provider``, or hangs.
    """
    request = _Request(
        dense=dense.absolute(),
        pruned=pruned.absolute(),
        batches=tuple(batches),
        provider=provider,
        seconds=seconds,
        seed=seed,
        threads=threads or cpu_threads(),
    )
    limit_s = _GRACE_S + 2 * seconds * len(batches)
    try:
        process = run_module(
            "exporters.latency", stdin=_REQUEST.dump_json(request).decode(), timeout_s=limit_s
        )
    except subprocess.TimeoutExpired as error:
        raise LatencyError(
            f"timing took longer than {limit_s:.0f} s; time fewer batches"
        ) from error
    if process.returncode != 0:
        raise LatencyError(f"cannot time {dense} against {pruned}: {last_words(process)}")
    return _COMPARISONS.validate_json(process.stdout)


def _compare(request: _Request) -> tuple[Comparison, ...]:
    files = {"dense": request.dense, "again": request.dense, "pruned": request.pruned}
    sessions = {
        variant: session(file, provider=request.provider, threads=request.threads)
        for variant, file in files.items()
    }
    return tuple(_compare_batch(sessions, request, batch=batch) for batch in request.batches)


def _compare_batch(
    sessions: Mapping[str, onnxruntime.InferenceSession], request: _Request, *, batch: int
) -> Comparison:
    generator = np.random.default_rng([request.seed, batch])
    sources = {variant: opened.get_inputs()[0] for variant, opened in sessions.items()}
    shapes = {variant: input_shape(source, batch=batch) for variant, source in sources.items()}
    # One may take [n c h w] and the other [n h w c].
    if sorted(shapes["dense"]) != sorted(shapes["pruned"]):
        raise LatencyError(f"dense takes {shapes['dense']}, pruned takes {shapes['pruned']}")
    images = {
        variant: random_input(source, batch=batch, generator=generator)
        for variant, source in sources.items()
    }
    runs = {
        variant: bound(opened, images[variant], provider=request.provider)
        for variant, opened in sessions.items()
    }
    warm_up_s = min(_WARM_UP_S, request.seconds / 4)
    budget = Budget(seconds=request.seconds, warm_up_s=warm_up_s)
    times = measure(runs, budget=budget, generator=generator).times
    interval = ratio_interval(times["dense"], times["pruned"], generator=generator)
    noise = ratio_interval(times["dense"], times["again"], generator=generator)
    return Comparison(
        batch=batch,
        dense=_latency(times["dense"]),
        pruned=_latency(times["pruned"]),
        speedup=ratio(times["dense"], times["pruned"]),
        speedup_interval=interval,
        noise=noise,
        distinguishable=distinguishable(interval, noise=noise),
        provider=request.provider,
        device=device_name(request.provider, threads=request.threads),
        threads=request.threads,
        runtime=f"onnxruntime {onnxruntime.__version__}",
    )


def _latency(times: Times) -> Latency:
    return Latency(median_ms=float(np.median(times)), p95_ms=p95(times), runs=times.size)


if __name__ == "__main__":
    gc.disable()  # A collection during a run would be counted as the network's time.
    sys.stdout.buffer.write(
        _COMPARISONS.dump_json(_compare(_REQUEST.validate_json(sys.stdin.read())))
    )
