"""Importance per cost: which blocks lose the least for what they save.

The idea of HALP (Shen et al. 2021, arXiv:2110.10811; 2022, arXiv:2210.06659), written from the
papers alone: what a layer's next channels cost is looked up at the widths of the moment, and the
network is packed with as much importance as fits into the budget. Channels of a layer go by
importance, so the items are widths, one for each group: a multiple-choice knapsack. It is solved
by its relaxation (Sinha & Zoltners 1979), which takes the offer of least loss per saving again
and again; where prices add up, every point of that path is the best choice that saves as much. As
neighbouring layers shrink, prices change, and the offers are priced anew after each that is taken.
"""

import math
from dataclasses import dataclass
from typing import Final

from compressor.pruning.blocks import Block, Choices, Widths

ENOUGH: Final = 0.02
"""Share of the dense network's price beyond which a group's single offer does not go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """The next blocks of a group, which save the most for what they lose."""

    group: str
    blocks: int
    loss_per_saving: float


def knapsack(given: Choices) -> list[Block]:
    """The blocks that lose the least importance per saved parameter, multiply-add or microsecond.

    A width that saves nothing by itself, as within one step of a device's kernels, is passed
    through at once or not at all.
    """
    widths, neighbours = Widths(given), _neighbours(given)
    offers = {name: _offer(widths, given, name) for name in given.blocks}
    path: list[Block] = []
    while ready := [offer for offer in offers.values() if offer is not None]:
        best = min(ready, key=lambda offer: offer.loss_per_saving)
        for _ in range(best.blocks):
            block = widths.next(best.group)
            assert block is not None, "an offer has only blocks that there are"
            widths.take(best.group)
            path.append(block)
        for name in neighbours[best.group]:
            offers[name] = _offer(widths, given, name)
    return path


def _offer(widths: Widths, given: Choices, name: str) -> _Offer | None:
    """The group's best, of its next block, the next two, and so on; None at the floor."""
    before, loss, saving, blocks = widths.price, 0.0, 0.0, 0
    best: _Offer | None = None
    while saving < ENOUGH * given.dense_price and (block := widths.next(name)) is not None:
        loss, blocks = loss + block.loss, blocks + 1
        widths.take(name)
        saving = before - widths.price
        rate = loss / saving if saving > 0.0 else math.inf
        if best is None or rate < best.loss_per_saving:
            best = _Offer(group=name, blocks=blocks, loss_per_saving=rate)
    for _ in range(blocks):
        widths.give_back(name)
    widths.price = before  # to the last bit
    return best


def _neighbours(given: Choices) -> dict[str, list[str]]:
    """Per group, those whose prices change with its width, itself included."""
    tensors = {
        name: {tensor for block in blocks for tensor, _, _ in block.shrinks}
        for name, blocks in given.blocks.items()
    }
    return {
        name: [other for other, shared in tensors.items() if shared & own or other == name]
        for name, own in tensors.items()
    }
