"""The same network in PyTorch beside its file in ONNX Runtime; a process of its own.

Ratios across runtimes say which to deploy with; what pruning is worth is told within one runtime.
The network is taken as its file and compress.yaml have it, without preprocessing but for a resize.
"""

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from compressor.config_schema import Input
from compressor.models import load_model
from compressor.resizing import answer_images_at, take_images_at
from exporters.child import last_words, run_module
from exporters.contest import Word, verdict
from exporters.feeds import random_input
from exporters.latency import LatencyError
from exporters.latency_statistics import Interval, Percentile, percentiles, ratio, ratio_interval
from exporters.modes import RESIDENT, run_of
from exporters.paired import Budget, Series, measure
from exporters.sessions import CPU, Tuning, session
from exporters.timing import Run

_LIMIT_S: Final = 3600.0  # inductor compiles for minutes on a busy machine
_AGAIN: Final = "again"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchRequest:
    """What to time."""

    model: Path
    root: Path
    factory: str | None
    kwargs: Mapping[str, Any]
    trusted: tuple[str, ...]
    input: Input
    onnx: Path
    """The network's file, in which it is the first."""
    batch: int
    provider: str
    threads: int
    budget: Budget
    seed: int
    compile: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchTiming:
    """One runtime, against the file in ONNX Runtime; above 1 says that it is faster."""

    runtime: str
    median_ms: float
    percentiles: Mapping[int, Percentile]
    runs: int
    stable: bool
    ratio: float | None
    """None for ONNX Runtime itself."""
    interval: Interval | None
    verdict: Word | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchRound:
    """All runtimes at one batch size."""

    batch: int
    threads: int
    device: str
    noise: Interval
    timings: tuple[TorchTiming, ...]
    left_out: Mapping[str, str]
    """Runtimes that do not run it, and why."""


_REQUEST: Final = TypeAdapter(TorchRequest)
_ROUND: Final = TypeAdapter(TorchRound)

Forward = Callable[[Tensor], Any]


def time_in_torch(request: TorchRequest) -> TorchRound:
    """Time the network in a process of its own.

    Raises:
        LatencyError: it does not load or run there.
    """
    try:
        process = run_module(
            "compressor.torch_times",
            stdin=_REQUEST.dump_json(request).decode(),
            timeout_s=_LIMIT_S,
            # Idle OpenMP threads that spin would slow down ONNX Runtime's.
            environ={"OMP_WAIT_POLICY": "passive"},
        )
    except subprocess.TimeoutExpired as error:
        raise LatencyError(f"PyTorch took longer than {_LIMIT_S:.0f} s") from error
    if process.returncode != 0:
        raise LatencyError(f"cannot time {request.model} in PyTorch: {last_words(process)}")
    return _ROUND.validate_json(process.stdout.splitlines()[-1])


def _timed(request: TorchRequest) -> TorchRound:
    torch.set_num_threads(request.threads)
    device = "cpu" if request.provider == CPU else "cuda"
    network = _network(request).to(device)
    generator = torch.Generator().manual_seed(request.seed)
    images = torch.randn(request.batch, *request.input.size, generator=generator).to(device)
    runs = dict(_onnx_runs(request))
    left_out: dict[str, str] = {}
    for name, make in _forwards(network, compile_=request.compile).items():
        try:
            runs[name] = _tried(make(), images)
        except (RuntimeError, OSError, torch._dynamo.exc.TorchDynamoException) as error:  # noqa: SLF001 - its errors have no public name
            left_out[name] = str(error).strip().partition("\n")[0] or type(error).__name__
    draws = np.random.default_rng([request.seed, request.batch])
    with torch.inference_mode():
        series = measure(runs, budget=request.budget, generator=draws)
    first = next(iter(runs))
    noise = ratio_interval(series.times[first], series.times[_AGAIN], generator=draws)
    return TorchRound(
        batch=request.batch,
        threads=request.threads,
        device=device,
        noise=noise,
        timings=tuple(_timings(series, noise, draws)),
        left_out=left_out,
    )


def _network(request: TorchRequest) -> nn.Module:
    loaded = load_model(
        request.model,
        root=request.root,
        factory=request.factory,
        kwargs=request.kwargs,
        trusted=request.trusted,
    )
    take_images_at(loaded.module, request.input)
    answer_images_at(loaded.module, request.input)
    return loaded.module.eval()


def _onnx_runs(request: TorchRequest) -> Iterator[tuple[str, Run]]:
    for name in (f"onnxruntime, {request.onnx.name}", _AGAIN):
        opened = session(
            request.onnx,
            provider=request.provider,
            threads=request.threads,
            tuning=Tuning(deterministic=False),
        )
        feeds = {
            source.name: random_input(source, batch=request.batch, generator=request.seed)
            for source in opened.get_inputs()
        }
        yield (
            name,
            run_of(opened, feeds, provider=request.provider, mode=RESIDENT, batch=request.batch),
        )


def _forwards(network: nn.Module, *, compile_: bool) -> Mapping[str, Callable[[], Forward]]:
    ways: dict[str, Callable[[], Forward]] = {"PyTorch eager": lambda: network}
    if compile_:
        ways["torch.compile"] = lambda: torch.compile(network)
    return ways


def _tried(forward: Forward, images: Tensor) -> Run:
    """One run that ends when the device is done; has been run once, so that it is compiled."""

    def on_cpu() -> None:
        forward(images)

    def on_gpu() -> None:
        forward(images)
        torch.cuda.synchronize()

    run = on_gpu if images.is_cuda else on_cpu
    with torch.inference_mode():
        run()
    return run


def _timings(
    series: Series, noise: Interval, generator: np.random.Generator
) -> Iterator[TorchTiming]:
    first = next(iter(series.times))
    for name, times in series.times.items():
        if name == _AGAIN:
            continue
        itself = name == first
        interval = None
        if not itself:
            interval = ratio_interval(series.times[first], times, generator=generator)
        yield TorchTiming(
            runtime=name,
            median_ms=float(np.median(times)),
            percentiles=percentiles(times),
            runs=times.size,
            stable=series.warmth[name].stable,
            ratio=None if itself else ratio(series.times[first], times),
            interval=interval,
            verdict=None if interval is None else verdict(interval, noise=noise),
        )


if __name__ == "__main__":
    gc.disable()  # A collection during a run would be counted as the network's time.
    found = _timed(_REQUEST.validate_json(sys.stdin.read()))
    # On a line of its own: compilers write to standard output.
    sys.stdout.write("\n" + _ROUND.dump_json(found).decode() + "\n")
