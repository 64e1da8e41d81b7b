"""An ONNX file as a message: read with care, stripped of remarks, known by what it computes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.checker import ValidationError
from onnx.external_data_helper import load_external_data_for_model

from compressor.files import digest

# The tag of ir_version, a model's first field.
_FIRST_BYTE: Final = b"\x08"
_LFS_POINTER: Final = b"version https://git-lfs"

# What a tool writes about itself: it changes no output.
_ABOUT_THE_TOOL: Final = ("producer_name", "producer_version", "domain", "model_version")
_REMARKS: Final = frozenset({"doc_string", "metadata_props"})


class SignatureError(ValueError):
    """The file cannot be judged: it is no network, not one of the supported kind, or damaged."""


def read_model(path: Path) -> ModelProto:
    """The message in the file; weights that lie in other files stay there.

    Raises:
        SignatureError: It is not an ONNX file or not whole, or a file with weights is missing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SignatureError(f"cannot read {path}: {error.strerror}") from error
    if content.startswith(_LFS_POINTER):
        raise SignatureError(f"{path} is a Git LFS pointer, not the file itself; run git lfs pull")
    try:
        model: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        if content.startswith(_FIRST_BYTE):
            raise SignatureError(
                f"{path} is cut off or damaged; copy or export it again"
            ) from error
        raise SignatureError(f"{path} is not an ONNX file") from error
    # Fields that are whole but too few: the cut fell between two of them.
    if not model.graph.node or not model.opset_import:
        raise SignatureError(f"{path} holds no whole network; copy or export it again")
    for file in data_files(model, path):
        if not file.is_file():
            raise SignatureError(
                f"{path} keeps weights in {file.name}, which is not beside it; put it there, or "
                "export the network as one file"
            )
    return model


def data_files(model: ModelProto, path: Path) -> tuple[Path, ...]:
    """The files beside ``path`` that hold its weights; none if they are inside.

    Raises:
        SignatureError: It names a file outside its folder.
    """
    names = {
        entry.value
        for tensor in _tensors(model)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for name in sorted(names):
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            raise SignatureError(
                f"{path} keeps weights in {name}, outside its folder; export it as one file"
            )
    return tuple(path.parent / name for name in sorted(names))


def network_digest(path: Path) -> str:
    """Sha256 of what the file computes: equal for files that differ in remarks only.

    Left out are metadata, documentation, what the tool says of itself and the graph's name; weights
    count the same inside the file and beside it. Two exports of one network by two tools differ.

    Raises:
        SignatureError: It is not a whole ONNX file with all its weights.
    """
    model = read_model(path)
    try:
        load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, ValidationError) as error:
        raise SignatureError(f"the weights of {path} cannot be read: {error}") from error
    strip_remarks(model)
    for field in _ABOUT_THE_TOOL:
        model.ClearField(field)
    model.graph.ClearField("name")
    # Tensor by tensor: protobuf does not serialise more than 2 GiB at once.
    weights = []
    for tensor in model.graph.initializer:
        tensor.ClearField("data_location")  # Where it was; all data is at hand now.
        weights.append(_sha256(tensor))
    model.graph.ClearField("initializer")
    return digest(_sha256(model), *weights)


def strip_remarks(message: Any) -> None:  # noqa: ANN401 - protobuf messages have no common type in onnx
    """Remove documentation and metadata at every level, stack traces with paths among them."""
    for field, value in message.ListFields():
        if field.name in _REMARKS:
            message.ClearField(field.name)
        elif field.message_type:
            for part in [value] if hasattr(value, "ListFields") else value:
                strip_remarks(part)


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of a graph and of the graphs inside them: branches and loops."""
    for node in graph.node:
        yield node
        for inner in _inner_graphs(node):
            yield from nodes(inner)


def initialisers(graph: GraphProto) -> Iterator[TensorProto]:
    """The constants of a graph and of the graphs inside it, by their names in the graph."""
    yield from graph.initializer
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.type == AttributeProto.TENSOR:
                    constant = TensorProto()
                    constant.CopyFrom(attribute.t)
                    constant.name = node.output[0]
                    yield constant
        for inner in _inner_graphs(node):
            yield from initialisers(inner)


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from initialisers(model.graph)
    for node in (node for function in model.functions for node in function.node):
        yield from (a.t for a in node.attribute if a.type == AttributeProto.TENSOR)


def _inner_graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _sha256(message: Any) -> bytes:  # noqa: ANN401 - protobuf messages have no common type in onnx
    return hashlib.sha256(message.SerializeToString(deterministic=True)).digest()
