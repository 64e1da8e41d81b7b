"""Channel groups: what must be cut together, as plain data.

A group is a set of units (one channel each; one whole convolution group for grouped
convolutions). For every unit it knows the positions that disappear along each tensor's
dimension when the unit is removed: rows of its producers, columns of its consumers, entries of
the normalisations between. Surgery, scores and costs are all read off these positions, so that
nothing downstream knows how they were found.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from torch import nn

Role = Literal["producer", "consumer", "between"]
"""``producer``: makes the channel. ``consumer``: reads it. ``between``: acts on it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Where the units of a group live along one dimension of one tensor."""

    module: str
    """Qualified module name, as in ``named_modules``."""
    tensor: str
    """Parameter or buffer name inside the module."""
    dim: int
    role: Role
    positions: tuple[tuple[int, ...], ...]
    """Per unit, the positions along ``dim`` that go when the unit goes."""

    @property
    def key(self) -> tuple[str, str, int]:
        return self.module, self.tensor, self.dim


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Units that can be removed one by one, each from all the slices at once."""

    name: str
    """The module that produces the channels."""
    units: tuple[int, ...]
    """Number of each unit in the dense network; plans speak of these."""
    channels_per_unit: int
    slices: tuple[Slice, ...]

    @property
    def width(self) -> int:
        """Channels in the group."""
        return len(self.units) * self.channels_per_unit

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.module for s in self.slices))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone:
    """Channels that stay, and why; part of every report."""

    modules: tuple[str, ...]
    reason: str


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

CUTTABLE: Final = (*_Convolution, *_Transposed, nn.Linear, *_PerChannel)
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
    for bundle in _tied_by_grouped_convolutions(raw, modules):
        names = tuple(dict.fromkeys(t.module for g in bundle for t in g.touches))
        reason = _why_not(bundle, modules)
        group = None if reason else _build(bundle, modules)
        if group is None:
            reason = reason or "a grouped convolution's groups do not line up with the channels"
            left.append(LeftAlone(modules=names, reason=reason))
        else:
            groups.append(group)
    return tuple(groups), tuple(left)


def compact(
    groups: Iterable[ChannelGroup], kept: Mapping[str, Sequence[int]]
) -> list[ChannelGroup]:
    """The same groups as they are after a cut: fewer units, positions renumbered.

    Args:
        groups: groups of the network before the cut.
        kept: per group name, the units that stayed (all of them where a name is missing).
    """
    before = list(groups)
    gone = removed_positions(before, kept)
    after = []
    for group in before:
        stays = set(kept.get(group.name, group.units))
        chosen = [k for k, unit in enumerate(group.units) if unit in stays]
        slices = tuple(
            replace(
                piece,
                positions=tuple(
                    tuple(p - bisect_left(gone[piece.key], p) for p in piece.positions[k])
                    for k in chosen
                ),
            )
            for piece in group.slices
        )
        units = tuple(group.units[k] for k in chosen)
        after.append(replace(group, units=units, slices=slices))
    return after


def removed_positions(
    groups: Iterable[ChannelGroup], kept: Mapping[str, Sequence[int]]
) -> dict[tuple[str, str, int], list[int]]:
    """Per (module, tensor, dim): the sorted positions that a plan removes."""
    gone: dict[tuple[str, str, int], set[int]] = {}
    for group in groups:
        stays = set(kept.get(group.name, group.units))
        for piece in group.slices:
            positions = gone.setdefault(piece.key, set())
            for unit, where in zip(group.units, piece.positions, strict=True):
                if unit not in stays:
                    positions.update(where)
    return {key: sorted(positions) for key, positions in gone.items()}


def _why_not(bundle: Sequence[RawGroup], modules: Mapping[str, nn.Module]) -> str:
    """Why a bundle of raw groups must stay whole; empty when nothing speaks against a cut."""
    if any(group.reaches_output for group in bundle):
        return "these are the network's outputs"
    foreign = tuple(dict.fromkeys(name for group in bundle for name in group.foreign))
    if foreign:
        return f"touches {', '.join(foreign)}, which cannot be cut and checked"
    touched = [modules[t.module] for g in bundle for t in g.touches]
    if any(isinstance(m, _Transposed) and m.groups > 1 for m in touched):
        return "grouped transposed convolutions are not cut"
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
    if unit_of is None:
        return None
    count = 1 + max(max(units) for units in unit_of)
    per_unit = bundle[0].width // count
    if per_unit * count != bundle[0].width:
        return None
    slices: dict[tuple[str, str, int], list[set[int]]] = {}
    roles: dict[tuple[str, str, int], Role] = {}
    for group, units in zip(bundle, unit_of, strict=True):
        for touch in group.touches:
            for tensor, dim, role in _tensors(modules[touch.module], touch.side):
                key = (touch.module, tensor, dim)
                roles[key] = role
                places = slices.setdefault(key, [set() for _ in range(count)])
                for position, root in zip(touch.positions, touch.roots, strict=True):
                    places[units[root]].add(position)
    return ChannelGroup(
        name=bundle[0].root,
        units=tuple(range(count)),
        channels_per_unit=per_unit,
        slices=tuple(
            Slice(
                module=key[0],
                tensor=key[1],
                dim=key[2],
                role=roles[key],
                positions=tuple(tuple(sorted(p)) for p in places),
            )
            for key, places in slices.items()
        ),
    )


def _units(bundle: Sequence[RawGroup], modules: Mapping[str, nn.Module]) -> list[list[int]] | None:
    """Per raw group, the unit of each of its channels; None when they cannot be lined up.

    Without a grouped convolution a channel is a unit. With one, a unit is one of its groups, on
    both sides of it.
    """
    grouped = {t.module for g in bundle for t in g.touches if is_grouped(modules[t.module])}
    if not grouped:
        return [list(range(group.width)) for group in bundle] if len(bundle) == 1 else None
    groups_of = {name: int(modules[name].groups) for name in grouped}  # type: ignore[arg-type] # is_grouped
    fewest = min(groups_of.values())
    if any(count % fewest for count in groups_of.values()):
        return None
    unit_of: list[list[int]] = []
    for group in bundle:
        units: list[int | None] = [None] * group.width
        for touch in group.touches:
            if touch.module not in grouped:
                continue
            module = modules[touch.module]
            size = int(module.in_channels if touch.side == "in" else module.out_channels)  # type: ignore[arg-type] # a convolution
            for position, root in zip(touch.positions, touch.roots, strict=True):
                unit = position * fewest // size
                if units[root] not in (None, unit):
                    return None
                units[root] = unit
        known = [unit for unit in units if unit is not None]
        if len(known) != len(units):
            return None
        unit_of.append(known)
    return unit_of


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
