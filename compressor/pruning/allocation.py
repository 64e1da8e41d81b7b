"""How many units each group gives, so that a share of the parameters goes.

The unit of work is a block: the least important units of one group that take its width from one
aligned size to the next smaller one. Blocks are removed one by one, in the order that the
allocation's priority says, until the asked share is reached. Costs are exact, counted on tensor
shapes, so the share that was asked is the share that goes, within ``SHARE_TOLERANCE``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup

SHARE_TOLERANCE = 0.01
"""Largest difference between the asked and the removed share of parameters."""


class UnreachableRatioError(ValueError):
    """No aligned choice of channels was found that removes the asked share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The next units that a group would give."""

    group: ChannelGroup
    units: tuple[int, ...]
    """Units that go, as the dense network numbers them."""
    kept_fraction: float
    """Share of the dense group's units that is left before the block goes."""
    mean_score: float
    """Mean score of the units that go, relative to the group's mean score."""


Priority = Callable[[Block], float]
"""Lower goes first."""


def uniform(block: Block) -> float:
    """The widest group, relative to its dense width, gives next: equal shares everywhere."""
    return -block.kept_fraction


def global_(block: Block) -> float:
    """The block with the least important units gives next, whichever group it is in."""
    return block.mean_score


ALLOCATIONS: Final[Mapping[str, Priority]] = {"global": global_, "uniform": uniform}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Which widths are allowed."""

    multiple: int = 8
    """Kept channels of a cut group are a multiple of this (device kernels want 8 or 16)."""
    least_share: float = 0.1
    """A group never keeps fewer channels than this share of its dense width."""

    def steps(self, group: ChannelGroup, *, dense_units: int) -> tuple[int, ...]:
        """Unit counts that ``group`` may have, from the present one down."""
        per_unit = group.channels_per_unit
        least = max(self.multiple, per_unit, self.least_share * dense_units * per_unit)
        present = len(group.units)
        return (
            present,
            *(
                k
                for k in range(present - 1, 0, -1)
                if (k * per_unit) % self.multiple == 0 and k * per_unit >= least
            ),
        )


def allocate(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    scores: Mapping[str, Tensor],
    *,
    dense_params: int,
    dense_units: Mapping[str, int],
    ratio: float,
    alignment: Alignment,
    priority: Priority,
) -> dict[str, tuple[int, ...]]:
    """Per group, the units to keep so that ``ratio`` of the dense parameters is gone.

    Args:
        model: the network to cut (the dense one, or a candidate that is already smaller).
        groups: its channel groups.
        scores: per group name, one score per unit, higher is kept.
        dense_params: parameters of the dense network.
        dense_units: per group name, units in the dense network.
        ratio: share of the dense parameters to be gone in all, 0..1.
        alignment: allowed widths.
        priority: an entry of ``ALLOCATIONS``.

    Raises:
        UnreachableRatioError: no choice that was found comes within ``SHARE_TOLERANCE``; says
            what the nearest removes.
    """
    ladder = _Ladder(model, groups, scores, alignment=alignment, dense_units=dense_units)
    most = (1.0 - ratio + SHARE_TOLERANCE) * dense_params
    least = (1.0 - ratio - SHARE_TOLERANCE) * dense_params
    if ladder.params < least:
        raise UnreachableRatioError(
            f"a ratio of {ratio:.2f} cannot be reached: {1.0 - ladder.params / dense_params:.3f} "
            "of the parameters are gone already; ratios must rise"
        )
    while ladder.params > most:
        ready = sorted(ladder.blocks(), key=priority)
        fitting = (b for b in ready if ladder.params - ladder.saving(b) >= least)
        block = next(fitting, None)
        if block is None:
            break
        ladder.remove(block)
    if ladder.params > most and not _exchange(ladder, least=least, most=most):
        reached = 1.0 - ladder.params / dense_params
        raise UnreachableRatioError(
            f"a ratio of {ratio:.2f} cannot be reached with widths in multiples of "
            f"{alignment.multiple}: the nearest choice found removes {reached:.3f} of the "
            "parameters; ask for that, use a smaller alignment (search.align), or stop the "
            "ladder before it"
        )
    return ladder.kept()


class _Ladder:
    """Present widths and the parameters that they cost."""

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[ChannelGroup],
        scores: Mapping[str, Tensor],
        *,
        alignment: Alignment,
        dense_units: Mapping[str, int],
    ) -> None:
        self._groups = {g.name: g for g in groups}
        self._dense_units = dense_units
        self._steps = {g.name: alignment.steps(g, dense_units=dense_units[g.name]) for g in groups}
        self._at = dict.fromkeys(self._groups, 0)
        self._order: dict[str, list[int]] = {}
        self._relative: dict[str, list[float]] = {}
        for group in groups:
            values = scores[group.name].double()
            # Ties go by position, so that equal scores still remove exactly what was asked.
            self._order[group.name] = values.argsort(stable=True).tolist()
            mean = float(values.mean())
            self._relative[group.name] = (values / mean if mean > 0.0 else values).tolist()
        shapes = {
            (module, tensor): list(value.shape)
            for module, layer in model.named_modules()
            for tensor, value in layer.named_parameters(recurse=False)
        }
        self._touched = {g.name: _touched(g, shapes) for g in groups}
        self._next = {name: self._block(name) for name in self._groups if self._can_give(name)}
        self.params = sum(p.numel() for p in model.parameters())  # shared ones once

    def blocks(self) -> list[Block]:
        """The next block of every group that may still give one."""
        return list(self._next.values())

    def saving(self, block: Block) -> int:
        """Parameters that go with ``block``."""
        before = self.params
        self._apply(block, sign=-1)
        saved: int = before - self.params
        self._apply(block, sign=+1)
        return saved

    def remove(self, block: Block) -> None:
        self._apply(block, sign=-1)
        self._move(block.group.name, +1)

    def restore(self, name: str) -> Block | None:
        """Give back the last block of a group, if it gave any."""
        if self._at[name] == 0:
            return None
        self._move(name, -1)
        block = self._next[name]
        self._apply(block, sign=+1)
        return block

    def kept(self) -> dict[str, tuple[int, ...]]:
        kept = {}
        for name, group in self._groups.items():
            gone = len(group.units) - self._steps[name][self._at[name]]
            stays = sorted(self._order[name][gone:])
            kept[name] = tuple(group.units[i] for i in stays)
        return kept

    def _can_give(self, name: str) -> bool:
        return self._at[name] + 1 < len(self._steps[name])

    def _block(self, name: str) -> Block:
        group, steps, at = self._groups[name], self._steps[name], self._at[name]
        first, last = len(group.units) - steps[at], len(group.units) - steps[at + 1]
        going = self._order[name][first:last]
        return Block(
            group=group,
            units=tuple(group.units[i] for i in going),
            kept_fraction=steps[at] / self._dense_units[name],
            mean_score=sum(self._relative[name][i] for i in going) / len(going),
        )

    def _move(self, name: str, steps: int) -> None:
        self._at[name] += steps
        if self._can_give(name):
            self._next[name] = self._block(name)
        else:
            del self._next[name]

    def _apply(self, block: Block, *, sign: int) -> None:
        for shape, dim, per_unit in self._touched[block.group.name]:
            count = sum(per_unit[unit] for unit in block.units)
            self.params -= math.prod(shape)
            shape[dim] += sign * count
            self.params += math.prod(shape)


def _touched(
    group: ChannelGroup, shapes: Mapping[tuple[str, str], list[int]]
) -> list[tuple[list[int], int, dict[int, int]]]:
    """The parameters' shapes that a group changes: shape, dimension, positions per unit."""
    return [
        (
            shapes[piece.module, piece.tensor],
            piece.dim,
            {unit: len(where) for unit, where in zip(group.units, piece.positions, strict=True)},
        )
        for piece in group.slices
        if (piece.module, piece.tensor) in shapes  # buffers weigh nothing
    ]


def _exchange(ladder: _Ladder, *, least: float, most: float) -> bool:
    """Give one block back and take another, where that lands in range."""
    for name in list(ladder.kept()):
        returned = ladder.restore(name)
        if returned is None:
            continue
        for block in ladder.blocks():
            if block.group.name != name and least <= ladder.params - ladder.saving(block) <= most:
                ladder.remove(block)
                return True
        ladder.remove(returned)
    return False
