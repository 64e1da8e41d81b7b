"""What libraries would load anew for every network, which is most of what a small one takes.

torch-pruning is imported by each process that traces: here those are forked with it. PyTorch's
exporter reads all of its translations to ONNX, from their source, for every file.
"""

import copy
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch_pruning  # noqa: F401 # for the processes that are forked
from torch.onnx._internal.exporter import _registration


@pytest.fixture(scope="session", autouse=True)
def loaded_once() -> Iterator[None]:
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
