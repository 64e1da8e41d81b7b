"""Poisson numbers for the 256 values that a pixel can have, by inversion of their distributions."""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

_LEVELS: Final = 256

_BINS: Final = 1024
"""Of the uniform numbers: where in its distribution the search for a number begins."""

_BEYOND: Final = 1e-17
"""Chance, at most, of counts that the tables leave out: below the spacing of uniform numbers."""


def poisson(
    uniform: NDArray[np.float64], levels: NDArray[np.uint8], *, photons: float
) -> NDArray[np.int32]:
    """Poisson numbers of mean ``photons * level / 255``, of the shape of both arrays.

    A number is the smallest count whose cumulative chance exceeds its uniform number from [0, 1).
    With so few distributions, tables of them give it sooner than an algorithm for any mean.
    """
    cumulative, first = _tables(photons)
    rows = levels.astype(np.intp).ravel()
    numbers = uniform.ravel()
    counts: NDArray[np.int32] = first.ravel()[rows * _BINS + (numbers * _BINS).astype(np.intp)]
    starts = rows * cumulative.shape[1]
    chances = cumulative.ravel()
    # Nearly all are found at once; the others are one or two counts further on.
    open_ = np.flatnonzero(chances[starts + counts] <= numbers)
    while len(open_):
        counts[open_] += 1
        open_ = open_[chances[starts[open_] + counts[open_]] <= numbers[open_]]
    return counts.reshape(levels.shape)


@lru_cache(maxsize=8)
def _tables(photons: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Cumulative chances [level count], and the first count to look at [level bin]."""
    means = photons * np.arange(_LEVELS) / (_LEVELS - 1)
    # Ten standard deviations and fifty: far enough for any mean, and cut back to what is needed.
    reach = np.arange(int(photons + 10.0 * photons**0.5) + 50)
    largest = int(np.argmax(special.pdtrc(reach, photons) < _BEYOND))
    cumulative = np.asarray(special.pdtr(np.arange(largest + 1), means[:, None]), np.float64)
    cumulative[:, -1] = 1.0
    edges = np.arange(_BINS) / _BINS
    first = [np.searchsorted(row, edges, side="right") for row in cumulative]
    return cumulative, np.array(first, dtype=np.int32)
