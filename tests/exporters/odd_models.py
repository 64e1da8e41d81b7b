"""ONNX files as other tools write them, made from one of ours; each builder leaves ``target``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16

Builder = Callable[[Path, Path], None]
Edit = Callable[[ModelProto], None]

MEAN: Final = (0.5, 0.4, 0.3)
STD: Final = (0.2, 0.3, 0.4)

METADATA: Final[Mapping[str, object]] = {
    "preprocessing": {
        "size": [3, 8, 8],
        "mean": list(MEAN),
        "std": list(STD),
        "scale": "pixel / 255",
        "layout": "nchw",
    },
    "classes": ["ant", "bee", "cat", "dog"],
}
"""What the pipeline writes into the file that the odd ones are made from."""


def edited(source: Path, target: Path, edit: Edit) -> None:
    """The file after ``edit``; inferred shapes are dropped, they need not hold any more."""
    model = onnx.load(source)
    del model.graph.value_info[:]
    edit(model)
    onnx.save(model, target)


def shape_of(value: onnx.ValueInfoProto, dims: Sequence[int | str]) -> None:
    """Give an input or output these dimensions."""
    kind = value.type.tensor_type.elem_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, kind, dims))


def constant(model: ModelProto, name: str, values: ArrayLike) -> str:
    """Add an initialiser and give its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def appended(op_type: str, **attributes: object) -> Edit:
    """One more operator behind the logits."""

    def edit(model: ModelProto) -> None:
        (output,) = model.graph.output
        model.graph.node.append(
            helper.make_node(op_type, [output.name], ["appended"], **attributes)  # type: ignore[arg-type]  # onnx wants a union of what is an attribute
        )
        output.name = "appended"

    return edit


def taking(*dims: int | str) -> Edit:
    """Images of these dimensions."""
    return lambda model: shape_of(model.graph.input[0], dims)


def reshaped(*dims: int) -> Edit:
    """Logits of these dimensions."""

    def edit(model: ModelProto) -> None:
        shape = helper.make_tensor("wanted", TensorProto.INT64, [len(dims)], dims)
        model.graph.initializer.append(shape)
        appended("Reshape")(model)
        model.graph.node[-1].input.append("wanted")
        shape_of(model.graph.output[0], ["n", *dims[1:]])

    return edit


def without_metadata(edit: Edit) -> Edit:
    """The edit, of a file that says nothing about its images."""

    def bare(model: ModelProto) -> None:
        del model.metadata_props[:]
        edit(model)

    return bare


def prepended(model: ModelProto, *operators: onnx.NodeProto) -> None:
    """Operators between a new input "pixels" and the old one, which the last of them makes."""
    body = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*operators, *body])
    model.graph.input[0].name = "pixels"


def fixed_batch(source: Path, target: Path) -> None:
    """Takes eight images and no other number."""

    def edit(model: ModelProto) -> None:
        shape_of(model.graph.input[0], [8, 3, 8, 8])
        shape_of(model.graph.output[0], [8, 4])

    edited(source, target, edit)


def channels_last(source: Path, target: Path) -> None:
    """Normalised floats [n h w c], as from TensorFlow."""

    def edit(model: ModelProto) -> None:
        prepended(model, helper.make_node("Transpose", ["pixels"], ["images"], perm=[0, 3, 1, 2]))
        shape_of(model.graph.input[0], ["n", 8, 8, 3])

    edited(source, target, edit)


def raw_pixels(source: Path, target: Path) -> None:
    """Pixels uint8 [n h w c]; layout, type and normalisation are the network's own business."""

    def edit(model: ModelProto) -> None:
        std = np.array(STD, np.float32).reshape(1, 3, 1, 1)
        mean = np.array(MEAN, np.float32).reshape(1, 3, 1, 1)
        scale, bias = (
            constant(model, "scale", 1 / (255 * std)),
            constant(model, "bias", -mean / std),
        )
        prepended(
            model,
            helper.make_node("Transpose", ["pixels"], ["turned"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["turned"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", scale], ["scaled"]),
            helper.make_node("Add", ["scaled", bias], ["images"]),
        )
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 8, 8, 3])
        model.graph.input[0].CopyFrom(pixels)

    edited(source, target, edit)


def softmax(source: Path, target: Path) -> None:
    """Gives probabilities."""
    edited(source, target, appended("Softmax", axis=-1))


def log_softmax(source: Path, target: Path) -> None:
    """Gives logarithms of probabilities, behind a conversion that changes nothing."""

    def edit(model: ModelProto) -> None:
        appended("LogSoftmax", axis=1)(model)
        model.graph.node[-1].output[0] = "sure"
        model.graph.node.append(helper.make_node("Identity", ["sure"], ["appended"]))

    edited(source, target, edit)


def half(source: Path, target: Path) -> None:
    """Half precision throughout, input and output too."""
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=False), target)


def half_inside(source: Path, target: Path) -> None:
    """Half precision between casts; the nodes are no longer in order."""
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def beside(source: Path, target: Path) -> None:
    """Weights in a file beside the network."""
    onnx.save(
        onnx.load(source),
        target,
        save_as_external_data=True,
        location=f"{target.name}.data",
        size_threshold=100,  # bytes: the sizes in a reshape must stay where they are
    )


def all_open(source: Path, target: Path) -> None:
    """No dimension of the input is fixed."""
    edited(source, target, lambda model: shape_of(model.graph.input[0], ["n", "c", "h", "w"]))


def noisy(source: Path, target: Path) -> None:
    """Random: its noise is as large as the logits."""

    def edit(model: ModelProto) -> None:
        (output,) = model.graph.output
        noise = helper.make_node("RandomNormalLike", [output.name], ["noise"], scale=1.0)
        total = helper.make_node("Add", [output.name, "noise"], ["noisy"])
        model.graph.node.extend([noise, total])
        output.name = "noisy"

    edited(source, target, edit)


class _Random(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed
    def __init__(self, name: str) -> None:
        generator = np.random.default_rng(0)
        images = generator.standard_normal((32, 3, 8, 8), np.float32)
        images += 2 * generator.standard_normal((32, 3, 1, 1), np.float32)
        self._batches: Iterator[Mapping[str, NDArray[np.float32]]] = iter([{name: images}])

    def get_next(self) -> Mapping[str, NDArray[np.float32]] | None:
        return next(self._batches, None)


def qdq(source: Path, target: Path) -> None:
    """Eight-bit integers between pairs of QuantizeLinear and DequantizeLinear, per tensor."""
    quantize_static(source, target, _Random("images"), quant_format=QuantFormat.QDQ)


def qdq_per_channel(source: Path, target: Path) -> None:
    """As ``qdq``, with a scale for every channel."""
    quantize_static(
        source, target, _Random("images"), quant_format=QuantFormat.QDQ, per_channel=True
    )


def qoperator(source: Path, target: Path) -> None:
    """Operators on integers: QLinearConv, QGemm."""
    quantize_static(source, target, _Random("images"), quant_format=QuantFormat.QOperator)


def dynamic(source: Path, target: Path) -> None:
    """Weights are integers, activations become such while the network runs."""
    without_shapes = target.with_suffix(".shapeless.onnx")
    # Shapes that the exporter notes contradict the weights, which the quantiser transposes.
    edited(source, without_shapes, lambda model: None)
    quantize_dynamic(without_shapes, target, weight_type=QuantType.QUInt8)


def int8(source: Path, target: Path, *, kinds: Sequence[str]) -> None:
    """As ``qdq``, but only operators of these kinds."""
    quantize_static(
        source, target, _Random("images"), quant_format=QuantFormat.QDQ, op_types_to_quantize=kinds
    )


EXACT: Final[Mapping[str, Builder]] = {
    "fixed_batch": fixed_batch,
    "channels_last": channels_last,
    "raw_pixels": raw_pixels,
    "beside": beside,
    "all_open": all_open,
}
"""Compute the same logits as the source, up to rounding."""

NORMALISED: Final[Mapping[str, Builder]] = {"softmax": softmax, "log_softmax": log_softmax}
"""Compute what the softmax of the source's logits is."""

ROUNDED: Final[Mapping[str, Builder]] = {
    "half": half,
    "half_inside": half_inside,
    "qdq": qdq,
    "qdq_per_channel": qdq_per_channel,
    "qoperator": qoperator,
    "dynamic": dynamic,
}
"""Compute the same logits as the source, as well as their precision allows."""
