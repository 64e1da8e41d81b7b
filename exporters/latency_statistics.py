"""What interleaved run times say about a latency ratio; arithmetic only.

Times are [blocks runs] in milliseconds. Blocks, not runs, are the unit: neighbouring runs share
the machine's mood, and both networks of a block share it too, so it cancels in their ratio.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
"""Milliseconds, [blocks runs]."""

Interval = tuple[float, float]

_RESAMPLES: Final = 2000
_CONFIDENCE: Final = 0.95
_NORMAL_QUANTILE: Final = 1.96

# Below this the 95th percentile is one of the five largest times: an anecdote.
_RUNS_FOR_P95: Final = 100


def log_ratios(numerator: Times, denominator: Times) -> NDArray[np.float64]:
    """Log of the ratio of the block medians, one per block."""
    ratios: NDArray[np.float64] = np.log(
        np.median(numerator, axis=1) / np.median(denominator, axis=1)
    )
    return ratios


def ratio(numerator: Times, denominator: Times) -> float:
    """Geometric mean over blocks: swapping the arguments gives exactly the inverse."""
    return float(np.exp(log_ratios(numerator, denominator).mean()))


def ratio_interval(
    numerator: Times, denominator: Times, *, generator: np.random.Generator
) -> Interval:
    """95 % interval of the ratio, by a percentile bootstrap over blocks (Efron 1979)."""
    logs = log_ratios(numerator, denominator)
    draws = generator.integers(len(logs), size=(_RESAMPLES, len(logs)))
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.exp(np.quantile(logs[draws].mean(axis=1), [tail, 1 - tail]))
    return float(low), float(high)


def half_width(numerator: Times, denominator: Times) -> float:
    """Half the width of the log ratio's 95 % interval, by the normal approximation.

    Cheap enough to ask after every block; it decides when to stop, never what is reported.
    """
    logs = log_ratios(numerator, denominator)
    return float(_NORMAL_QUANTILE * logs.std(ddof=1) / np.sqrt(len(logs)))


def p95(times: Times) -> float | None:
    """95th percentile of single runs; None when there are too few to know it."""
    return float(np.quantile(times, 0.95)) if times.size >= _RUNS_FOR_P95 else None


def distinguishable(interval: Interval, *, noise: Interval) -> bool:
    """Whether a ratio is more than noise.

    Its interval must lie beyond every ratio in ``noise``, the interval of a network's ratio with
    itself: two sessions of one file differ by where their memory and threads happen to lie. Which
    of the two came first is arbitrary, so the noise counts in both directions; hence 1 is excluded.
    """
    band = np.abs(np.log(noise)).max()
    low, high = np.log(interval)
    return bool(low > band or high < -band)
