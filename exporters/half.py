"""Half precision: a network's weights and sums as fp16, its input and output as they were."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.transformers.float16 import convert_float_to_float16


def halved(content: bytes, *, calibration: NDArray[np.float32], provider: str) -> bytes:  # noqa: ARG001 # the same for all images and providers; a precision is called with both
    """The file in fp16; what it takes and gives stays float32.

    Numbers beyond half precision become the largest that it has; how far that moves the answers,
    whoever compares the two files sees.
    """
    model: Any = ModelProto.FromString(content)
    with warnings.catch_warnings():
        # One for each weight below 6e-8, which becomes that or zero.
        warnings.simplefilter("ignore")
        converted = convert_float_to_float16(model, keep_io_types=True)
    made: bytes = converted.SerializeToString(deterministic=True)
    return made
