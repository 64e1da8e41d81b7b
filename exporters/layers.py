"""The layers of a network, with the shapes that they have in it, as plain data."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer as one ONNX operator; equal for layers that take equally long."""

    operator: Literal["Conv", "ConvTranspose", "Gemm", "MatMul"]
    weight: tuple[int, ...]
    """Shape of the weight, as PyTorch holds it."""
    input: tuple[int, ...]
    """Shape of what it reads for one image."""
    bias: bool
    groups: int
    attributes: tuple[tuple[str, int | tuple[int, ...]], ...]

    @property
    def dims(self) -> tuple[int, ...]:
        """Dimensions of the weight that are widths: what it reads and makes, or groups of both."""
        if self.groups == 1:
            return (0, 1) if self.operator == "ConvTranspose" else (1, 0)
        return () if self.operator == "ConvTranspose" else (0,)

    @property
    def least(self) -> int:
        """Rows of the weight that cannot be parted."""
        return self.weight[0] // self.groups if self.groups > 1 else 1

    @property
    def makes(self) -> int:
        """Channels that it makes."""
        return self.weight[1] * self.groups if self.operator == "ConvTranspose" else self.weight[0]

    def at(self, sizes: Sequence[int]) -> "Layer":
        """The layer with these sizes along ``dims``."""
        weight = list(self.weight)
        for dim, size in zip(self.dims, sizes, strict=True):
            weight[dim] = size
        groups = self.groups
        if groups > 1 and self.operator == "Conv":
            groups = groups * weight[0] // self.weight[0]
        reads = weight[0] if self.operator == "ConvTranspose" else weight[1] * groups
        spatial = self.operator.startswith("Conv")
        return replace(
            self,
            weight=tuple(weight),
            groups=groups,
            input=(reads, *self.input[1:]) if spatial else (*self.input[:-1], reads),
            attributes=tuple(
                (name, groups if name == "group" else value) for name, value in self.attributes
            ),
        )


def layers_of(model: nn.Module, example: Tensor) -> dict[str, tuple[Layer, ...]]:
    """Per module that is a convolution or a linear layer, one entry for each time it is run.

    Layers that never run on ``example`` [n c h w], and those whose weights other modules use
    without calling them, are not there.
    """
    twin = copy.deepcopy(model).eval()
    found: dict[str, list[Layer]] = {}

    def watch(name: str) -> Any:  # noqa: ANN401 # a hook
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], _output: object) -> None:
            found.setdefault(name, []).append(_layer(module, tuple(inputs[0].shape[1:])))

        return hook

    for name, module in twin.named_modules():
        if isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)):
            module.register_forward_hook(watch(name))
    with torch.inference_mode():
        twin(example[:1])
    return {name: tuple(calls) for name, calls in found.items()}


def _layer(module: Any, shape: tuple[int, ...]) -> Layer:  # noqa: ANN401 # torch layers by their fields
    weight, bias = tuple(module.weight.shape), module.bias is not None
    if isinstance(module, nn.Linear):
        if len(shape) > 1:
            return Layer(
                operator="MatMul", weight=weight, input=shape, bias=bias, groups=1, attributes=()
            )
        return Layer(
            operator="Gemm",
            weight=weight,
            input=shape,
            bias=bias,
            groups=1,
            attributes=(("transB", 1),),
        )
    transposed = isinstance(module, _TRANSPOSED)
    attributes: list[tuple[str, int | tuple[int, ...]]] = [
        ("kernel_shape", tuple(module.kernel_size)),
        ("strides", tuple(module.stride)),
        ("dilations", tuple(module.dilation)),
        ("group", module.groups),
        ("pads", _pads(module)),
    ]
    if transposed:
        attributes.append(("output_padding", tuple(module.output_padding)))
    return Layer(
        operator="ConvTranspose" if transposed else "Conv",
        weight=weight,
        input=shape,
        bias=bias,
        groups=module.groups,
        attributes=tuple(attributes),
    )


def _pads(module: Any) -> tuple[int, ...]:  # noqa: ANN401 # torch layers by their fields
    """Zeros before each spatial dimension, then after each."""
    if module.padding == "valid":
        return (0,) * 2 * len(module.kernel_size)
    if module.padding == "same":
        sizes = zip(module.kernel_size, module.dilation, strict=True)
        whole = [dilation * (size - 1) for size, dilation in sizes]
        before = tuple(pad // 2 for pad in whole)
        return (*before, *(pad - first for pad, first in zip(whole, before, strict=True)))
    return (*module.padding, *module.padding)
