"""How many units each group gives, so that a share of what a network costs goes.

An allocation is a path of blocks from the network to its floors; the asked share is the nearest
point on it. Where one block takes more than the tolerance lets it, the points between are tried:
the path without that block, then blocks given back for others. None of these points depends on
the ratio either, and the nearest one is taken, so a larger ratio never leaves a larger network.
Prices are exact, counted on tensor shapes.
"""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from compressor.pruning.blocks import Alignment, Block, Choices, Widths
from compressor.pruning.knapsack import knapsack
from compressor.pruning.orders import global_, isomorphic, pfp, uniform
from compressor.pruning.price import NOUNS, Budget

SHARE_TOLERANCE: Final = 0.01
"""Largest difference between the asked and the removed share."""

_ROUNDING: Final = 1e-9
"""Share of the dense price by which sums of floats may differ."""


_MOST_POINTS: Final = 20_000
"""Of one kind, tried between two points of a path: a bound on the time."""


class UnreachableRatioError(ValueError):
    """No aligned choice of channels was found that removes the asked share."""


Allocation = Callable[[Choices], Sequence[Block]]
"""All blocks, in the order in which they go; those of one group in theirs."""

ALLOCATIONS: Final[Mapping[str, Allocation]] = {
    "global": global_,
    "uniform": uniform,
    "isomorphic": isomorphic,
    "pfp": pfp,
    "knapsack": knapsack,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    price: float
    gone: Mapping[str, int]


def allocate(
    given: Choices, *, ratio: float, of: Budget, alignment: Alignment, allocation: Allocation
) -> Mapping[str, int]:
    """Per group, how many of its blocks go so that ``ratio`` of the dense network's price is gone.

    Args:
        given: the blocks of the network to cut, and the price.
        ratio: share of the dense network's price to be gone in all, 0..1.
        of: what the price counts, for messages.
        alignment: the widths that the blocks were made for, for messages.
        allocation: an entry of ``ALLOCATIONS``.

    Raises:
        UnreachableRatioError: no choice that was found comes within ``SHARE_TOLERANCE``; says
            what the nearest removes.
    """
    dense = given.dense_price
    target = (1.0 - ratio) * dense
    start = Widths(given)
    if start.price < target - SHARE_TOLERANCE * dense:
        raise UnreachableRatioError(
            f"a ratio of {ratio:.3g} cannot be reached: {1.0 - start.price / dense:.3f} of the "
            f"{NOUNS[of]} are gone already; ratios must rise"
        )
    nearest = _nearest(given, allocation(given), target=target)
    if abs(nearest.price - target) > (SHARE_TOLERANCE + _ROUNDING) * dense:
        raise UnreachableRatioError(
            f"a ratio of {ratio:.3g} cannot be reached with widths in multiples of {alignment}: "
            f"the nearest choice found removes {1.0 - nearest.price / dense:.3f} of the "
            f"{NOUNS[of]}; ask for that, use a smaller alignment (search.align), or stop the "
            "ladder before it"
        )
    return nearest.gone


def _nearest(given: Choices, path: Sequence[Block], *, target: float) -> _Point:
    """The point whose price is nearest to the target, of all that do not depend on it."""
    rounding = _ROUNDING * given.dense_price
    prices = _prices(given, path)
    below = bisect_right(prices, rounding - target, key=lambda price: -price)
    last = max(below - 1, 0)
    # Widths that cost the same are not narrowed for nothing: the first of a price counts.
    above = next(k for k in range(last + 1) if prices[k] <= prices[last] + rounding)
    high = low = _point(Widths(given, path[:above]))
    if last < below < len(prices):
        low = _point(Widths(given, path[:below]))
    floor = low.price + rounding
    for others in (_without_it, _exchanged, _exchanged_for_two, _exchanged_far):
        if high.price - low.price <= 2.0 * SHARE_TOLERANCE * given.dense_price:
            break
        found = [
            point
            for point in itertools.islice(
                others(given, path[:above], path[above:], floor=floor), _MOST_POINTS
            )
            if low.price + rounding < point.price < high.price - rounding
        ]
        reached = [point for point in found if point.price >= target]
        passed = [point for point in found if point.price < target]
        high = min((high, *reached), key=lambda point: point.price)
        low = max((low, *passed), key=lambda point: point.price)
    return min(high, low, key=lambda point: abs(point.price - target))


def _prices(given: Choices, path: Sequence[Block]) -> list[float]:
    """At the start and after each block of the path."""
    widths = Widths(given)
    prices = [widths.price]
    for block in path:
        widths.take(block.group)
        prices.append(widths.price)
    return prices


def _point(widths: Widths) -> _Point:
    return _Point(price=widths.price, gone=widths.gone)


def _without_it(
    given: Choices, gone: Sequence[Block], ahead: Sequence[Block], *, floor: float
) -> Iterator[_Point]:
    """Further along the path, passing over the groups whose next block takes too much."""
    widths = Widths(given, gone)
    passed_over: set[str] = set()
    for block in ahead:
        if block.group in passed_over:
            continue
        if widths.price - widths.saving(block.group) > floor:
            widths.take(block.group)
            yield _point(widths)
        else:
            passed_over.add(block.group)


def _exchanged(
    given: Choices, gone: Sequence[Block], ahead: Sequence[Block], *, floor: float
) -> Iterator[_Point]:
    """One group's last block given back, and another's taken."""
    widths = Widths(given, gone)
    del ahead, floor
    for returned in [name for name, count in widths.gone.items() if count]:
        widths.give_back(returned)
        yield from _taken(given, widths, but={returned})
        widths.take(returned)


def _exchanged_for_two(
    given: Choices, gone: Sequence[Block], ahead: Sequence[Block], *, floor: float
) -> Iterator[_Point]:
    """One group's last block given back, or two, and two others' taken."""
    widths = Widths(given, gone)
    del ahead, floor
    names = [name for name, count in widths.gone.items() if count]
    pairs = itertools.combinations_with_replacement(names, 2)
    for returned in (tuple(dict.fromkeys(pair)) for pair in pairs):
        for name in returned:
            widths.give_back(name)
        for first in _ready(given, widths, but=returned):
            widths.take(first)
            yield from _taken(given, widths, but=returned)
            widths.give_back(first)
        for name in returned:
            widths.take(name)


def _exchanged_far(
    given: Choices, gone: Sequence[Block], ahead: Sequence[Block], *, floor: float
) -> Iterator[_Point]:
    """Any number of one group's blocks given back, and of another's taken."""
    del ahead
    widths = Widths(given, gone)
    for returned, count in widths.gone.items():
        for _ in range(count):
            widths.give_back(returned)
            for name in _ready(given, widths, but={returned}):
                taken = 0
                while widths.next(name) and widths.price > floor:
                    widths.take(name)
                    taken += 1
                    yield _point(widths)
                for _ in range(taken):
                    widths.give_back(name)
        for _ in range(count):
            widths.take(returned)


def _taken(given: Choices, widths: Widths, *, but: Collection[str]) -> Iterator[_Point]:
    """With one more block gone, of each group in turn."""
    for name in _ready(given, widths, but=but):
        widths.take(name)
        yield _point(widths)
        widths.give_back(name)


def _ready(given: Choices, widths: Widths, *, but: Collection[str]) -> list[str]:
    return [name for name in given.blocks if name not in but and widths.next(name)]
