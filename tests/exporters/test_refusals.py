from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from exporters.signature import SignatureError, read_signature
from tests.exporters.odd_models import (
    Edit,
    appended,
    prepended,
    reshaped,
    shape_of,
    taking,
    without_metadata,
)

Odd = Callable[[str], Path]
Make = Callable[[Edit], Path]


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 4]))
    (output,) = model.graph.output
    model.graph.node.append(helper.make_node("Add", [output.name, "mask"], ["masked"]))
    output.name = "masked"


def two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(
        helper.make_tensor_value_info("relu", TensorProto.FLOAT, ["n", 8, 8, 8])
    )


def flat_images(model: onnx.ModelProto) -> None:
    shape = helper.make_tensor("nchw", TensorProto.INT64, [4], [-1, 3, 8, 8])
    model.graph.initializer.append(shape)
    prepended(model, helper.make_node("Reshape", ["pixels", "nchw"], ["images"]))
    shape_of(model.graph.input[0], ["n", 192])


def doubles(model: onnx.ModelProto) -> None:
    prepended(model, helper.make_node("Cast", ["pixels"], ["images"], to=TensorProto.FLOAT))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.DOUBLE, ["n", 3, 8, 8])
    model.graph.input[0].CopyFrom(pixels)


def labels(model: onnx.ModelProto) -> None:
    appended("ArgMax", axis=1, keepdims=0)(model)
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("appended", TensorProto.INT64, ["n"])
    )


def opset(version: int) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return edit


def newer_format(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def unheard_of(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    appended("Bewilder", domain="org.example")(model)


@pytest.mark.parametrize(
    "edit, said",
    [
        (two_inputs, r"2 inputs \(images, mask\); a classifier has one"),
        (two_outputs, r"2 outputs \(logits, relu\); a classifier has one"),
        (flat_images, r"input has the shape \['n', 192\]; images are \[n c h w\]"),
        (taking("n", 8, 8, 8), r"takes images \[8 8 8\]; neither .* is 1 or 3 channels"),
        (taking("n", 3, 0, 8), "which holds no pixel"),
        (doubles, r"input is tensor\(double\); images are tensors of uint8, float16 or float"),
        (labels, r"output is tensor\(int64\); the gate needs a float for every class"),
        (reshaped(-1, 4, 1, 1), r"output has the shape \['n', 4, 1, 1\]; logits are \[n classes\]"),
        (reshaped(-1, 1), "it gives 1 number per image"),
        (appended("Sigmoid"), "it ends in Sigmoid, .* export it without"),
        (appended("Softmax", axis=0), "Softmax runs along axis 0, not along the classes"),
        (opset(99), r"needs operator set 99 of ai.onnx, ONNX Runtime .* knows \d+: export it with"),
        (newer_format, r"the format \(IR\) version 99, ONNX Runtime .* reads \d+: export it"),
        (unheard_of, "does not load in ONNX Runtime .*: .*Bewilder"),
    ],
)
def test_a_file_that_cannot_be_judged_is_named_in_one_sentence(
    make: Make, edit: Edit, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = make(without_metadata(edit))
    with pytest.raises(SignatureError, match=said) as caught:
        read_signature(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_images_of_another_size_are_refused(ours: Path, odd: Odd) -> None:
    for file in (ours, odd("channels_last")):
        with pytest.raises(SignatureError, match=r"it takes images \[.*\], not \[3 32 32\]"):
            read_signature(file, size=(3, 32, 32))
