"""How long each layer of a network takes at several widths: for choosing which channels to remove.

Every convolution and linear layer becomes an ONNX file of its own, with the shapes that it has in
the network, at a few widths of what it reads and makes. All widths of one layer are timed in
turns, in random order, so that what else the machine does falls on all alike; their lower quartile
counts. Layers that are alike are measured once.

What counts is the time that a layer takes inside a network. A processor's convolutions have a
layout of their own, and hand it on to each other. Alone, a layer is charged for getting into it and
out of it: up to half as much again as it takes in a network, and unlike at every width. On a
processor a convolution is therefore timed behind another one, from the end of that one to its own.
"""

import gc
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from exporters.child import last_words, run_module
from exporters.device import device_name
from exporters.latency import LatencyError
from exporters.layer_files import COLOURS, layer_file, nothing
from exporters.layers import Layer, layers_of
from exporters.profiles import second_convolution_us
from exporters.sessions import CPU, cpu_threads, session
from exporters.timing import bound, timed_ms, warmed_up

_MULTIPLE: Final = 8
"""Widths that are measured are multiples of it, of what kernels like."""
_ALL: Final = 8
"""On a processor, of a layer that has no more such widths than these, all are measured, so that
every step of a kernel shows: AVX-512's take as long for 24 channels as for 32."""
_SHARES: Final = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Of wider ones, and on other devices, where a file takes seconds to load, about these shares of
the dense width."""

_LEAST_ROUNDS: Final = 11
_MOST_ROUNDS: Final = 51
_ROUNDS_S: Final = 1.0
"""Each width of a layer is run so often; between the bounds, as often as fits into this time."""

_QUANTILE: Final = 0.25
"""Of the rounds. Whatever else the machine does only ever adds to a time: on an idle machine the
lower quartile is the median within two percent, on a busy one it is what stays the same."""

_GRACE_S: Final = 600.0
_LAYER_LIMIT_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLayer:
    """Microseconds of one layer on a grid of widths, the last dimension fastest."""

    dims: tuple[int, ...]
    """Dimensions of the layer's weight that are widths."""
    widths: tuple[tuple[int, ...], ...]
    us: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTable:
    """All layers of a network, and the circumstances."""

    schema_version: int = 1
    provider: str
    device: str
    threads: int
    runtime: str
    batch: int
    layers: Mapping[str, MeasuredLayer]
    """By qualified module name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    layers: tuple[Layer, ...]
    provider: str
    batch: int
    seed: int
    threads: int


TABLE: Final = TypeAdapter(LayerTable)
_REQUEST: Final = TypeAdapter(_Request)
_TIMES: Final = TypeAdapter(tuple[tuple[float, ...], ...])


def measure_layers(
    model: nn.Module,
    example: Tensor,
    *,
    provider: str,
    batch: int,
    seed: int,
    threads: int | None = None,
) -> LayerTable:
    """Time every convolution and linear layer of ``model`` in a process of its own.

    Args:
        model: the dense network; left as it was.
        example: normalised images [n c h w]; only their shape matters.
        provider: ONNX Runtime's name of the execution provider.
        batch: images per run.
        seed: of weights, images and the order of runs.
        threads: CPU threads; None for as many as this process may use.

    Raises:
        LatencyError: a layer does not run on ``provider``, or timing hangs.
    """
    found = layers_of(model, example)
    alike = tuple(dict.fromkeys(layer for calls in found.values() for layer in calls))
    request = _Request(
        layers=alike,
        provider=provider,
        batch=batch,
        seed=seed,
        threads=threads or cpu_threads(),
    )
    times = dict(zip(alike, _in_a_child(request), strict=True))
    return LayerTable(
        provider=provider,
        device=device_name(provider, threads=request.threads),
        threads=request.threads,
        runtime=f"onnxruntime {onnxruntime.__version__}",
        batch=batch,
        layers={
            name: MeasuredLayer(
                dims=calls[0].dims,
                widths=_widths(calls[0], provider=provider),
                # A layer that is run twice takes the time of both runs.
                us=tuple(map(sum, zip(*(times[call] for call in calls), strict=True))),
            )
            for name, calls in found.items()
        },
    )


def _in_a_child(request: _Request) -> tuple[tuple[float, ...], ...]:
    limit_s = _GRACE_S + _LAYER_LIMIT_S * len(request.layers)
    try:
        process = run_module(
            "exporters.layer_latency", stdin=_REQUEST.dump_json(request).decode(), timeout_s=limit_s
        )
    except subprocess.TimeoutExpired as error:
        raise LatencyError(
            f"timing the layers took longer than {limit_s:.0f} s; use a smaller batch"
        ) from error
    if process.returncode != 0:
        raise LatencyError(f"cannot time the network's layers: {last_words(process)}")
    return _TIMES.validate_json(process.stdout)


def _measured(request: _Request) -> tuple[tuple[float, ...], ...]:
    generator = np.random.default_rng(request.seed)
    return tuple(_layer_us(layer, request, generator=generator) for layer in request.layers)


def _layer_us(
    layer: Layer, request: _Request, *, generator: np.random.Generator
) -> tuple[float, ...]:
    """Microseconds at each choice of widths."""
    choices = itertools.product(*_widths(layer, provider=request.provider))
    shapes = [layer.at(choice) for choice in choices]
    # What reads few channels at its full width reads the images' colours, which no layer makes.
    made = layer.operator == "Conv" and layer.input[0] > COLOURS
    if request.provider == CPU and made:
        return _behind_another(shapes, request, generator=generator)
    return _alone(shapes, request, generator=generator)


def _behind_another(
    shapes: Sequence[Layer], request: _Request, *, generator: np.random.Generator
) -> tuple[float, ...]:
    """Those from the end of another convolution to the end of each of these."""
    with tempfile.TemporaryDirectory(prefix="compress-layers-") as folder:
        opened = [
            session(
                layer_file(shape, generator=generator, behind_another=True),
                threads=request.threads,
                profile=Path(folder, str(number)),
            )
            for number, shape in enumerate(shapes)
        ]
        sizes = [(request.batch, COLOURS, *shape.input[1:]) for shape in shapes]
        rounds = len(_timed(opened, sizes, request, generator=generator))
        each = [second_convolution_us(Path(one.end_profiling()))[-rounds:] for one in opened]
    return tuple(float(np.quantile(us, _QUANTILE)) for us in each)


def _alone(
    shapes: Sequence[Layer], request: _Request, *, generator: np.random.Generator
) -> tuple[float, ...]:
    """Those of each by itself, less those of a run that computes nothing."""
    files = [nothing(), *(layer_file(shape, generator=generator) for shape in shapes)]
    opened = [session(file, provider=request.provider, threads=request.threads) for file in files]
    sizes = [(1,), *((request.batch, *shape.input) for shape in shapes)]
    times_ms = _timed(opened, sizes, request, generator=generator)
    overhead, *each = (1e3 * np.quantile(times_ms, _QUANTILE, axis=0)).tolist()
    return tuple(max(us - overhead, 0.0) for us in each)


def _timed(
    opened: Sequence[onnxruntime.InferenceSession],
    sizes: Sequence[tuple[int, ...]],
    request: _Request,
    *,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Milliseconds [rounds, sessions] of runs in random order, after others that warm up."""
    images = [generator.standard_normal(size, dtype=np.float32) for size in sizes]
    runs = [
        bound(one, image, provider=request.provider)
        for one, image in zip(opened, images, strict=True)
    ]
    once_s = sum(warmed_up(run, seconds=0.0) for run in runs)
    rounds = min(max(int(_ROUNDS_S / once_s), _LEAST_ROUNDS), _MOST_ROUNDS)
    times_ms = np.empty((rounds, len(runs)))
    for row in times_ms:
        for number in generator.permutation(len(runs)):
            row[number] = timed_ms(runs[number])
    return times_ms


def _widths(layer: Layer, *, provider: str) -> tuple[tuple[int, ...], ...]:
    """The sizes that are measured, for each dimension of the weight that is a width."""
    return tuple(
        sizes(layer.weight[dim], least=layer.least, provider=provider) for dim in layer.dims
    )


def sizes(dense: int, *, least: int, provider: str) -> tuple[int, ...]:
    """Widths that are measured of a dense one whose channels go in parts of ``least``."""
    step = _MULTIPLE * least
    if provider == CPU and dense <= _ALL * step:
        return (*range(step, dense, step), dense)
    near = {max(round(share * dense / step), 1) * step for share in _SHARES}
    return tuple(sorted({size for size in near if size < dense} | {dense}))


if __name__ == "__main__":
    gc.disable()  # A collection during a run would be counted as the layer's time.
    sys.stdout.buffer.write(_TIMES.dump_json(_measured(_REQUEST.validate_json(sys.stdin.read()))))
