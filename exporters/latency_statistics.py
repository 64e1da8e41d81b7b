"""What interleaved run times say about a latency ratio; arithmetic only.

Times are [blocks runs] in milliseconds. Blocks, not runs, are the unit: neighbouring runs share
the machine's mood, and both networks of a block share it too, so it cancels in their ratio.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

Times = NDArray[np.float64]
"""Milliseconds, [blocks runs]."""

Interval = tuple[float, float]

_RESAMPLES: Final = 2000
_TAIL_RESAMPLES: Final = 500
_CONFIDENCE: Final = 0.95
_NORMAL_QUANTILE: Final = 1.96

# Below this the 95th percentile is one of the five largest times: an anecdote.
_RUNS_FOR_P95: Final = 100

_RUNS_FOR: Final[Mapping[int, int]] = {50: 10, 90: 50, 95: _RUNS_FOR_P95, 99: 300}
"""Percentile: the least number of runs that shows it. A 99.9th would be an anecdote in any
benchmark that people wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """One percentile of single runs."""

    ms: float
    interval: Interval
    """95 %, from the order statistics: as if runs were independent, so rather too narrow."""


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


def percentiles(times: Times) -> dict[int, Percentile]:
    """Those percentiles of single runs, in ms, that so many runs show with an interval."""
    known = {rank: _percentile(times, rank) for rank in _RUNS_FOR if times.size >= _RUNS_FOR[rank]}
    return {rank: found for rank, found in known.items() if found is not None}


def _percentile(times: Times, rank: int) -> Percentile | None:
    """With its distribution-free interval (David and Nagaraja 2003, Order Statistics, 7.1).

    None where the runs are too few for the interval to have two ends.
    """
    ordered, share = np.sort(times, axis=None), rank / 100
    tail = (1 - _CONFIDENCE) / 2
    low, high = (_binomial_quantile(p, ordered.size, share) for p in (tail, 1 - tail))
    if low < 1 or high >= ordered.size:
        return None
    interval = (float(ordered[low - 1]), float(ordered[high]))
    return Percentile(ms=float(np.quantile(ordered, share)), interval=interval)


def _binomial_quantile(chance: float, n: int, share: float) -> int:
    """The smallest count that a binomial variable stays within with at least this chance.

    scipy.stats has it, and takes a second to import: longer than what is timed may need to start.
    """
    count = math.ceil(special.bdtrik(chance, n, share))
    # The inverse is found by a search, which may end just above a whole number.
    return count - 1 if count and special.bdtr(count - 1, n, share) >= chance else count


def p95_ratio(
    numerator: Times, denominator: Times, *, generator: np.random.Generator
) -> tuple[float, Interval] | None:
    """Ratio of the 95th percentiles and its 95 % interval, by a bootstrap over blocks.

    None where there are too few runs for a 95th percentile.
    """
    if min(numerator.size, denominator.size) < _RUNS_FOR_P95:
        return None
    draws = generator.integers(len(numerator), size=(_TAIL_RESAMPLES, len(numerator)))
    tails = [
        np.quantile(times[draws].reshape(_TAIL_RESAMPLES, -1), 0.95, axis=1)
        for times in (numerator, denominator)
    ]
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(tails[0] / tails[1], [tail, 1 - tail])
    found = float(np.quantile(numerator, 0.95) / np.quantile(denominator, 0.95))
    return found, (float(low), float(high))


def distinguishable(interval: Interval, *, noise: Interval) -> bool:
    """Whether a ratio is more than noise.

    Its interval must lie beyond every ratio in ``noise``, the interval of a network's ratio with
    itself: two sessions of one file differ by where their memory and threads happen to lie. Which
    of the two came first is arbitrary, so the noise counts in both directions; hence 1 is excluded.
    """
    band = np.abs(np.log(noise)).max()
    low, high = np.log(interval)
    return bool(low > band or high < -band)
