"""From what the tracer saw to groups that can be cut.

A unit is the least that can go at once: one channel, or the channels that some layer ties
together. Groups whose units are not all of one size, or whose layers surgery cannot cut, are
left alone, with the reason.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from torch import nn

from compressor.pruning.groups import ChannelGroup, LeftAlone, Role, Slice

_NAMED: Final = 3
"""Of what cannot be cut, so many are named: a transformer's stream passes all its LayerNorms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """One raw finding of the tracer: a module that a group touches.

    ``positions[k]`` of the module's channels belongs to channel ``roots[k]`` of the group.
    """

    module: str
    side: Literal["out", "in", "both"]
    positions: tuple[int, ...]
    roots: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawGroup:
    """A group as the tracer saw it, before anything is known about how to cut it."""

    root: str
    width: int
    touches: tuple[Touch, ...]
    reaches_output: bool
    foreign: tuple[str, ...]
    """Descriptions of what the group touches and no table here can cut."""


_Convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_PerChannel = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.PReLU,
)

# Tensor dimensions that hold a module's output and input channels. LayerNorm and GroupNorm are
# not here on purpose: removing channels changes the statistics of those that stay, so no
# equivalence with the dense network could be checked.
_OUT: Final[tuple[tuple[tuple[type[nn.Module], ...], tuple[tuple[str, int], ...]], ...]] = (
    (_Convolution, (("weight", 0), ("bias", 0))),
    (_Transposed, (("weight", 1), ("bias", 0))),
    ((nn.Linear,), (("weight", 0), ("bias", 0))),
)
_IN: Final[tuple[tuple[tuple[type[nn.Module], ...], tuple[tuple[str, int], ...]], ...]] = (
    (_Convolution, (("weight", 1),)),
    (_Transposed, (("weight", 0),)),
    ((nn.Linear,), (("weight", 1),)),
)
_BETWEEN: Final = (("weight", 0), ("bias", 0), ("running_mean", 0), ("running_var", 0))

_WITH_CHANNELS: Final = (*_Convolution, *_Transposed, nn.Linear)

CUTTABLE: Final = (*_WITH_CHANNELS, *_PerChannel)
"""Module types that surgery knows how to cut."""


def is_depthwise(module: nn.Module) -> bool:
    """A convolution that acts on each channel alone."""
    return isinstance(module, (*_Convolution, *_Transposed)) and (
        1 < module.groups == module.in_channels == module.out_channels
    )


def is_grouped(module: nn.Module) -> bool:
    """A convolution of several groups that is not depthwise."""
    return (
        isinstance(module, (*_Convolution, *_Transposed))
        and module.groups > 1
        and not is_depthwise(module)
    )


def assemble(
    raw: Sequence[RawGroup], modules: Mapping[str, nn.Module]
) -> tuple[tuple[ChannelGroup, ...], tuple[LeftAlone, ...]]:
    """Turn the tracer's findings into groups that can be cut, and name what cannot be."""
    groups: list[ChannelGroup] = []
    left: list[LeftAlone] = []
    tied = _tied_weights(modules)
    for bundle in _tied_by_grouped_convolutions(raw, modules):
        names = tuple(dict.fromkeys(t.module for g in bundle for t in g.touches))
        reason = _why_not(bundle, modules) or _weights_not_its_own(names, modules, tied)
        group = None if reason else _build(bundle, modules)
        if group is None:
            reason = reason or "its channels cannot be removed in units of equal size"
            left.append(LeftAlone(modules=names, reason=reason))
        else:
            groups.append(group)
    return tuple(groups), (*left, *_unreached(raw, modules))


def _unreached(raw: Sequence[RawGroup], modules: Mapping[str, nn.Module]) -> list[LeftAlone]:
    """Layers with channels that the tracer never met: in no path from input to output."""
    met = {touch.module for group in raw for touch in group.touches}
    names = tuple(n for n, m in modules.items() if isinstance(m, _WITH_CHANNELS) and n not in met)
    return [LeftAlone(modules=names, reason="not met by the tracer")] if names else []


def _why_not(bundle: Sequence[RawGroup], modules: Mapping[str, nn.Module]) -> str:
    """Why a bundle of raw groups must stay whole; empty when nothing speaks against a cut."""
    if any(group.reaches_output for group in bundle):
        return "these are the network's outputs"
    foreign = tuple(dict.fromkeys(name for group in bundle for name in group.foreign))
    if foreign:
        more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
        return f"touches {', '.join(foreign[:_NAMED])}{more}, which cannot be cut and checked"
    touched = [modules[t.module] for g in bundle for t in g.touches]
    if any(isinstance(m, _Transposed) and m.groups > 1 for m in touched):
        return "grouped transposed convolutions are not cut"
    return ""


def _tied_weights(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Per module that shares a parameter with another one, the other's name."""
    owners: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, module in modules.items():
        for parameter in module.parameters(recurse=False):
            other = owners.setdefault(id(parameter), name)
            if other != name:
                tied |= {name: other, other: name}
    return tied


def _weights_not_its_own(
    names: Sequence[str], modules: Mapping[str, nn.Module], tied: Mapping[str, str]
) -> str:
    """Why the weights of these modules cannot be replaced; empty when they can."""
    for name in names:
        if name in tied:
            return f"{name} and {tied[name]} share one parameter"
        weight = getattr(modules[name], "weight", None)
        if weight is not None and not isinstance(weight, nn.Parameter):
            return (
                f"the weight of {name} is computed (weight_norm, spectral_norm, a mask); "
                "make it a plain parameter first"
            )
    return ""


def _tied_by_grouped_convolutions(
    raw: Sequence[RawGroup], modules: Mapping[str, nn.Module]
) -> list[list[RawGroup]]:
    """Join the groups before and after each grouped convolution: its groups go as a whole."""
    bundles = [[group] for group in raw]
    for name, module in modules.items():
        if not is_grouped(module):
            continue
        touching = [b for b in bundles if any(t.module == name for g in b for t in g.touches)]
        if len(touching) > 1:
            joined = [group for bundle in touching for group in bundle]
            bundles = [b for b in bundles if b not in touching] + [joined]
    return bundles


def _build(bundle: Sequence[RawGroup], modules: Mapping[str, nn.Module]) -> ChannelGroup | None:
    unit_of = _units(bundle, modules)
    count = 1 + max(max(units) for units in unit_of)
    places: dict[tuple[str, str, int], list[set[int]]] = {}
    roles: dict[tuple[str, str, int], Role] = {}
    for group, units in zip(bundle, unit_of, strict=True):
        for touch in group.touches:
            for tensor, dim, role in _tensors(modules[touch.module], touch.side):
                key = (touch.module, tensor, dim)
                roles[key] = role
                of_unit = places.setdefault(key, [set() for _ in range(count)])
                for position, root in zip(touch.positions, touch.roots, strict=True):
                    of_unit[units[root]].add(position)
    slices = tuple(
        Slice(
            module=key[0],
            tensor=key[1],
            dim=key[2],
            role=roles[key],
            positions=tuple(tuple(sorted(where)) for where in of_unit),
        )
        for key, of_unit in places.items()
    )
    sizes = [{len(where) for where in piece.positions} for piece in slices]
    if count == 1 or any(len(size) > 1 for size in sizes):
        return None
    return ChannelGroup(
        name=bundle[0].root,
        units=tuple(range(count)),
        channels_per_unit=math.gcd(*(min(size) for size in sizes)),
        slices=slices,
    )


def _units(bundle: Sequence[RawGroup], modules: Mapping[str, nn.Module]) -> list[list[int]]:
    """Per raw group, the unit of each of its channels.

    Channels that meet at one place of some layer go together: at one position, or in one group
    of a grouped convolution, with all that this group reads and makes.
    """
    parent: dict[Hashable, Hashable] = {}

    def first(node: Hashable) -> Hashable:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for number, group in enumerate(bundle):
        for touch in group.touches:
            place = _places(modules[touch.module], touch)
            for position, root in zip(touch.positions, touch.roots, strict=True):
                parent[first((number, root))] = first(place(position))
    unit: dict[Hashable, int] = {}
    return [
        [unit.setdefault(first((number, root)), len(unit)) for root in range(group.width)]
        for number, group in enumerate(bundle)
    ]


def _places(module: nn.Module, touch: Touch) -> Callable[[int], Hashable]:
    """What the channels at a position of a layer share: the position, or a group's number."""
    if not is_grouped(module):
        return lambda position: (touch.module, touch.side, position)
    size: Any = module.in_channels if touch.side == "in" else module.out_channels
    groups: Any = module.groups
    return lambda position: (touch.module, "group", position * groups // size)


def _tensors(module: nn.Module, side: str) -> Iterable[tuple[str, int, Role]]:
    """The tensor dimensions of ``module`` that a touch on ``side`` cuts."""
    if isinstance(module, _PerChannel):
        wanted: tuple[tuple[str, int], ...] = _BETWEEN
        role: Role = "between"
    elif is_depthwise(module):
        wanted, role = _lookup(_OUT, module), "between"
    elif is_grouped(module):
        # Whole convolution groups go: rows of the weight, never its (per group) columns.
        wanted, role = (() if side == "in" else _lookup(_OUT, module)), "between"
    elif side == "in":
        wanted, role = _lookup(_IN, module), "consumer"
    else:
        wanted, role = _lookup(_OUT, module), "producer"
    for tensor, dim in wanted:
        value = getattr(module, tensor, None)
        if value is not None and not (isinstance(module, nn.PReLU) and module.num_parameters == 1):
            yield tensor, dim, role


def _lookup(
    table: tuple[tuple[tuple[type[nn.Module], ...], tuple[tuple[str, int], ...]], ...],
    module: nn.Module,
) -> tuple[tuple[str, int], ...]:
    return next(tensors for types, tensors in table if isinstance(module, types))
