"""How a network begins and ends: layout of its images, and whether it gives logits."""

from collections.abc import Mapping
from typing import Final, Literal

from onnx import ModelProto, NodeProto

from exporters.network_file import SignatureError, nodes

Gives = Literal["logits", "probabilities", "log-probabilities"]

# What changes neither the order of classes nor what the numbers mean.
_PLAIN_ENDS: Final = frozenset({"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"})
_RESHAPES: Final = frozenset({"Flatten", "Reshape", "Squeeze"})
_NORMALISED: Final[Mapping[str, Gives]] = {
    "Softmax": "probabilities",
    "QLinearSoftmax": "probabilities",
    "LogSoftmax": "log-probabilities",
}

# From here on a softmax runs along the last axis unless told otherwise; before, along the second.
_SOFTMAX_LAST: Final = 13

# What stands between the images and the first operator that knows where channels are.
_PIXELWISE: Final = frozenset(
    {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Add", "Sub", "Mul", "Div"}
    # To rows of pixels and back, as our own files do it.
    | {"Reshape"}
)
_TO_NCHW: Final = [0, 3, 1, 2]


def gives(model: ModelProto, *, per_pixel: bool = False) -> Gives:
    """What the output's numbers are, from the last operator that is more than a conversion.

    Those of a network that answers ``per_pixel`` have their classes along axis 1 of four.

    Raises:
        SignatureError: They are no scores of exclusive classes.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    last = makers.get(model.graph.output[0].name)
    reshaped = False
    # Between places a resize takes weighted means, which keep the meaning of all three.
    passed = _PLAIN_ENDS | _RESHAPES | ({"Resize"} if per_pixel else set())
    while last is not None and last.op_type in passed:
        reshaped = reshaped or last.op_type in _RESHAPES
        last = makers.get(last.input[0])
    if last is None:
        return "logits"
    if last.op_type == "Sigmoid":
        raise SignatureError(
            "it ends in Sigmoid, which scores every class by itself; "
            "export it without, or with Softmax"
        )
    if last.op_type == "Log" and (before := makers.get(last.input[0])) is not None:
        return "log-probabilities" if _is_softmax(before) else "logits"
    if last.op_type not in _NORMALISED:
        return "logits"
    axis = _axis(last, model)
    along_classes = {1, -3} if per_pixel else {1, -1}
    if axis not in along_classes and not (reshaped and axis > 0):
        raise SignatureError(
            f"its {last.op_type} runs along axis {axis}, not along the classes; "
            "export it with axis 1"
        )
    return _NORMALISED[last.op_type]


def answers_depend_on_batch(model: ModelProto) -> bool:
    """Whether an image's logits depend on the images that come with it.

    Dynamic quantisation takes one scale for all that it is given at once.
    """
    return any(node.op_type.startswith("DynamicQuantize") for node in nodes(model.graph))


def moves_channels_first(model: ModelProto, source: str) -> bool:
    """Whether images are turned from [n h w c] to [n c h w] before all but arithmetic."""
    name = source
    while True:
        takers = [node for node in model.graph.node if name in node.input]
        if len(takers) != 1:
            return False
        (taker,) = takers
        if taker.op_type == "Transpose":
            return any(list(attribute.ints) == _TO_NCHW for attribute in taker.attribute)
        if taker.op_type not in _PIXELWISE:
            return False
        name = taker.output[0]


def _is_softmax(node: NodeProto) -> bool:
    return _NORMALISED.get(node.op_type) == "probabilities"


def _axis(node: NodeProto, model: ModelProto) -> int:
    for attribute in node.attribute:
        if attribute.name == "axis":
            return int(attribute.i)
    opset = next(o.version for o in model.opset_import if o.domain in {"", "ai.onnx"})
    return -1 if opset >= _SOFTMAX_LAST or node.op_type == "QLinearSoftmax" else 1
