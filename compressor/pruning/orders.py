"""In which order blocks go: an allocation is a path from the network to its floors.

No path depends on a ratio. A ratio only says how far along the path to go, which is why a larger
one never leaves a larger network.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence

from compressor.pruning.blocks import Block, Choices


def uniform(given: Choices) -> list[Block]:
    """The widest group, relative to its dense width, gives next: equal shares everywhere."""
    return _merged(given.blocks.values(), lambda block: -block.kept_share)


def global_(given: Choices) -> list[Block]:
    """The block with the least important units gives next, whichever group it is in."""
    return _merged(given.blocks.values(), lambda block: block.mean_score)


def isomorphic(given: Choices) -> list[Block]:
    """Equal shares of every class of groups built alike; inside a class, the least important.

    Fang et al. 2024 (arXiv:2407.04616), section 3: scores of layers of different kinds are not
    comparable, those of isomorphic sub-structures are. A class's share counts its dense units.
    """
    classes: dict[str, list[Sequence[Block]]] = {}
    for name, blocks in given.blocks.items():
        classes.setdefault(given.kinds[name], []).append(blocks)
    shares: list[list[tuple[float, Block]]] = []
    for kind, members in classes.items():
        names = [name for name in given.blocks if given.kinds[name] == kind]
        dense = sum(given.dense_units[name] for name in names)
        gone = dense - sum(_present(given, name) for name in names)
        ranked = []
        for block in _merged(members, lambda block: block.mean_score):
            gone += len(block.units)
            ranked.append((gone / dense, block))
        shares.append(ranked)
    return [block for _, block in heapq.merge(*shares, key=lambda pair: pair[0])]


def pfp(given: Choices) -> list[Block]:
    """One relative error for all layers: each gives what sums up to less than it.

    Liebenwein et al. 2020, "Provable Filter Pruning" (arXiv:1911.07412), section 4: at the level
    epsilon a layer keeps the fewest channels such that the sensitivities of those that go sum to
    at most epsilon of the layer's. Where blocks go by that share, the blocks up to any point are
    the layers' choices at one epsilon; walking along the path is the bisection for it.
    """
    return _merged(given.blocks.values(), lambda block: block.gone_score)


def _present(given: Choices, name: str) -> int:
    """Units that the group has now."""
    blocks, dense = given.blocks[name], given.dense_units[name]
    return round(blocks[0].kept_share * dense) if blocks else dense


def _merged(groups: Iterable[Sequence[Block]], priority: Callable[[Block], float]) -> list[Block]:
    """All blocks, the one of least priority among the groups' next ones first.

    Among equals the first group's goes first.
    """
    queues = [list(blocks) for blocks in groups]
    ready = [(priority(queue[0]), number, 0) for number, queue in enumerate(queues) if queue]
    heapq.heapify(ready)
    path = []
    while ready:
        _, number, at = heapq.heappop(ready)
        path.append(queues[number][at])
        if at + 1 < len(queues[number]):
            heapq.heappush(ready, (priority(queues[number][at + 1]), number, at + 1))
    return path
