"""What in an ONNX file keeps it from running as fast as its multiply-adds promise.

Read in the file and in the graph that ONNX Runtime makes of it; nothing is timed. Findings are
advice: a file with findings is as right as one without.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import onnxruntime
from onnx import ModelProto, NodeProto

from exporters.network_file import SignatureError, nodes, read_model
from exporters.products import Product, products
from exporters.sessions import CPU, SESSION_ERRORS, Tuning, session
from exporters.signature import refusal

_BLOCKED: Final = "com.microsoft.nchwc"
"""The domain of ONNX Runtime's convolutions in blocks of channels, its fast ones on a CPU."""

_ALIGNED: Final = 8
"""Kernels for CPUs take 4, 8 or 16 channels at a time, tensor cores 8 half-precision numbers
(NVIDIA, Matrix Multiplication Background User's Guide, section 4.1)."""

_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that costs time, where it is, and what to do about it."""

    rule: str
    nodes: tuple[str, ...]
    """Names of nodes; empty if it is about the file."""
    what: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """A file's findings, and how its convolutions fare."""

    findings: tuple[Finding, ...]
    convolutions: int
    fast: int | None
    """Of these, how many ONNX Runtime runs with its fast kernels; None where it is not told: on
    another provider than the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graphs:
    file: ModelProto
    products: tuple[Product, ...]
    running: ModelProto | None
    """What ONNX Runtime makes of it on the CPU; None for other providers."""
    provider: str


def lint(path: Path, *, provider: str = CPU) -> Linted:
    """What a file has that costs time on ``provider`` (ONNX Runtime's name of it).

    Raises:
        SignatureError: It is no whole ONNX file, or does not load.
    """
    file = read_model(path)
    graphs = _Graphs(
        file=file,
        products=products(file),
        running=_running(path) if provider == CPU else None,
        provider=provider,
    )
    findings = tuple(finding for rule in RULES.values() for finding in rule(graphs))
    convolutions = sum(product.convolves for product in graphs.products)
    slow = None if graphs.running is None else len(_slow(graphs.running))
    fast = None if slow is None else max(convolutions - slow, 0)
    return Linted(findings=findings, convolutions=convolutions, fast=fast)


def _running(path: Path) -> ModelProto:
    """The graph as it runs, with kernels for this processor."""
    with tempfile.TemporaryDirectory(prefix="compress-lint-") as folder:
        written = Path(folder) / "running.onnx"
        try:
            session(path, threads=1, tuning=Tuning(), optimised=written)
        except SESSION_ERRORS as error:
            raise SignatureError(f"{path} {refusal(error)}") from error
        return onnx.load(written, load_external_data=False)


def _slow(running: ModelProto) -> list[NodeProto]:
    """Convolutions in floats that are not computed in blocks of channels."""
    return [
        node
        for node in nodes(running.graph)
        if node.op_type in {"Conv", "FusedConv"} and node.domain != _BLOCKED
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operators:
    """Operators that cost time wherever they stand in a file."""

    rule: str
    kinds: frozenset[str]
    what: str
    """Said behind how many there are of each."""
    remedy: str

    def __call__(self, graphs: _Graphs) -> Iterator[Finding]:
        found = [node for node in nodes(graphs.file.graph) if node.op_type in self.kinds]
        if found:
            yield Finding(
                rule=self.rule,
                nodes=_names(found),
                what=f"{_kinds(found)} {self.what}",
                remedy=self.remedy,
            )


_OPERATORS: Final = (
    _Operators(
        rule="shape-arithmetic",
        kinds=frozenset(
            {"ConstantOfShape", "Expand", "GatherND", "NonZero", "Range", "ScatterND"}
            | {"Shape", "Size"}
        ),
        what="compute shapes while the network runs; a GPU leaves them to the CPU and waits, and "
        "CUDA graphs may not be captured",
        remedy="export with a fixed image size, in contiguous format (channels_last inputs make "
        "such chains), and with numbers instead of x.shape where they never change",
    ),
    _Operators(
        rule="control-flow",
        kinds=frozenset({"If", "Loop", "Scan", "SequenceMap"}),
        what="decide on the CPU what runs next: CUDA graphs cannot be captured, and nothing is "
        "fused across them",
        remedy="unroll loops of a known length and replace branches on the images by torch.where "
        "before the export",
    ),
    _Operators(
        rule="data-dependent-size",
        kinds=frozenset(
            {"Compress", "NonMaxSuppression", "NonZero", "SequenceAt", "StringSplit", "Unique"}
        ),
        what="make tensors whose size depends on the images: so does the time, and CUDA graphs "
        "cannot be captured",
        remedy="leave the selection of answers to the program around the network, or give it a "
        "fixed number of them (TopK); time it on images like those that it will see",
    ),
)


def _off_the_fast_path(graphs: _Graphs) -> Iterator[Finding]:
    if graphs.running is None:
        return
    slow = _slow(graphs.running)
    everything = sum(product.convolves for product in graphs.products)
    if not slow:
        return
    moved = sum(
        node.op_type in {"ReorderInput", "ReorderOutput"} for node in nodes(graphs.running.graph)
    )
    integers = any(node.op_type == "QLinearConv" for node in nodes(graphs.running.graph))
    how = "as integers or in blocks" if integers else "in blocks"
    between = f", with {moved} changes of layout between the two kinds" if moved > 2 else ""
    yield Finding(
        rule="slow-convolution",
        nodes=_names(slow),
        what=f"{everything - len(slow)} of {everything} convolutions run {how} of channels "
        f"(NCHWc kernels) on this CPU{between}",
        remedy="make widths multiples of 8, better of 16 (search.align); a grouped convolution "
        "wants as many channels in each group",
    )


def _unaligned(graphs: _Graphs) -> Iterator[Finding]:
    found = {
        product.node: widths for product in graphs.products if (widths := _odd_widths(product))
    }
    # Behind the last product are the classes, whose number nobody chooses.
    last = graphs.products[-1].node if graphs.products else None
    found.pop(last, None) if last else None
    if found:
        worst = ", ".join(str(width) for width in sorted({w for ws in found.values() for w in ws}))
        yield Finding(
            rule="unaligned-width",
            nodes=tuple(found)[:_NAMED],
            what=f"{len(found)} of {len(graphs.products)} products have widths that are no "
            f"multiples of {_ALIGNED}: {worst}",
            remedy="prune to multiples of 8 (search.align: 8), or of 16 for tensor cores on "
            "eight-bit integers: channels saved below a multiple cost as much as if they had "
            "stayed",
        )


def _odd_widths(product: Product) -> tuple[int, ...]:
    """Widths that no kernel likes, apart from those of images and depthwise convolutions."""
    weight = product.weight
    if weight is None or len(weight) < 2:
        return ()
    depthwise = product.convolves and weight[1] == 1
    widths = weight[:1] if depthwise else weight[:2]
    # Fewer than eight are the colours of an image, or too few to be a pruned width.
    return tuple(width for width in widths if width > _ALIGNED and width % _ALIGNED)


def _fixed_batch(graphs: _Graphs) -> Iterator[Finding]:
    for value in graphs.file.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].HasField("dim_value"):
            yield Finding(
                rule="fixed-batch",
                nodes=(),
                what=f"{value.name!r} takes batches of {dims[0].dim_value} and no other number",
                remedy="export with a named first dimension; a runtime can still fix it when it "
                "loads the file",
            )


def _half_on_cpu(graphs: _Graphs) -> Iterator[Finding]:
    if graphs.running is None:
        return
    half = [
        value.name
        for value in graphs.file.graph.initializer
        if value.data_type == onnx.TensorProto.FLOAT16
    ]
    casts = [node for node in nodes(graphs.running.graph) if node.op_type == "Cast"]
    if half and casts:
        yield Finding(
            rule="half-on-cpu",
            nodes=_names(casts),
            what=f"half precision on a CPU: ONNX Runtime {onnxruntime.__version__} converts to "
            f"floats and back ({len(casts)} conversions) and computes in these",
            remedy="use fp16 on a GPU; on a CPU fp32, or int8 if the gate accepts it",
        )


def _unfused(graphs: _Graphs) -> Iterator[Finding]:
    if graphs.running is None:
        return
    found = [n for n in nodes(graphs.running.graph) if n.op_type == "BatchNormalization"]
    if found:
        yield Finding(
            rule="unfused-normalisation",
            nodes=_names(found),
            what=f"{len(found)} BatchNormalization nodes remain beside the convolutions",
            remedy="export in evaluation mode with the exporter's optimisation on, which folds "
            "them into the weights",
        )


Rule = Callable[[_Graphs], Iterator[Finding]]

RULES: Final[Mapping[str, Rule]] = {
    **{operators.rule: operators for operators in _OPERATORS},
    "slow-convolution": _off_the_fast_path,
    "unaligned-width": _unaligned,
    "fixed-batch": _fixed_batch,
    "half-on-cpu": _half_on_cpu,
    "unfused-normalisation": _unfused,
}


def _names(found: list[NodeProto]) -> tuple[str, ...]:
    return tuple(node.name or node.output[0] for node in found[:_NAMED])


def _kinds(found: list[NodeProto]) -> str:
    counts = Counter(node.op_type for node in found)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
