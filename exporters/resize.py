"""Resizes between sizes that are known, told to the runtime as factors."""

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper


def with_known_factors(model: ModelProto) -> None:
    """Change antialiased resizes of [n c h w] to those by four factors, two of which are 1.

    With an open batch, torch writes four sizes instead, of which two are read from the images while
    the network runs: arithmetic that a GPU leaves to the CPU. Sizes of height and width alone
    (the attribute ``axes``) would do as well, but ONNX Runtime 1.31 loses them where it moves a
    transposition past the resize.
    """
    graph: Any = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    sizes = {tensor.name: numpy_helper.to_array(tensor) for tensor in _pairs(graph)}
    shapes = {value.name: _places(value) for value in (*graph.input, *graph.value_info)}
    done: set[str] = set()
    for node in list(graph.node):
        if node.op_type != "Resize" or len(node.input) != 4 or not _attribute(node, "antialias"):
            continue
        source, joined = node.input[0], makers.get(node.input[3])
        if joined is None or joined.op_type != "Concat" or len(joined.input) != 2:
            continue
        read, asked = makers.get(joined.input[0]), sizes.get(joined.input[1])
        before = shapes.get(source)
        if asked is None or before is None or not _is_batch_and_channels(read, source):
            continue
        factors = [1.0, 1.0, *map(factor_between, before, asked.tolist())]
        name = f"{node.output[0]}.factors"
        graph.initializer.append(numpy_helper.from_array(np.array(factors, np.float32), name))
        del node.input[3]
        node.input[2] = name
        done.add(joined.input[1])
        _drop_unread(graph, joined)
        _drop_unread(graph, read)
    _drop_constants(graph, done)


def factor_between(before: int, after: int) -> float:
    """The smallest number of 32 bits by which ``before``, rounded down, becomes ``after``.

    Runtimes multiply in 32 bits, the checker of ONNX in 64: what is enough for these is for those.
    """
    factor = np.float32(after) / np.float32(before)
    while before * float(factor) < after:
        factor = np.nextafter(factor, np.float32(np.inf))
    return float(factor)


def _pairs(graph: Any) -> list[TensorProto]:  # noqa: ANN401 - a protobuf message
    """Constants that may be a height and a width."""
    kind = TensorProto.INT64
    return [t for t in graph.initializer if t.data_type == kind and list(t.dims) == [2]]


def _places(value: Any) -> tuple[int, int] | None:  # noqa: ANN401 - a protobuf message
    """Height and width of a tensor [n c h w]; None where they are open, or it is another."""
    dims = [size.dim_value for size in value.type.tensor_type.shape.dim]
    return (dims[2], dims[3]) if len(dims) == 4 and dims[2] and dims[3] else None


def _is_batch_and_channels(node: NodeProto | None, source: str) -> bool:
    """Whether a node reads the first two sizes of ``source``."""
    if node is None or node.op_type != "Shape" or node.input[0] != source:
        return False
    return (_attribute(node, "start") or 0, _attribute(node, "end")) == (0, 2)


def _attribute(node: NodeProto, name: str) -> int | None:
    return next((entry.i for entry in node.attribute if entry.name == name), None)


def _drop_unread(graph: Any, node: NodeProto | None) -> None:  # noqa: ANN401 - a protobuf message
    if node is not None and _read(graph).isdisjoint(node.output):
        graph.node.remove(node)


def _drop_constants(graph: Any, names: set[str]) -> None:  # noqa: ANN401 - a protobuf message
    unread = names - _read(graph)
    for tensor in [tensor for tensor in graph.initializer if tensor.name in unread]:
        graph.initializer.remove(tensor)


def _read(graph: Any) -> set[str]:  # noqa: ANN401 - a protobuf message
    read = {name for node in graph.node for name in node.input}
    return read | {value.name for value in graph.output}
