from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.weights import weights_of
from tests.exporters.odd_models import edited, int8

# 8 x 3 x 3 x 3 and 8, with BatchNorm folded in; 4 x 8 and 4.
PARAMS = 216 + 8 + 32 + 4


@pytest.mark.parametrize(
    "name, precision",
    [
        ("fixed_batch", "fp32"),
        ("beside", "fp32"),
        ("half", "fp16"),
        ("half_inside", "fp16"),
        ("qdq", "int8"),
        ("qdq_per_channel", "int8"),
        ("qoperator", "int8"),
        ("dynamic", "int8"),
    ],
)
def test_weights_count_once_in_every_precision(
    odd: Callable[[str], Path], name: str, precision: str
) -> None:
    model = onnx.load(odd(name), load_external_data=False)
    assert weights_of(model) == (PARAMS, precision)


def test_a_network_that_is_quantised_in_part_is_mixed(ours: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.onnx"
    int8(ours, part, kinds=["Conv"])
    assert weights_of(onnx.load(part)) == (PARAMS, "mixed")


def test_normalisation_inside_counts_but_not_for_the_precision(
    odd: Callable[[str], Path],
) -> None:
    assert weights_of(onnx.load(odd("raw_pixels"))) == (PARAMS + 6, "fp32")


def test_float_kernels_that_are_rounded_on_loading_are_integers(ours: Path, tmp_path: Path) -> None:
    """As from quantisation-aware training: QuantizeLinear stands behind the stored floats."""
    rounded = tmp_path / "rounded.onnx"

    def edit(model: onnx.ModelProto) -> None:
        scale = numpy_helper.from_array(np.full(8, 0.01, np.float32), "channel_scales")
        zero = numpy_helper.from_array(np.zeros(8, np.int8), "channel_zeros")
        model.graph.initializer.extend([scale, zero])
        pairs = []
        for node in model.graph.node:
            if node.op_type == "Conv":
                behind = ["channel_scales", "channel_zeros"]
                pairs = [
                    helper.make_node("QuantizeLinear", [node.input[1], *behind], ["q"], axis=0),
                    helper.make_node("DequantizeLinear", ["q", *behind], ["dq"], axis=0),
                ]
                node.input[1] = "dq"
        body = [node for node in model.graph.node if node.op_type != "Gemm"]
        gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
        del model.graph.node[:]
        model.graph.node.extend([*pairs, *body, gemm])

    edited(ours, rounded, edit)
    assert weights_of(onnx.load(rounded)) == (PARAMS, "mixed")  # The last layer stays float.


def test_weights_in_constants_and_in_functions_count(ours: Path) -> None:
    model = onnx.load(ours)
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "0.weight"]
    (kernel,) = (tensor for tensor in model.graph.initializer if tensor.name == "0.weight")
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    body = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Constant", [], ["0.weight"], value=kernel))
    model.graph.node.extend(body)
    assert weights_of(model) == (PARAMS, "fp32")
    # The same convolution as a function of the file's own.
    place, convolution = next((i, n) for i, n in enumerate(model.graph.node) if n.op_type == "Conv")
    model.functions.append(
        helper.make_function(
            "local",
            "Layer",
            list(convolution.input),
            list(convolution.output),
            [convolution],
            list(model.opset_import),
        )
    )
    called = helper.make_node(
        "Layer", list(convolution.input), list(convolution.output), domain="local"
    )
    model.graph.node[place].CopyFrom(called)
    model.opset_import.append(helper.make_opsetid("local", 1))
    assert weights_of(model) == (PARAMS, "fp32")


def test_a_network_without_kernels_has_no_known_precision() -> None:
    shape = [1, 3, 8, 8]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    assert weights_of(helper.make_model(graph)) == (0, "unknown")
