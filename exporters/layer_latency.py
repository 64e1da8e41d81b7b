"""How long each layer of a network takes at several widths: for choosing which channels to remove.

Every convolution and linear layer becomes an ONNX file of its own, with the shapes that it has in
the network, at a few widths of what it reads and makes. All widths of one layer are timed in
turns, in random order, so that what else the machine does falls on all alike; their lower quartile
counts, less that of a run that computes nothing. Layers that are alike are measured once.
"""

import gc
import itertools
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper
from pydantic import TypeAdapter
from torch import Tensor, nn

from exporters.child import last_words, run_module
from exporters.device import device_name
from exporters.latency import LatencyError
from exporters.layers import Layer, layers_of
from exporters.onnx import OPSET
from exporters.sessions import cpu_threads, session
from exporters.timing import bound, timed_ms, warmed_up

_SHARES: Final = (0.1, 0.25, 0.5, 0.75, 1.0)
_MULTIPLE: Final = 8
"""Measured widths are about these shares of the dense one, in multiples of what kernels like."""

_LEAST_ROUNDS: Final = 11
_MOST_ROUNDS: Final = 51
_ROUNDS_S: Final = 1.0
"""Each width of a layer is run so often; between the bounds, as often as fits into this time."""

_QUANTILE: Final = 0.25
"""Of the rounds. Whatever else the machine does only ever adds to a time: on an idle machine the
lower quartile is the median within two percent, on a busy one it is what stays the same."""

_GRACE_S: Final = 600.0
_LAYER_LIMIT_S: Final = 120.0

_IR_VERSION: Final = 10


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
                widths=_widths(calls[0]),
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
    """Microseconds at each choice of widths, less those of a run that computes nothing."""
    shapes = [layer.at(choice) for choice in itertools.product(*_widths(layer))]
    files = [_nothing(), *(layer_file(shape, generator=generator) for shape in shapes)]
    inputs = [(1,), *((request.batch, *shape.input) for shape in shapes)]
    images = [generator.standard_normal(shape, dtype=np.float32) for shape in inputs]
    runs = [
        bound(
            session(file, provider=request.provider, threads=request.threads),
            image,
            provider=request.provider,
        )
        for file, image in zip(files, images, strict=True)
    ]
    once_s = sum(warmed_up(run, seconds=0.0) for run in runs)
    rounds = min(max(int(_ROUNDS_S / once_s), _LEAST_ROUNDS), _MOST_ROUNDS)
    times_ms = np.empty((rounds, len(runs)))
    for row in times_ms:
        for number in generator.permutation(len(runs)):
            row[number] = timed_ms(runs[number])
    nothing, *each = (1e3 * np.quantile(times_ms, _QUANTILE, axis=0)).tolist()
    return tuple(max(us - nothing, 0.0) for us in each)


def _widths(layer: Layer) -> tuple[tuple[int, ...], ...]:
    """The sizes that are measured, for each dimension of the weight that is a width."""
    return tuple(sizes(layer.weight[dim], least=layer.least) for dim in layer.dims)


def sizes(dense: int, *, least: int) -> tuple[int, ...]:
    """Widths that are measured of a dense one whose channels go in parts of ``least``."""
    step = _MULTIPLE * least
    near = {max(round(share * dense / step), 1) * step for share in _SHARES}
    return tuple(sorted({size for size in near if size < dense} | {dense}))


def layer_file(layer: Layer, *, generator: np.random.Generator) -> bytes:
    """A network of this layer alone."""
    weight = generator.standard_normal(layer.weight, dtype=np.float32)
    if layer.operator == "MatMul":
        weight = np.ascontiguousarray(weight.T)
    tensors = {"weight": weight}
    if layer.bias:
        tensors["bias"] = generator.standard_normal(layer.makes, dtype=np.float32)
    added = layer.operator == "MatMul" and layer.bias
    names = ["images", "weight"] if added else ["images", *tensors]
    node = helper.make_node(layer.operator, names, ["product" if added else "out"])
    node.attribute.extend(helper.make_attribute(*pair) for pair in layer.attributes)
    nodes = [node]
    if added:
        nodes.append(helper.make_node("Add", ["product", "bias"], ["out"]))
    return _network(nodes, tensors, input_=("batch", *layer.input), rank=1 + len(layer.input))


def _nothing() -> bytes:
    """A network that hands one number on."""
    return _network([helper.make_node("Identity", ["images"], ["out"])], {}, input_=(1,), rank=1)


def _network(
    nodes: Sequence[NodeProto],
    tensors: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
    *,
    input_: Sequence[int | str],
    rank: int,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, input_)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * rank)],
        initializer=[numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )
    content: bytes = model.SerializeToString()
    return content


if __name__ == "__main__":
    gc.disable()  # A collection during a run would be counted as the layer's time.
    sys.stdout.buffer.write(_TIMES.dump_json(_measured(_REQUEST.validate_json(sys.stdin.read()))))
