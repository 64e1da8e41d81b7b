"""How many weights an ONNX file has, and in what precision: floats, or integers with scales."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Final

from onnx import ModelProto, NodeProto, TensorProto
from onnx.inliner import inline_local_functions

from exporters.network_file import initialisers, nodes

_FLOATS: Final[Mapping[int, str]] = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.DOUBLE: "fp64",
    TensorProto.FLOAT8E4M3FN: "fp8",
    TensorProto.FLOAT8E4M3FNUZ: "fp8",
    TensorProto.FLOAT8E5M2: "fp8",
    TensorProto.FLOAT8E5M2FNUZ: "fp8",
}
_INTEGERS: Final[Mapping[int, str]] = {
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.UINT16: "int16",
    TensorProto.INT4: "int4",
    TensorProto.UINT4: "int4",
}
_NAMES: Final[Mapping[int, str]] = {**_FLOATS, **_INTEGERS}

# Where operators take what is no weight: scales, zero points, sizes.
_NO_WEIGHTS: Final[Mapping[str, frozenset[int]]] = {
    "QuantizeLinear": frozenset({1, 2}),
    "DequantizeLinear": frozenset({1, 2}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearAdd": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QGemm": frozenset({1, 2, 4, 5, 7, 8}),
    "ConvInteger": frozenset({2, 3}),
    "MatMulInteger": frozenset({2, 3}),
    "DynamicQuantizeMatMul": frozenset({2, 3}),
    "MatMulIntegerToFloat": frozenset({2, 3, 4, 5}),
    "Resize": frozenset({1, 2, 3}),
}

# int32 is a bias where these take it, and an index or a size elsewhere.
_TAKE_INT32: Final = frozenset({"DequantizeLinear", "QLinearConv", "QGemm"})

# Operators whose kernels make the precision of a network.
_HEAVY: Final = frozenset(
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "FusedMatMul", "QLinearConv"}
    | {"QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul"}
    | {"MatMulIntegerToFloat"}
)

# What may stand between a stored kernel and the operator that takes it.
_ON_THE_WAY: Final = frozenset(
    {"Cast", "DequantizeLinear", "Identity", "QuantizeLinear", "Reshape", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)


def weights_of(model: ModelProto) -> tuple[int, str]:
    """How many weights the network has, and its precision.

    A quantised tensor counts as its integers, without scales and zero points. Single numbers and
    64-bit integers, which are shapes and indices, do not count; the graph's own normalisation does.
    The precision is that of the kernels of convolutions and matrix products: "mixed" if there are
    several, "unknown" if there is none.
    """
    if model.functions:
        model = inline_local_functions(model)
    network = list(nodes(model.graph))
    tensors = {tensor.name: tensor for tensor in initialisers(model.graph)}
    used = {name for node in network for name in _weight_inputs(node, tensors)}
    used -= _dynamic_scales(network)
    params = sum(prod(tensors[name].dims) for name in used)
    kinds = set(_kernel_kinds(network, tensors))
    if not kinds:
        return params, "unknown"
    return params, kinds.pop() if len(kinds) == 1 else "mixed"


def _weight_inputs(node: NodeProto, tensors: Mapping[str, TensorProto]) -> Iterator[str]:
    no_weights = _NO_WEIGHTS.get(node.op_type, frozenset())
    for position, name in enumerate(node.input):
        if position in no_weights or name not in tensors or not tensors[name].dims:
            continue
        kind = tensors[name].data_type
        if kind in _NAMES or (kind == TensorProto.INT32 and node.op_type in _TAKE_INT32):
            yield name


def _dynamic_scales(network: list[NodeProto]) -> set[str]:
    """What is multiplied with a scale that is found while the network runs: a kernel's scale."""
    found = {n.output[1] for n in network if n.op_type == "DynamicQuantizeLinear"}
    return {
        name
        for node in network
        if node.op_type == "Mul" and found.intersection(node.input)
        for name in node.input
    }


def _kernel_kinds(network: list[NodeProto], tensors: Mapping[str, TensorProto]) -> Iterator[str]:
    """The precision of every kernel."""
    makers = {output: node for node in network for output in node.output}
    for node in network:
        if node.op_type not in _HEAVY:
            continue
        for name in node.input:
            kind = _stored_kind(name, makers, tensors)
            if kind is not None:
                yield kind


def _stored_kind(
    name: str, makers: Mapping[str, NodeProto], tensors: Mapping[str, TensorProto]
) -> str | None:
    """The precision of the kernel behind an input; None if it is no kernel."""
    rounded = False
    while name not in tensors:
        maker = makers.get(name)
        if maker is None or maker.op_type not in _ON_THE_WAY:
            return None
        # Kernels stored as floats, for a device that rounds them to integers when it loads them.
        rounded = rounded or maker.op_type == "QuantizeLinear"
        name = maker.input[0]
    # Biases, scales and zero points have one dimension at most.
    if len(tensors[name].dims) < 2:
        return None
    return "int8" if rounded else _NAMES.get(tensors[name].data_type)
