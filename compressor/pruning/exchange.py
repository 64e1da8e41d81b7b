"""Widths that were chosen layer by layer, corrected on the network as a whole.

An allocation adds up what each layer's blocks lose while all others are there. What they lose
together is something else once most of a network goes. So blocks are given back to one group and
taken from another, as many as cost the same, and where the whole network, cut so, is measured to
lose less, the search goes on from there. To measure whole networks of one price instead of trusting
sums is the idea of NetAdapt (Yang et al. 2018, arXiv:1804.03230), which walks from the dense
network down to the price; this walk begins at the price, with the allocation's answer.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from compressor.pruning.allocation import SHARE_TOLERANCE
from compressor.pruning.blocks import Choices, Widths

WORTH: Final = 1e-3
"""Share by which a loss must be smaller to be taken for smaller."""

Gone = Mapping[str, int]
"""Per group, how many of its blocks are gone."""

Measure = Callable[[Gone], float]
"""The loss of the whole network without these blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    gone: Gone
    gain: float
    """By how much the summed scores say that it loses less, per price that changes hands."""


def exchanged(given: Choices, gone: Gone, *, ratio: float, measure: Measure, most: int) -> Gone:
    """``gone``, or as many blocks of other groups with which the network loses less.

    Of all exchanges of two groups those are measured first that the scores expect most of for
    their price; the first that loses less is made, and the search begins again from there.

    Args:
        given: the blocks of every group, and the price.
        gone: what an allocation chose.
        ratio: share of the dense network's price to be gone; what is tried keeps to it within
            ``SHARE_TOLERANCE``.
        measure: the loss of the whole network; asked once about each choice.
        most: how many networks are measured at most, the first among them.
    """
    if most < 2:
        return gone
    best, least = gone, measure(gone)
    tried = {_key(gone)}
    while len(tried) < most:
        better = None
        for exchange in sorted(_exchanges(given, best, ratio=ratio), key=lambda each: -each.gain):
            if _key(exchange.gone) in tried:
                continue
            tried.add(_key(exchange.gone))
            loss = measure(exchange.gone)
            if loss < least * (1.0 - WORTH):
                better, least = exchange.gone, loss
            if better is not None or len(tried) == most:
                break
        if better is None:
            return best
        best = better
    return best


def _exchanges(given: Choices, gone: Gone, *, ratio: float) -> Iterator[_Exchange]:
    """One, two, four, ... of one group's blocks back, and for them another's, nearest in price."""
    widths = Widths(
        given, (b for name, blocks in given.blocks.items() for b in blocks[: gone[name]])
    )
    target = (1.0 - ratio) * given.dense_price
    for giver in given.blocks:
        back, returned = 0, 0.0
        before = widths.price
        while back < gone[giver]:
            for _ in range(max(1, back)):  # doubles
                if back < gone[giver]:
                    widths.give_back(giver)
                    returned += given.blocks[giver][gone[giver] - back - 1].loss
                    back += 1
            price = widths.price - before
            for taker in given.blocks:
                if taker != giver:
                    found = _nearest(given, widths, taker, target=target)
                    if found is not None:
                        lost, after = found
                        yield _Exchange(
                            gone={**gone, giver: gone[giver] - back, taker: after},
                            gain=(returned - lost) / price if price > 0.0 else 0.0,
                        )
        for _ in range(back):
            widths.take(giver)


def _nearest(
    given: Choices, widths: Widths, taker: str, *, target: float
) -> tuple[float, int] | None:
    """What the taker loses, and how many of its blocks are gone, where the price is nearest."""
    tolerance = SHARE_TOLERANCE * given.dense_price
    before, taken, lost = widths.gone[taker], 0, 0.0
    nearest: tuple[float, float, int] | None = None
    while widths.price > target - tolerance and (block := widths.next(taker)) is not None:
        widths.take(taker)
        taken, lost = taken + 1, lost + block.loss
        beside = abs(widths.price - target)
        if beside <= tolerance and (nearest is None or beside < nearest[0]):
            nearest = (beside, lost, before + taken)
    for _ in range(taken):
        widths.give_back(taker)
    return None if nearest is None else nearest[1:]


def _key(gone: Gone) -> tuple[int, ...]:
    return tuple(gone.values())
