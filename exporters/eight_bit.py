"""Eight bits: weights and activations as integers, with scales that images have shown to fit.

Static quantisation in the QDQ form: pairs of QuantizeLinear and DequantizeLinear around what is
computed in integers, which each execution provider takes as it can. Ranges are the extremes that
were seen on the images; nothing is drawn, so that the same file and images give the same bytes.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto
from onnxruntime.quantization import (
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from exporters.onnx import ExportError
from exporters.providers import EXECUTION_PROVIDERS
from exporters.sessions import SESSION_ERRORS

_BATCH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What numbers a provider's kernels want."""

    activations: QuantType
    reduce_range: bool
    """Weights of seven bits."""
    options: Mapping[str, bool]


# Kernels of x86 multiply unsigned activations with signed weights. Where there is no VNNI they add
# two products in 16 bits, which saturates unless weights keep to seven: then another processor
# would give other answers than those that were judged.
# https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
_FOR_CPU: Final = Recipe(activations=QuantType.QUInt8, reduce_range=True, options={})

# TensorRT takes zero points of 0 only, and adds biases in floating point.
# https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html
_FOR_GPU: Final = Recipe(
    activations=QuantType.QInt8,
    reduce_range=False,
    options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
)

RECIPES: Final[Mapping[str, Recipe]] = {
    EXECUTION_PROVIDERS["cpu"]: _FOR_CPU,
    EXECUTION_PROVIDERS["cuda"]: _FOR_GPU,
    EXECUTION_PROVIDERS["tensorrt"]: _FOR_GPU,
}
"""By ONNX Runtime's name of the provider."""


def quantised(content: bytes, *, calibration: NDArray[np.float32], provider: str) -> bytes:
    """The file with weights, one scale per channel, and activations of eight bits.

    Args:
        content: an ONNX file with one input of float32 images [n c h w].
        calibration: images as the input takes them; the more, the better the ranges.
        provider: ONNX Runtime's name of where the file is to run.

    Raises:
        ExportError: there are no images, or the network cannot be quantised.
    """
    if not len(calibration) or not np.isfinite(calibration).all():
        raise ExportError(
            f"{len(calibration)} images to calibrate int8 with, not all of them finite numbers or "
            "none at all; set export.calibration_images to 1 or more, and look at the images"
        )
    model: Any = ModelProto.FromString(content)
    recipe, metadata = RECIPES[provider], list(model.metadata_props)
    # What quantize_static asks to be done first, our exporter has done: BatchNorm is folded.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        try:
            quantize_static(
                model,
                file,
                _Images(calibration, name=model.graph.input[0].name),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=recipe.reduce_range,
                activation_type=recipe.activations,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options=dict(recipe.options),
            )
        # It raises ValueError for what it does not know, and what a session raises.
        except (*SESSION_ERRORS, ValueError, TypeError, LookupError) as error:
            raise ExportError(
                f"the network cannot be quantised to int8: {error}; export it as fp32"
            ) from error
        made = ModelProto.FromString(file.read_bytes())
    _give_floats(made)
    del made.metadata_props[:]
    made.metadata_props.extend(metadata)
    result: bytes = made.SerializeToString(deterministic=True)
    return result


class _Images:
    """Batches of images, as the quantiser asks for them: it wants no more than this method."""

    def __init__(self, images: NDArray[np.float32], *, name: str) -> None:
        self._feeds: Iterator[dict[str, NDArray[np.float32]]] = (
            {name: images[start : start + _BATCH]} for start in range(0, len(images), _BATCH)
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


def _give_floats(model: Any) -> None:  # noqa: ANN401 - protobuf messages have no common type in onnx
    """The answer straight from the operator that computes it, not rounded to 256 values.

    Rounded logits tie, and a tie is decided by the order of classes.
    """
    graph = model.graph
    makers: dict[str, NodeProto] = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        last = makers[output.name]
        before = makers.get(last.input[0]) if last.op_type == "DequantizeLinear" else None
        if before is None or before.op_type != "QuantizeLinear":
            continue
        source = before.input[0]
        if source not in makers or _takers(graph.node, source) != 1:
            continue
        maker = makers[source]
        place = list(maker.output).index(source)
        graph.node.remove(last)
        graph.node.remove(before)
        maker.output[place] = output.name


def _takers(nodes: Any, name: str) -> int:  # noqa: ANN401 - a repeated field
    return sum(name in node.input for node in nodes)
