"""Rules for torch's functions that move values and compute none; see ``flow_rules``."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from compressor.pruning.dataflow import Axes, Axis, Call, Flow, unknown


def reordered(flow: Flow, call: Call) -> None:
    """Dimensions in another order, read off what the function does to sizes that are all unlike."""
    x = call.tensors[0]
    probe = torch.empty([2 + d for d in range(x.dim())], device="meta")
    order = [size - 2 for size in call.function(probe, *call.args[1:], **call.kwargs).shape]
    flow.set(call.out, {order.index(d): axis for d, axis in flow.axes(x).items()})


def reshaped(flow: Flow, call: Call) -> None:
    """The same values in row-major order: a dimension stays, or takes in those that follow it."""
    x = call.tensors[0]
    if len(call.tensors) > 1 or not isinstance(call.out, Tensor):
        unknown(flow, call)
        return
    axes: Axes = {}
    for dim, axis in flow.axes(x).items():
        found = _place(x.shape, dim, call.out.shape)
        if found is None or found[0] in axes:
            flow.block_all([x], f"{call.name}()")
            axes = {}
            break
        axes[found[0]] = Axis(axis.node, axis.spread * found[1])
    flow.set(call.out, axes)


def _place(before: Sequence[int], dim: int, after: Sequence[int]) -> tuple[int, int] | None:
    """Where dimension ``dim`` is afterwards, and how many positions each of its entries has."""
    ahead = math.prod(before[:dim])
    for place, size in enumerate(after):
        if math.prod(after[:place]) == ahead and size % before[dim] == 0:
            spread = size // before[dim]
            # It must have taken in whole dimensions that follow it, not parts of them.
            ends = [math.prod(before[dim + 1 : end]) for end in range(dim + 1, len(before) + 1)]
            return (place, spread) if spread in ends and size > 1 else None
    return None


def indexed(flow: Flow, call: Call) -> None:
    """Parts of other dimensions, all of those that are followed."""
    x, index = call.args
    index = index if isinstance(index, tuple) else (index,)
    plain = all(i is None or i is ... or type(i) in (int, slice) for i in index)
    if not plain or not isinstance(call.out, Tensor):
        unknown(flow, call)
        return
    places = _index_places(index, x.dim())
    axes = flow.axes(x)
    if any(places[dim] is None for dim in axes):
        unknown(flow, call)
    else:
        found = {place: axes[d] for d, place in places.items() if d in axes}
        flow.set(call.out, {place: axis for place, axis in found.items() if place is not None})


def _index_places(index: Iterable[Any], dims: int) -> dict[int, int | None]:
    """Per dimension, where it is after indexing; None where not all of it is there."""
    items = list(index)
    takes = sum(i is not None and i is not ... for i in items)
    if ... not in items:
        items.append(...)
    places: dict[int, int | None] = {}
    made = 0
    for item in items:
        if item is None:
            made += 1
        elif item is ...:
            for _ in range(dims - takes):
                places[len(places)] = made
                made += 1
        else:
            places[len(places)] = made if item == slice(None) else None
            made += isinstance(item, slice)
    return places


def joined(flow: Flow, call: Call) -> None:
    """Concatenation: along any dimension that is not followed."""
    parts = call.arg(0, "tensors")
    along = call.arg(1, "dim") or 0
    if not all(isinstance(part, Tensor) for part in parts) or not isinstance(along, int):
        unknown(flow, call)
        return
    along %= call.out.dim()
    if any(along in flow.axes(part) for part in parts):
        unknown(flow, call)
        return
    axes: Axes = {}
    for dim in range(call.out.dim()):
        met = [flow.axes(part)[dim] for part in parts if dim in flow.axes(part)]
        if met:
            axes[dim] = met[0]
            some = len(met) < len(parts)
            flow.same(met, reason=f"{call.name}() with fixed channels", fixed=some)
    flow.set(call.out, axes)
