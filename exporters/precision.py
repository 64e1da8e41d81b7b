"""The precisions that a network is released in, each a function from file to file.

A precision changes answers, so that each file is judged for itself: how near it comes to the
network is told and decides nothing.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from exporters.eight_bit import quantised
from exporters.half import halved
from exporters.providers import EXECUTION_PROVIDERS

Precision = Literal["fp32", "fp16", "int8"]


class Convert(Protocol):
    """A file in another precision.

    ``content`` is an ONNX file of float32 images [n c h w], ``calibration`` images as it takes
    them, ``provider`` ONNX Runtime's name of where it will run.

    Raises:
        ExportError: the network cannot have this precision.
    """

    def __call__(
        self, content: bytes, *, calibration: NDArray[np.float32], provider: str
    ) -> bytes: ...


def _same(content: bytes, *, calibration: NDArray[np.float32], provider: str) -> bytes:  # noqa: ARG001 # as a precision is called
    return content


PRECISIONS: Final[Mapping[Precision, Convert]] = {
    "fp32": _same,
    "fp16": halved,
    "int8": quantised,
}

CALIBRATED: Final = frozenset[Precision]({"int8"})
"""Those that look at images."""

# OperatorKernels.md of ONNX Runtime lists what each provider computes in which type.
_NO_FASTER: Final[Mapping[str, Mapping[Precision, str]]] = {
    EXECUTION_PROVIDERS["cpu"]: {
        "fp16": "the CPU provider computes fp16 convolutions in fp32, with conversions around them",
    },
    EXECUTION_PROVIDERS["cuda"]: {
        "int8": "the CUDA provider has no int8 convolutions and computes them in floating point; "
        "TensorRT has them",
    },
}


def worth_trying(provider: str) -> tuple[tuple[Precision, ...], Mapping[Precision, str]]:
    """Which precisions can be faster than fp32 on a provider, fp32 first; and why others cannot."""
    without = _NO_FASTER.get(provider, MappingProxyType({}))
    return tuple(name for name in get_args(Precision) if name not in without), without
