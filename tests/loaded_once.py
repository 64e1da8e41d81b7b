"""What would be done anew for every job, which is most of what a small one takes.

PyTorch's exporter reads all of its translations to ONNX, from their source, for every file; and it
takes a second for a network that it has seen before. What processes of their own find, of a
provider or of two files, takes each of them two.
"""

import copy
import hashlib
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from onnx import ModelProto
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.onnx._internal.exporter import _registration

import exporters.latency
import exporters.onnx
import exporters.providers
from exporters.child import run_module


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


# Known to all modules of tests that take part, and to no other: these show that the exporter gives
# the same bytes every time, and that what must be measured anew is.
_GRAPHS: dict[str, bytes] = {}
_ANSWERS: dict[object, subprocess.CompletedProcess[str]] = {}


@pytest.fixture(scope="module", autouse=True)
def exported_once() -> Iterator[None]:
    """The graph of a network with the same weights that was exported before is taken again."""
    trace, convert = exporters.onnx._trace, exporters.onnx._convert

    def converted(pair: Tensor, network: nn.Module) -> ModelProto:
        key = _digest(network, pair)
        if key is None:
            return convert(trace(network, pair), network)
        if key not in _GRAPHS:
            _GRAPHS[key] = convert(trace(network, pair), network).SerializeToString()
        graph = ModelProto()
        graph.ParseFromString(_GRAPHS[key])
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


@pytest.fixture(scope="module", autouse=True)
def asked_once() -> Iterator[None]:
    """Providers are tried once in each environment, and each pair of files is timed once."""

    def tried(module: str, name: str, *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        environ = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        key = (module, name, frozenset(environ.items()))
        if key not in _ANSWERS:
            _ANSWERS[key] = run_module(module, name, timeout_s=timeout_s)
        return _ANSWERS[key]

    def timed(module: str, *, stdin: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        key = _files_read(stdin)
        if key is None or key not in _ANSWERS:
            done = run_module(module, stdin=stdin, timeout_s=timeout_s)
            if key is None or done.returncode != 0:
                return done
            _ANSWERS[key] = done
        return _ANSWERS[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporters.providers, "run_module", tried)
        patch.setattr(exporters.latency, "run_module", timed)
        yield


def _files_read(request: str) -> str | None:
    """The request with what is in its two files in their place; None where one is not there."""
    content = TypeAdapter(dict[str, object]).validate_json(request)
    for name in ("dense", "pruned"):
        file = Path(str(content[name]))
        if not file.is_file():
            return None
        content[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return repr(content)
