"""What may go: blocks of units, and a network's widths as some of them are gone.

A block is the least important units of one group that take its width from one allowed size to the
next smaller one. Those of one group go in their order, and come back in the reverse one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from compressor.pruning.cost import TensorName
from compressor.pruning.groups import ChannelGroup
from compressor.pruning.price import Price, shapes_of

Align = int | Literal["auto"]
"""What widths are multiples of: a number, or "auto", which is finer for narrow layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Which widths are allowed."""

    multiple: int = 8
    """Kept channels of a cut group are a multiple of this (device kernels want 8 or 16)."""
    finer: bool = False
    """Half of the multiple where fewer than four multiples are kept, and as often half of that as
    the dense group is narrower than four of them."""
    least_share: float = 0.1
    """A group never keeps fewer channels than this share of its dense width."""

    def multiple_at(self, width: int, *, dense: int) -> int:
        """What ``width`` must be a multiple of, in a group that is ``dense`` channels wide."""
        if not self.finer:
            return self.multiple
        multiple = self.multiple if width >= 4 * self.multiple else self.multiple // 2
        while multiple > 1 and dense < 4 * multiple:
            multiple //= 2
        return multiple

    def steps(self, group: ChannelGroup, *, dense_units: int) -> tuple[int, ...]:
        """Unit counts that ``group`` may have, from the present one down."""
        per_unit, present = group.channels_per_unit, len(group.units)
        dense = dense_units * per_unit
        least = max(per_unit, self.least_share * dense)

        def allowed(width: int) -> bool:
            multiple = self.multiple_at(width, dense=dense)
            return width % multiple == 0 and width >= max(multiple, least)

        return (present, *(k for k in range(present - 1, 0, -1) if allowed(k * per_unit)))

    def __str__(self) -> str:
        return f"{self.multiple}{' (4 and less in narrow layers)' if self.finer else ''}"


def alignment(align: Align) -> Alignment:
    """Of a number, exactly that; of "auto", 8 from 32 channels on and 4 below, or less.

    Eight of sixteen channels is half a layer: on a ResNet-20 cut to 2.6 times fewer multiply-adds
    such steps leave one sensible choice of widths, and it is not a good one (docs/pruning.md).
    """
    return Alignment(finer=True) if align == "auto" else Alignment(multiple=align)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Units of one group that go together."""

    group: str
    units: tuple[int, ...]
    """As the dense network numbers them."""
    kept_share: float
    """Share of the dense group's units that is left before the block goes."""
    mean_score: float
    """Mean score of its units."""
    gone_score: float
    """Share of the group's summed scores that is gone once the block is gone."""
    shrinks: tuple[tuple[TensorName, int, int], ...]
    """Tensor, dimension, and how much shorter it becomes."""

    @property
    def loss(self) -> float:
        """Summed score of its units."""
        return self.mean_score * len(self.units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Everything that an allocation chooses from."""

    blocks: Mapping[str, tuple[Block, ...]]
    """Per group, its blocks down to the floor, in the order in which they go."""
    kinds: Mapping[str, str]
    """Per group, the topology of its member layers: equal for groups that are built alike."""
    dense_units: Mapping[str, int]
    """Per group, its units in the dense network."""
    shapes: Mapping[TensorName, Sequence[int]]
    """Of the tensors as they are now."""
    price: Price
    dense_price: float
    """Of the dense network."""


def relative(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scores over the mean of their group, for those that have no scale across groups."""
    means = {name: float(values.double().mean()) for name, values in scores.items()}
    return {
        name: values.double() / means[name] if means[name] > 0.0 else values
        for name, values in scores.items()
    }


def choices(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    scores: Mapping[str, Tensor],
    *,
    dense_units: Mapping[str, int],
    alignment: Alignment,
    price: Price,
    dense_price: float,
) -> Choices:
    """The blocks of every group of ``model``, and what they are chosen by.

    Args:
        model: the network to cut.
        groups: its channel groups.
        scores: per group name, one score per unit, higher is kept; comparable between groups.
        dense_units: per group name, units in the dense network.
        alignment: allowed widths.
        price: what the network and its cuts cost.
        dense_price: of the dense network.
    """
    shapes = shapes_of(model)
    return Choices(
        blocks={
            g.name: tuple(
                _blocks(
                    g,
                    scores[g.name],
                    steps=alignment.steps(g, dense_units=dense_units[g.name]),
                    dense_units=dense_units[g.name],
                    priced=set(shapes),
                )
            )
            for g in groups
        },
        kinds={g.name: _kind(g, dict(model.named_modules())) for g in groups},
        dense_units=dense_units,
        shapes=shapes,
        price=price,
        dense_price=dense_price,
    )


def units_left(
    groups: Sequence[ChannelGroup], given: Choices, gone: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """Per group, the units that stay when so many of its blocks are gone."""
    left = {}
    for group in groups:
        going = {
            unit for block in given.blocks[group.name][: gone[group.name]] for unit in block.units
        }
        left[group.name] = tuple(unit for unit in group.units if unit not in going)
    return left


class Widths:
    """The network's widths after some blocks are gone, and its price."""

    def __init__(self, given: Choices, gone: Iterable[Block] = ()) -> None:
        self._given = given
        self._shapes = {name: list(shape) for name, shape in given.shapes.items()}
        self._gone = dict.fromkeys(given.blocks, 0)
        self.price = given.price.of(self._shapes)
        for block in gone:
            self.take(block.group)

    @property
    def gone(self) -> dict[str, int]:
        """Per group, how many of its blocks are gone."""
        return dict(self._gone)

    def next(self, group: str) -> Block | None:
        """The block that would go next; None at the floor."""
        blocks = self._given.blocks[group]
        return blocks[self._gone[group]] if self._gone[group] < len(blocks) else None

    def take(self, group: str) -> None:
        """Let the group's next block go."""
        self._change(self._given.blocks[group][self._gone[group]], sign=-1)
        self._gone[group] += 1

    def give_back(self, group: str) -> None:
        """Undo the group's last ``take``."""
        self._gone[group] -= 1
        self._change(self._given.blocks[group][self._gone[group]], sign=+1)

    def saving(self, group: str) -> float:
        """What the group's next block costs."""
        before = self.price
        self.take(group)
        saved = before - self.price
        self.give_back(group)
        self.price = before  # to the last bit
        return saved

    def _change(self, block: Block, *, sign: int) -> None:
        rates = self._given.price.rates
        for name, dim, count in block.shrinks:
            shape, rate = self._shapes[name], rates.get(name)
            before = rate(shape) if rate else 0.0
            shape[dim] += sign * count
            self.price += (rate(shape) if rate else 0.0) - before


def _blocks(
    group: ChannelGroup,
    scores: Tensor,
    *,
    steps: Sequence[int],
    dense_units: int,
    priced: set[TensorName],
) -> list[Block]:
    # Ties go by position, so that equal scores still remove exactly what was asked.
    order = scores.argsort(stable=True).tolist()
    values, present = scores.double().tolist(), len(group.units)
    total = sum(values)
    blocks, gone = [], 0.0
    for before, after in pairwise(steps):
        going = order[present - before : present - after]
        loss = sum(values[i] for i in going)
        gone += loss
        blocks.append(
            Block(
                group=group.name,
                units=tuple(group.units[i] for i in going),
                kept_share=before / dense_units,
                mean_score=loss / len(going),
                gone_score=gone / total if total > 0.0 else (present - after) / present,
                shrinks=tuple(
                    (
                        (piece.module, piece.tensor),
                        piece.dim,
                        sum(len(piece.positions[i]) for i in going),
                    )
                    for piece in group.slices
                    if (piece.module, piece.tensor) in priced  # buffers weigh nothing
                ),
            )
        )
    return blocks


def _kind(group: ChannelGroup, modules: Mapping[str, nn.Module]) -> str:
    """The member layers' types and how the group goes through each, as a multiset."""
    parts = [
        f"{_layer_type(modules[s.module])}.{s.tensor} dim {s.dim} as {s.role}" for s in group.slices
    ]
    return ", ".join(sorted(parts))


def _layer_type(module: nn.Module) -> str:
    size = getattr(module, "kernel_size", None)
    return type(module).__name__ + ("" if size is None else f" {size}")
