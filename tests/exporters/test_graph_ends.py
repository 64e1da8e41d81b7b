from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from exporters.signature import read_signature
from tests.exporters.odd_models import (
    Edit,
    appended,
    prepended,
    reshaped,
    shape_of,
    taking,
    without_metadata,
)

Make = Callable[[Edit], Path]


def older(version: int, operator: str) -> Edit:
    """A network that only flattens, in an old operator set, with a softmax of default axis."""

    def edit(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.append(helper.make_node("Flatten", ["images"], ["flat"]))
        model.graph.node.append(helper.make_node(operator, ["flat"], ["logits"]))
        shape_of(model.graph.output[0], ["n", 192])

    return edit


@pytest.mark.parametrize("version", [9, 12, 13])
def test_a_softmax_that_names_no_axis_runs_along_the_classes(make: Make, version: int) -> None:
    assert read_signature(make(older(version, "Softmax"))).gives == "probabilities"
    assert read_signature(make(older(version, "LogSoftmax"))).gives == "log-probabilities"
    assert read_signature(make(older(version, "Relu"))).gives == "logits"


def quantised_softmax(model: onnx.ModelProto) -> None:
    appended("Softmax")(model)
    scale = helper.make_tensor("step", TensorProto.FLOAT, [], [1 / 256])
    zero = helper.make_tensor("zero", TensorProto.UINT8, [], [0])
    model.graph.initializer.extend([scale, zero])
    model.graph.node.append(helper.make_node("QuantizeLinear", ["appended", "step", "zero"], ["q"]))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["dq"]))
    model.graph.output[0].name = "dq"


def flattened_softmax(model: onnx.ModelProto) -> None:
    reshaped(-1, 4, 1, 1)(model)
    model.graph.node.append(helper.make_node("Softmax", ["appended"], ["chances"], axis=1))
    model.graph.node.append(helper.make_node("Flatten", ["chances"], ["flat"]))
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["n", 4])
    )


def logarithm(model: onnx.ModelProto) -> None:
    appended("Softmax")(model)
    model.graph.node.append(helper.make_node("Log", ["appended"], ["log"]))
    model.graph.output[0].name = "log"


def inner_softmax(model: onnx.ModelProto) -> None:
    """A gate inside the network, as in attention, is not its end."""
    appended("Softmax")(model)
    model.graph.node.append(helper.make_node("Mul", ["appended", "logits"], ["gated"]))
    model.graph.output[0].name = "gated"


@pytest.mark.parametrize(
    "edit, found",
    [
        (quantised_softmax, "probabilities"),
        (flattened_softmax, "probabilities"),
        (logarithm, "log-probabilities"),
        (inner_softmax, "logits"),
    ],
)
def test_a_softmax_is_found_behind_what_changes_nothing(make: Make, edit: Edit, found: str) -> None:
    assert read_signature(make(edit)).gives == found


def test_a_number_of_classes_that_follows_from_an_open_size_is_not_known(make: Make) -> None:
    def edit(model: onnx.ModelProto) -> None:
        older(20, "Relu")(model)
        shape_of(model.graph.input[0], ["n", 3, "h", "w"])
        shape_of(model.graph.output[0], ["n", "k"])

    found = read_signature(make(edit))
    assert found.classes is None
    assert found.class_names == ("ant", "bee", "cat", "dog")


def turned(*dims: int | str) -> Edit:
    """The first operator brings the channels from the end to the front."""

    def edit(model: onnx.ModelProto) -> None:
        prepended(
            model,
            helper.make_node("Identity", ["pixels"], ["same"]),
            helper.make_node("Transpose", ["same"], ["images"], perm=[0, 3, 1, 2]),
        )
        shape_of(model.graph.input[0], dims)

    return edit


@pytest.mark.parametrize("dims, size", [(("n", 3, 8, 3), None), (("n", "a", "b", "c"), (3, 8, 8))])
def test_the_first_operator_tells_the_layout_where_the_shape_does_not(
    make: Make, dims: tuple[int | str, ...], size: tuple[int, int, int] | None
) -> None:
    assert read_signature(make(without_metadata(turned(*dims))), size=size).layout == "nhwc"
    assert read_signature(make(without_metadata(taking(*dims))), size=size).layout == "nchw"
