"""Channel groups: what must be cut together, as plain data.

A group is a set of units: one channel each, or several that cannot be parted, as the channels of
one group of a grouped convolution. For every unit it knows the positions that disappear along
each tensor's dimension when the unit is removed: rows of its producers, columns of its
consumers, entries of the normalisations between. Surgery, scores and costs are all read off
these positions, so that nothing downstream knows how they were found.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

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
    """Channels that a unit takes from each layer; where layers differ, their common divisor."""
    slices: tuple[Slice, ...]

    @property
    def width(self) -> int:
        """Channels of each layer in the group; where layers differ, in common divisors."""
        return len(self.units) * self.channels_per_unit

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.module for s in self.slices))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone:
    """Channels that stay, and why; part of every report."""

    modules: tuple[str, ...]
    reason: str


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
