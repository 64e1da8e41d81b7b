"""The paired bootstrap over images: sums of what each image adds, over images drawn again.

References:
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile interval).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 1_000
"""Of the bootstrap."""

# Images of all resamples that are in memory at a time; more are slower, for the cache is full.
_AT_A_TIME: Final = 100_000

Floats = NDArray[np.float64]


def resampled_sums(values: Floats, *, seed: int) -> Floats:
    """Sums [RESAMPLES k] of ``values`` [n k] over n images drawn with replacement.

    Exact, hence the same on every machine, where the values are whole numbers whose sums are
    below 2^53.
    """
    n, generator = len(values), np.random.default_rng(seed)
    rows = max(1, _AT_A_TIME // n)
    sums = []
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        drawn = generator.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        sums.append(times.astype(np.float64) @ values)
    return np.concatenate(sums)
