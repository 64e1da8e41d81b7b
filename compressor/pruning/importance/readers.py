"""Which inputs the weights read, and what their outputs become: calls, watched as they happen.

A layer that is called twice has two readings, and one whose weight is used outside its module
(functional convolutions) has them too. A weight that no linear layer or convolution uses as it
is (computed weights, attention in one fused call) has none, which is an error by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from compressor.pruning.importance.subject import TRANSPOSED, TensorName, UnscorableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One call in which a weight read a batch."""

    name: TensorName
    """Whose weight."""
    inputs: Tensor
    """What it read: [n channels places]."""
    patches: Callable[[], Tensor]
    """What each output is a product with: [n channels taps outputs], taps being kernel places."""
    by_output: Callable[[Tensor], Tensor]
    """What is shaped like the call's output, as [n outputs places]."""
    edge: GradientEdge | None
    """The call's output in the graph, even if it was written to later; None outside of one."""


def readings(
    model: nn.Module, images: Tensor, wanted: Mapping[int, TensorName]
) -> tuple[Tensor, list[Reading]]:
    """The model's output for ``images``, and how the weights with the ids ``wanted`` read them.

    Raises:
        UnscorableError: a weight was not seen to read anything.
    """
    watch = _Watch(wanted)
    with watch:
        output = model(images)
    if watch.grouped:
        raise UnscorableError(
            f"{min(watch.grouped)[0]} is a grouped convolution, whose columns are read in part; "
            "choose an importance that only needs weights or gradients: l2, l1, fpgm, lamp or "
            "taylor (search.importance)"
        )
    missing = set(wanted.values()) - {reading.name for reading in watch.seen}
    if missing:
        names = ", ".join(sorted(f"{module}.{tensor}" for module, tensor in missing))
        raise UnscorableError(
            f"this importance watches what linear layers and convolutions read, and {names} is not "
            "used by such a call as it is (a computed weight, a fused attention, or a layer that "
            "is not met); choose an importance that only needs weights or gradients: l2, l1, fpgm, "
            "lamp or taylor (search.importance)"
        )
    return output, watch.seen


def watchable(
    model: nn.Module, images: Tensor, wanted: Mapping[int, TensorName]
) -> set[TensorName]:
    """Those of the weights with the ids ``wanted`` that ``readings`` can watch."""
    watch = _Watch(wanted)
    with torch.no_grad(), watch:
        model(images)
    return {reading.name for reading in watch.seen} - watch.grouped


def as_matrix(model: nn.Module, name: TensorName) -> Tensor:
    """A reading weight as [outputs channels taps], in the order of ``Reading.patches``."""
    module, tensor = name
    layer = model.get_submodule(module)
    weight = layer.get_parameter(tensor).detach()
    if isinstance(layer, TRANSPOSED):
        weight = weight.transpose(0, 1).flip(tuple(range(2, weight.dim())))
    return weight.flatten(2) if weight.dim() > 2 else weight[:, :, None]


class _Watch(TorchFunctionMode):
    """Notes the calls whose weight is wanted."""

    def __init__(self, wanted: Mapping[int, TensorName]) -> None:
        super().__init__()
        self._wanted = wanted
        self.seen: list[Reading] = []
        self.grouped: set[TensorName] = set()
        """Of convolutions whose columns are read in part."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 # whatever the function gives
        output = func(*args, **(kwargs or {}))
        if func in _READS:
            call = _READS[func](*args, **(kwargs or {}))
            name = self._wanted.get(id(call.weight))
            if name is not None and call.groups != 1:
                self.grouped.add(name)
            elif name is not None:
                self.seen.append(_reading(name, call, output))
        return output


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    weight: Tensor
    inputs: Callable[[], Tensor]
    patches: Callable[[], Tensor]
    groups: int = 1


def _reading(name: TensorName, call: _Call, output: Tensor) -> Reading:
    return Reading(
        name=name,
        inputs=call.inputs(),
        patches=call.patches,
        by_output=_vectors if call.weight.dim() == 2 else _maps,
        edge=get_gradient_edge(output) if output.requires_grad else None,
    )


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> _Call:  # noqa: A002 # torch's name
    del bias
    seen = _vectors(input.detach())
    return _Call(weight=weight, inputs=lambda: seen, patches=lambda: seen[:, :, None])


def _convolution(  # noqa: PLR0917 # torch's signature
    input: Tensor,  # noqa: A002 # torch's name
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> _Call:
    del bias
    seen, sizes = input.detach(), weight.shape[2:]
    dilations = _each(dilation, sizes)
    if isinstance(padding, str):
        rims = [
            d * (k - 1) if padding == "same" else 0 for k, d in zip(sizes, dilations, strict=True)
        ]
        sides = [(rim // 2, rim - rim // 2) for rim in rims]
    else:
        sides = [(each, each) for each in _each(padding, sizes)]
    return _Call(
        weight=weight,
        inputs=lambda: _maps(seen),
        patches=lambda: _patches(seen, sizes, _each(stride, sizes), sides, dilations),
        groups=groups,
    )


def _transposed(  # noqa: PLR0917 # torch's signature
    input: Tensor,  # noqa: A002 # torch's name
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> _Call:
    """A convolution of the inputs with zeros between, by the flipped kernel."""
    del bias
    seen, sizes = input.detach(), weight.shape[2:]
    strides, dilations = _each(stride, sizes), _each(dilation, sizes)
    rims = [
        d * (k - 1) - p for k, d, p in zip(sizes, dilations, _each(padding, sizes), strict=True)
    ]
    sides = [(r, r + more) for r, more in zip(rims, _each(output_padding, sizes), strict=True)]

    def patches() -> Tensor:
        wide = [(n - 1) * s + 1 for n, s in zip(seen.shape[2:], strides, strict=True)]
        spread = seen.new_zeros((*seen.shape[:2], *wide))
        places: list[Any] = [..., *(slice(None, None, s) for s in strides)]
        spread[tuple(places)] = seen
        return _patches(spread, sizes, [1] * len(sizes), sides, dilations)

    return _Call(weight=weight, inputs=lambda: _maps(seen), patches=patches, groups=groups)


_READS: Final[Mapping[Callable[..., Any], Callable[..., _Call]]] = {
    functional.linear: _linear,
    **dict.fromkeys((functional.conv1d, functional.conv2d, functional.conv3d), _convolution),
    **dict.fromkeys(
        (
            functional.conv_transpose1d,
            functional.conv_transpose2d,
            functional.conv_transpose3d,
        ),
        _transposed,
    ),
}


def _vectors(values: Tensor) -> Tensor:
    """Vectors [n (places) channels] as [n channels places]."""
    return values.movedim(-1, 1).flatten(2) if values.dim() > 2 else values[:, :, None]


def _maps(values: Tensor) -> Tensor:
    """Maps [n channels (places)] as [n channels places]."""
    return values.flatten(2)


def _each(value: int | Sequence[int], sizes: Sequence[int]) -> Sequence[int]:
    """One value per dimension."""
    return (
        [value] * len(sizes) if isinstance(value, int) else list(value) * (len(sizes) // len(value))
    )


def _patches(
    x: Tensor,
    sizes: Sequence[int],
    strides: Sequence[int],
    sides: Sequence[tuple[int, int]],
    dilations: Sequence[int],
) -> Tensor:
    """The windows that a kernel of ``sizes`` meets: [n channels taps outputs]."""
    padded = functional.pad(x, [side for pair in reversed(sides) for side in pair])
    for axis, (size, stride, dilation) in enumerate(zip(sizes, strides, dilations, strict=True)):
        padded = padded.unfold(2 + axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    dims = len(sizes)
    # [n channels outputs... taps...]
    taps_first = padded.permute(0, 1, *range(2 + dims, 2 + 2 * dims), *range(2, 2 + dims))
    return taps_first.flatten(2 + dims).flatten(2, 1 + dims)
