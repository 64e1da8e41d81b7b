"""A network that takes pixels as a camera gives them: uint8 [n h w c], normalised inside."""

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from exporters.metadata import Preprocessing
from exporters.network_file import nodes
from exporters.onnx import ExportError

PREFIX: Final = "pixels."
"""Of the names of everything that is put in front of the network."""

_TO_NCHW: Final = [0, 3, 1, 2]


def with_pixel_input(content: bytes, preprocessing: Preprocessing) -> bytes:
    """The file with layout and normalisation inside: one multiplication and addition per channel.

    (x / 255 - mean) / std is x * scale + bias with scale = 1 / (255 std) and bias = -mean / std.
    The bias cannot go into the first convolution: its zero padding is zero after normalisation.

    Args:
        content: an ONNX file with one input of float32 images [batch c h w].
        preprocessing: of which mean and standard deviation per channel.

    Raises:
        ExportError: the file takes something else, or another number of channels.
    """
    model: Any = ModelProto.FromString(content)
    graph = model.graph
    source = graph.input[0]
    batch, channels, height, width = _dims(source, of=preprocessing)
    normalised = f"{PREFIX}normalised"
    for node in nodes(graph):
        for place, name in enumerate(node.input):
            if name == source.name:
                node.input[place] = normalised
    mean, std = (np.array(v, np.float64) for v in (preprocessing.mean, preprocessing.std))
    scale, bias = 1 / (255 * std), -mean / std
    constants: dict[str, NDArray[Any]] = {
        "scale": np.tile(scale, width).astype(np.float32),
        "bias": np.tile(bias, width).astype(np.float32),
        "rows": np.array([0, height, width * channels], np.int64),
        "pixels": np.array([0, height, width, channels], np.int64),
    }
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value, PREFIX + name))
    # By whole rows: a loop over the channels of one pixel at a time is ten times as slow, and that
    # is what becomes of [1 c 1 1] where ONNX Runtime moves the transposition behind it (int8).
    steps = [
        _node("Reshape", [source.name, f"{PREFIX}rows"], "in_rows"),
        _node("Cast", [f"{PREFIX}in_rows"], "numbers", to=TensorProto.FLOAT),
        _node("Mul", [f"{PREFIX}numbers", f"{PREFIX}scale"], "scaled"),
        _node("Add", [f"{PREFIX}scaled", f"{PREFIX}bias"], "shifted"),
        _node("Reshape", [f"{PREFIX}shifted", f"{PREFIX}pixels"], "as_pixels"),
        _node("Transpose", [f"{PREFIX}as_pixels"], "normalised", perm=_TO_NCHW),
    ]
    for place, step in enumerate(steps):
        graph.node.insert(place, step)
    shape = [batch, height, width, channels]
    source.CopyFrom(helper.make_tensor_value_info(source.name, TensorProto.UINT8, shape))
    _say(model)
    made: bytes = model.SerializeToString(deterministic=True)
    return made


def _dims(source: Any, *, of: Preprocessing) -> tuple[Any, int, int, int]:  # noqa: ANN401 - a protobuf message
    kind = source.type.tensor_type
    dims = [size.dim_param or size.dim_value for size in kind.shape.dim]
    fits = len(dims) == 4 and dims[1] == len(of.mean) == len(of.std)
    fits = fits and all(isinstance(size, int) for size in dims[1:])
    if kind.elem_type != TensorProto.FLOAT or not fits:
        raise ExportError(
            f"the file takes {dims} of type {kind.elem_type}, with {len(of.mean)} means and "
            f"{len(of.std)} standard deviations; preprocessing goes before float32 images "
            "[batch c h w] with one of each per channel: set export.preprocessing to false"
        )
    batch, *sizes = dims
    channels, height, width = map(int, sizes)
    return batch, channels, height, width


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:  # noqa: ANN401 - what each operator takes; a protobuf message
    name = PREFIX + output
    return helper.make_node(kind, inputs, [name], name=name, **attributes)


def _say(model: Any) -> None:  # noqa: ANN401 - a protobuf message
    """In the file's metadata, if it tells of its preprocessing, that it is inside."""
    for entry in model.metadata_props:
        if entry.key == "compressor.preprocessing":
            said = json.loads(entry.value) | {"layout": "nhwc", "inside": True}
            entry.value = json.dumps(said, sort_keys=True)
