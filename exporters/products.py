"""The multiply-adds of an ONNX file, product by product: where its time should go."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import onnx
from onnx import ModelProto, NodeProto
from onnx.shape_inference import InferenceError

from exporters.network_file import initialisers, nodes

Dims = tuple[int, ...]

_CONVOLUTIONS: Final = frozenset({"Conv", "FusedConv", "QLinearConv", "ConvInteger"})
# Which input holds the weights, or the second factor.
_SECOND: Final[Mapping[str, int]] = {
    "Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3, "ConvTranspose": 1,
    "Gemm": 1, "MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3, "QGemm": 3,
}  # fmt: skip
_UNCOUNTED: Final = frozenset({"Attention", "Einsum", "GRU", "If", "LSTM", "Loop", "RNN", "Scan"})
"""What multiplies in a way that the shapes alone do not tell, or an unknown number of times."""

# What hands weights on as they are, in another type or with another name.
_PASSES: Final = frozenset({"Cast", "DequantizeLinear", "Identity", "QuantizeLinear"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One convolution or product of matrices."""

    node: str
    """The node's name, or that of what it makes."""
    kind: str
    """Its operator."""
    domain: str
    weight: Dims | None
    """Dimensions of its weights; None if both factors depend on the images."""
    groups: int
    macs: int | None
    """Multiply-adds for one image; None where the shapes do not tell."""

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution."""
        return self.kind in _CONVOLUTIONS


def products(model: ModelProto) -> tuple[Product, ...]:
    """Every convolution and matrix product of the graph, in the graph's order."""
    shapes, weights = _shapes(model), _weights(model)
    found = []
    for node in nodes(model.graph):
        if node.op_type not in _SECOND:
            continue
        second = node.input[_SECOND[node.op_type]]
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        found.append(
            Product(
                node=node.name or node.output[0],
                kind=node.op_type,
                domain=node.domain,
                weight=weights.get(second),
                groups=groups,
                macs=_macs(node, shapes=shapes, factor=weights.get(second) or shapes.get(second)),
            )
        )
    return tuple(found)


def macs(model: ModelProto) -> int | None:
    """Multiply-adds for one image, one multiply-add counting as one.

    None where they cannot be told: a shape is open, the graph branches or loops, or an operator
    hides its products.
    """
    if any(node.op_type in _UNCOUNTED for node in nodes(model.graph)):
        return None
    counts = [product.macs for product in products(model)]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) and known else None


def _macs(node: NodeProto, *, shapes: Mapping[str, Dims], factor: Dims | None) -> int | None:
    first, made = shapes.get(node.input[0]), shapes.get(node.output[0])
    if factor is None or not first or not made:
        return None
    if node.op_type in _CONVOLUTIONS:
        return prod(made) * prod(factor[1:])
    if node.op_type == "ConvTranspose":
        return prod(first) * prod(factor[1:])
    if node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return prod(made) * first[0 if transposed else 1]
    return prod(made) * first[-1]


def _shapes(model: ModelProto) -> dict[str, Dims]:
    """Shapes of what the nodes make, for one image; those that cannot be inferred are left out."""
    single = ModelProto()
    single.CopyFrom(model)
    del single.graph.value_info[:]
    ordered = _ordered(single)
    del single.graph.node[:]
    single.graph.node.extend(ordered)
    for value in single.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    for value in single.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(single, data_prop=True)
    except (InferenceError, RuntimeError, ValueError):
        return {}
    values = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    found = {value.name: _dims(value.type.tensor_type) for value in values}
    batch = _batch(model)
    return {name: _per_image(dims, batch) for name, dims in found.items() if dims}


def _ordered(model: ModelProto) -> list[NodeProto]:
    """The outer graph's nodes, each behind those that it reads: some tools append theirs."""
    waiting = list(model.graph.node)
    missing = {name for node in waiting for name in node.output}
    done: list[NodeProto] = []
    while waiting:
        rest = []
        for node in waiting:
            if missing.isdisjoint(node.input):
                done.append(node)
                missing.difference_update(node.output)
            else:
                rest.append(node)
        if len(rest) == len(waiting):
            return [*done, *rest]  # in a circle: whoever infers shapes will find it wrong
        waiting = rest
    return done


def _batch(model: ModelProto) -> int:
    """How many images the file insists on."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return dims[0].dim_value if dims and dims[0].dim_value else 1


def _per_image(dims: Dims, batch: int) -> Dims:
    """The same for one image, where the first dimension is the batch."""
    return (1, *dims[1:]) if batch > 1 and dims[0] == batch else dims


def _dims(tensor: Any) -> Dims | None:  # noqa: ANN401 - protobuf messages have no common type in onnx
    """All dimensions, None if one is open."""
    if not tensor.HasField("shape"):
        return None
    dims = [dim.dim_value for dim in tensor.shape.dim]
    return tuple(dims) if all(dims) else None


def _weights(model: ModelProto) -> dict[str, Dims]:
    """Dimensions of the constants by name, and by the names under which they are handed on."""
    known = {tensor.name: tuple(tensor.dims) for tensor in initialisers(model.graph)}
    for node in _ordered(model):
        if node.op_type in _PASSES and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]]
    return known
