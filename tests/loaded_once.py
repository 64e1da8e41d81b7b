"""What libraries would do anew for every network, which is most of what a small one takes.

PyTorch's exporter reads all of its translations to ONNX, from their source, for every file; and it
takes a second for a network that it has seen before.
"""

import copy
import hashlib
import io
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.onnx._internal.exporter import _registration

import exporters.onnx


@pytest.fixture(scope="session", autouse=True)
def loaded_once() -> Iterator[None]:
    """The table of translations."""
    with pytest.MonkeyPatch.context() as patch:
        read_translations_once(patch)
        yield


def read_translations_once(patch: pytest.MonkeyPatch) -> Callable[..., object]:
    """From here on each export of this process has its own copy of one table.

    What reads the table is returned, for whoever would do so now.
    """
    registry = _registration.ONNXRegistry
    original = cache(registry.from_torchlib)

    def from_torchlib(*, opset_version: int) -> object:
        table = copy.copy(original(opset_version=opset_version))
        table.functions = {target: [*made] for target, made in table.functions.items()}
        return table

    patch.setattr(registry, "from_torchlib", staticmethod(from_torchlib))
    return from_torchlib


@pytest.fixture(scope="session", autouse=True)
def exported_once() -> Iterator[None]:
    """The graph of a network that was exported before, weight by weight the same, is taken again.

    That an export gives the same bytes every time is what the tests of the exporter show.
    """
    graphs: dict[str, bytes] = {}
    trace, convert = exporters.onnx._trace, exporters.onnx._convert

    def converted(pair: Tensor, network: nn.Module) -> ModelProto:
        key = _digest(network, pair)
        if key is None:
            return convert(trace(network, pair), network)
        if key not in graphs:
            graphs[key] = convert(trace(network, pair), network).SerializeToString()
        graph = ModelProto()
        graph.ParseFromString(graphs[key])
        return graph

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporters.onnx, "_trace", lambda _, pair: pair)
        patch.setattr(exporters.onnx, "_convert", converted)
        yield


def _digest(network: nn.Module, pair: Tensor) -> str | None:
    """Of all that the graph depends on; None where that is code of a test's own."""
    homes = {type(module).__module__.partition(".")[0] for module in network.modules()}
    if not homes <= {"torch", "torchvision", "compressor"}:
        return None
    content = io.BytesIO()
    torch.save((network, pair.shape), content)
    return hashlib.sha256(content.getvalue()).hexdigest()
