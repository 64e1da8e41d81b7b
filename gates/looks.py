"""When the gate looks, and at which images first: fixed before any of them is looked at."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from policies import Policy

_GOLDEN: Final = 0x9E3779B97F4A7C15


def look_sizes(policy: Policy, n: int, *, batch: int) -> tuple[int, ...]:
    """Images seen at each look, rising to all ``n``.

    ``batch`` is how often the anytime method looks, in images. Where there are fewer images than
    looks, some looks see nothing new; that costs power, never validity.

    Raises:
        ValueError: no images, or a batch below one.
    """
    if n < 1 or batch < 1:
        raise ValueError(f"looks need images and batches of one or more, not {n} and {batch}")
    match policy.method:
        case "fixed":
            return (n,)
        case "looks":
            return tuple(math.ceil(share * n) for share in policy.looks.fractions)
        case "anytime":
            return (*range(batch, n, batch), n)


def reading_order(ids: NDArray[np.uint64], *, seed: int) -> NDArray[np.int64]:
    """Positions of the images [n] in the order in which they are read.

    As if shuffled: folders come class by class, and the images of an early look must be a sample
    of all. An image's place hangs on its id and the seed alone (SplitMix64 of both; Steele, Lea and
    Flood 2014, OOPSLA), not on the order in which a folder lists it.
    """
    start = np.uint64((seed * _GOLDEN) % 2**64)
    with np.errstate(over="ignore"):
        mixed = ids + start + np.uint64(_GOLDEN)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return np.argsort(mixed, kind="stable").astype(np.int64)
