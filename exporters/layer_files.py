"""ONNX files of single layers, with random weights: for timing."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from exporters.layers import Layer
from exporters.onnx import OPSET

COLOURS: Final = 4
"""As many channels as an image has at most."""

_IR_VERSION: Final = 10


def layer_file(
    layer: Layer, *, generator: np.random.Generator, behind_another: bool = False
) -> bytes:
    """A network of this layer alone, or of it behind a convolution that makes what it reads.

    That one is of size 1, and reads ``COLOURS`` channels.
    """
    weight = generator.standard_normal(layer.weight, dtype=np.float32)
    if layer.operator == "MatMul":
        weight = np.ascontiguousarray(weight.T)
    tensors = {"weight": weight}
    if layer.bias:
        tensors["bias"] = generator.standard_normal(layer.makes, dtype=np.float32)
    added = layer.operator == "MatMul" and layer.bias
    source = "made" if behind_another else "images"
    names = [source, "weight"] if added else [source, *tensors]
    node = helper.make_node(layer.operator, names, ["product" if added else "out"])
    node.attribute.extend(helper.make_attribute(*pair) for pair in layer.attributes)
    nodes = [node]
    if added:
        nodes.append(helper.make_node("Add", ["product", "bias"], ["out"]))
    reads = layer.input
    if behind_another:
        makes, *places = layer.input
        reads = (COLOURS, *places)
        kernel = (makes, COLOURS, *(1 for _ in places))
        tensors["before"] = generator.standard_normal(kernel, dtype=np.float32)
        nodes.insert(0, helper.make_node("Conv", ["images", "before"], ["made"]))
    return _network(nodes, tensors, reads=("batch", *reads), rank=1 + len(reads))


def nothing() -> bytes:
    """A network that hands one number on."""
    return _network([helper.make_node("Identity", ["images"], ["out"])], {}, reads=(1,), rank=1)


def _network(
    nodes: Sequence[NodeProto],
    tensors: Mapping[str, NDArray[Any]],
    *,
    reads: Sequence[int | str],
    rank: int,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, reads)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * rank)],
        initializer=[numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )
    content: bytes = model.SerializeToString()
    return content
