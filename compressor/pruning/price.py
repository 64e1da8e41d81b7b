"""What a network costs, as a sum over the shapes of its tensors.

A cut changes shapes and nothing else, so the price of any choice of widths is known exactly
without making the network: parameters, multiply-adds, or microseconds from a table of layers.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor, nn

from compressor.pruning.cost import TensorName, work
from compressor.pruning.groups import ChannelGroup
from compressor.pruning.layer_times import LatencyTable, LayerTimes, interpolated, monotone

Budget = Literal["params", "macs", "latency"]
"""What a ratio is a share of."""

NOUNS: Final[Mapping[Budget, str]] = {
    "params": "parameters",
    "macs": "multiply-adds",
    "latency": "layers' time",
}

Rate = Callable[[Sequence[int]], float]
"""What a tensor of this shape costs; never falls when the shape grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Per tensor, what it costs at any shape. What has no shape of its own costs ``fixed``."""

    rates: Mapping[TensorName, Rate]
    fixed: float = 0.0

    def of(self, shapes: Mapping[TensorName, Sequence[int]]) -> float:
        """The price of a network whose tensors have these shapes."""
        return self.fixed + sum(rate(shapes[name]) for name, rate in self.rates.items())


def price(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    example: Tensor,
    *,
    of: Budget,
    latencies: LatencyTable,
) -> Price:
    """What ``model`` and any cut of it costs.

    Args:
        model: the network.
        groups: its channel groups.
        example: inputs [n c h w]; read for multiply-adds alone.
        of: what is counted.
        latencies: read for latency alone; has times for each layer that was measured.

    Raises:
        ValueError: latency is asked for, and the table is empty or of another network.
    """
    if of == "params":
        return Price(rates=dict.fromkeys(shapes_of(model), math.prod))
    if of == "macs":
        return _macs(model, groups, example)
    return _latency(model, latencies)


def shapes_of(model: nn.Module) -> dict[TensorName, tuple[int, ...]]:
    """Shapes of all parameters, shared ones once."""
    seen: set[int] = set()
    shapes: dict[TensorName, tuple[int, ...]] = {}
    for module, layer in model.named_modules():
        for name, value in layer.named_parameters(recurse=False):
            if id(value) not in seen:
                seen.add(id(value))
                shapes[module, name] = tuple(value.shape)
    return shapes


def _macs(model: nn.Module, groups: Sequence[ChannelGroup], example: Tensor) -> Price:
    shapes = shapes_of(model)
    found = work(model, example)
    rates: dict[TensorName, list[Rate]] = {}
    for name, macs in found.by_weight.items():
        rates.setdefault(name, []).append(_per_entry(macs, shapes[name]))
    fixed = 0.0
    for place, macs in found.products.items():
        inside = list(_widths_inside(groups, place))
        for name, dim in inside:
            share = macs / len(inside) / shapes[name][dim]
            rates.setdefault(name, []).append(_per_width(share, dim))
        fixed += 0.0 if inside else macs
    return Price(rates={name: _summed(parts) for name, parts in rates.items()}, fixed=fixed)


def _widths_inside(groups: Sequence[ChannelGroup], place: str) -> Iterator[tuple[TensorName, int]]:
    """A tensor and its dimension for each group that lies in a module as a whole.

    Products of two activations are linear in such an inner width, heads or their dimensions; a
    width that comes from outside goes through the module's weights first.
    """
    for group in groups:
        if all(name == place or name.startswith(f"{place}.") for name in group.modules):
            piece = next(s for s in group.slices if s.role != "consumer")
            yield (piece.module, piece.tensor), piece.dim


def _latency(model: nn.Module, latencies: LatencyTable) -> Price:
    modules = dict(model.named_modules())
    unknown = [name for name in latencies if name not in modules]
    if not latencies or unknown:
        raise ValueError(
            f"the latency table has {', '.join(unknown[:3])}, which the network has not; measure "
            "this network's own"
            if unknown
            else "a budget of latency needs a table of layer times"
        )
    rates: dict[TensorName, Rate] = {}
    for module, times in latencies.items():
        rates[module, "weight"] = _per_time(times)
    return Price(rates=rates)


def _per_entry(macs: int, shape: Sequence[int]) -> Rate:
    whole, rest = divmod(macs, math.prod(shape))
    each = macs / math.prod(shape) if rest else whole
    return lambda now: each * math.prod(now)


def _per_width(share: float, dim: int) -> Rate:
    return lambda now: share * now[dim]


def _per_time(times: LayerTimes) -> Rate:
    grid = monotone(times)
    at = functools.cache(lambda widths: interpolated(times, grid, widths))
    return lambda now: at(tuple(now[dim] for dim in times.dims))


def _summed(parts: Sequence[Rate]) -> Rate:
    return parts[0] if len(parts) == 1 else lambda now: sum(part(now) for part in parts)
