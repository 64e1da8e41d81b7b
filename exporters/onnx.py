"""A network as one self-contained ONNX file, and the permit without which none is published.

The file is serialised first, then judged by running it, then published byte for byte: the verdict
is therefore not written into it, only what is known before.
"""

import contextlib
import copy
import io
import json
import logging
import shutil
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.fx import Node

from compressor.files import atomic_path, sha256_of
from exporters.network_file import strip_remarks
from exporters.resize import with_known_factors
from gates import Accepted

OPSET: Final = 20
"""The ONNX operator set of every exported file: torch's default, which torch converts to well."""

INPUT: Final = "images"
OUTPUT: Final = "logits"
BATCH: Final = "batch"

# What tracing and conversion raise when they cannot handle a network: torch has no common class.
_FAILURES: Final = (
    RuntimeError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    LookupError,
)


class ExportError(RuntimeError):
    """The network cannot become a file, or the file must not be published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A published file: exactly the bytes that the gate accepted."""

    path: Path
    sha256: str
    size_bytes: int


def serialise(model: nn.Module, example: Tensor, *, metadata: Mapping[str, object]) -> bytes:
    """The ONNX file of ``model``: input "images" [batch c h w], output "logits" [batch classes].

    Of a segmentation the logits are [batch classes h w], as high and wide as the images.

    Any batch size runs; weights are inside; the same model and metadata give the same bytes, and
    the bytes name no source line or path of this machine. The model is left as it was.

    Args:
        model: Returns one float32 tensor [n classes] or [n classes h w]; exported in evaluation
            mode.
        example: Normalised float32 images [n c h w], n >= 1; only their shape matters.
        metadata: JSON values by name, readable by ONNX Runtime as ``compressor.<name>``.

    Raises:
        ExportError: The network cannot be expressed; says where and why.
    """
    # channels_last weights or inputs turn pooling into a chain of ten shape operators.
    network = copy.deepcopy(model).to("cpu").to(memory_format=torch.contiguous_format).eval()
    # Two images: torch treats a batch of one as a constant.
    pair = torch.cat([example, example])[:2].to("cpu").contiguous()
    with torch.no_grad(), _quiet():
        _check_signature(network, pair)
        file = _convert(_trace(network, pair), network)
    _check_shapes(file)
    with_known_factors(file)
    strip_remarks(file)
    for name in sorted(metadata):
        value = json.dumps(metadata[name], sort_keys=True, allow_nan=False)
        file.metadata_props.add(key=f"compressor.{name}", value=value)
    content: bytes = file.SerializeToString(deterministic=True)
    return content


def export(judged: Path, permit: Accepted, *, path: Path) -> Artifact:
    """Publish the judged file at ``path``, byte for byte.

    Raises:
        ExportError: ``permit`` is not an acceptance, or accepts other bytes; nothing is left.
    """
    if not isinstance(permit, Accepted):
        raise ExportError(f"export needs an accepting verdict, not {type(permit).__name__}")
    with atomic_path(path) as temporary:
        shutil.copyfile(judged, temporary)
        # The copy is hashed, not the source: what was checked is what appears.
        sha256 = sha256_of(temporary)
        if sha256 != permit.candidate:
            raise ExportError(
                f"the verdict accepts the file {permit.candidate[:12]}, "
                f"but {judged} is {sha256[:12]}; judge this file first"
            )
        size_bytes = temporary.stat().st_size
    return Artifact(path=path, sha256=sha256, size_bytes=size_bytes)


def _check_signature(network: nn.Module, pair: Tensor) -> None:
    try:
        logits = network(pair)
    except _FAILURES as error:
        raise ExportError(
            f"the network does not run on images {list(pair.shape)}{_place(error, network)}: "
            f"{_reason(error)}"
        ) from error
    if not isinstance(logits, Tensor):
        raise ExportError(
            f"the network returns a {type(logits).__name__}; export needs one tensor [n, classes]: "
            "wrap the network in a module that returns only the logits"
        )
    size = pair.shape[2:]
    fits = logits.ndim == 2 or (logits.ndim == 4 and logits.shape[2:] == size)
    if not fits or len(logits) != 2 or logits.dtype != torch.float32:
        raise ExportError(
            f"the network returns {logits.dtype} {list(logits.shape)} for 2 images; export needs "
            f"float32 [2, classes], or for a segmentation [2, classes, {size[0]}, {size[1]}]"
        )


def _trace(network: nn.Module, pair: Tensor) -> torch.export.ExportedProgram:
    # torch.onnx.export would trace by itself, but it accepts a forward pass that holds for some
    # batch sizes only; here a named dimension makes torch prove it for all of them.
    try:
        return torch.export.export(
            network, (pair,), dynamic_shapes=({0: torch.export.Dim(BATCH, min=1)},), strict=False
        )
    except _FAILURES as error:
        raise ExportError(
            f"the network cannot be traced{_place(error, network)}: {_reason(error)}; its forward "
            "pass must be the same computation for every batch size and every pixel value"
        ) from error


def _convert(traced: torch.export.ExportedProgram, network: nn.Module) -> ModelProto:
    try:
        program = torch.onnx.export(
            traced,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: BATCH},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    except _FAILURES as error:
        raise ExportError(
            f"ONNX cannot express the network{_place(error, network)}: {_reason(error)}; "
            "replace this operator in the network"
        ) from error
    assert program is not None, "torch.onnx.export without a file name returns the program"
    return program.model_proto


def _check_shapes(file: ModelProto) -> None:
    """Torch silently keeps another opset, or a fixed batch, when it cannot do what was asked."""
    opsets = {opset.domain: opset.version for opset in file.opset_import}
    if opsets.get("") != OPSET:
        raise ExportError(f"the file has the operator sets {opsets}, not {OPSET}")
    for value in (*file.graph.input, *file.graph.output):
        batch, *rest = value.type.tensor_type.shape.dim
        if batch.dim_param != BATCH or not all(size.dim_value for size in rest):
            raise ExportError(
                f"the file's {value.name!r} has the shape "
                f"{[size.dim_param or size.dim_value for size in (batch, *rest)]}; "
                "all but the batch must be fixed"
            )


def _causes(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _reason(error: BaseException) -> str:
    """The sentence of the innermost cause that says what is wrong; the rest is torch's advice."""
    *_, cause = _causes(error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    bullets = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return (*bullets, *lines, type(cause).__name__)[0].rstrip(".")


def _place(error: BaseException, network: nn.Module) -> str:
    """Which submodule was being run or converted, where the traceback tells; torch rarely does."""
    names = {module: name for name, module in network.named_modules()}
    found = ""
    for cause in _causes(error):
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            running, node = frame.f_locals.get("self"), frame.f_locals.get("node")
            if isinstance(running, nn.Module):
                found = names.get(running, found)
            elif isinstance(node, Node) and node.meta.get("nn_module_stack"):
                found = list(node.meta["nn_module_stack"].values())[-1][0]
    return f" in its module {found!r}" if found else ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Torch logs whole graphs and tracebacks when it fails; the error that we raise is enough."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
