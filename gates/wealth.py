"""What bets on a small drop win: the part that the tests by betting have in common.

An image gives d in -1..1, and images are an independent sample. A bet of size l multiplies what it
has by 1 + l (tolerance - d) at each image: it wins on an image that speaks for a small drop and
loses on one that speaks for a large one. If the expected d is ``tolerance`` or more, no factor has
a mean above 1, whatever the distribution of d, and nobody gets rich but by luck. What several bets
have together is E, a mean weighted by what each started with.

References:
    Waudby-Smith and Ramdas 2024, JRSS-B 86:1-27 (means of bounded variables by betting).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq

from gates.counts import STEPS, Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts

Floats = NDArray[np.float64]

# exp(-700) is still a number, so that no p-value is 0.
_LARGEST_LOG: Final = 700.0

# Drops closer to -1 or 1 than this are not told from it.
_CLOSE: Final = 1e-9

# More images than this are said to be out of reach.
_MOST_IMAGES: Final = 2**50


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What images there are: the values of d [k], and how many images have each [k]."""

    d: Floats
    images: Floats
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bets:
    """Sizes [j] of the bets, and the share [j] of the whole with which each starts."""

    sizes: Floats
    shares: Floats


def sample_of(counts: Counts) -> Sample:
    """The values of d, where they are rounded upwards: what shows a small drop must not flatter.

    Raises:
        ValueError: no images.
    """
    if counts.n == 0:
        raise ValueError("no images were counted, so nothing can be tested; measure some first")
    d, images = _values(counts)
    return Sample(d=np.array(d), images=np.array(images, dtype=np.float64), n=counts.n)


def exchanged_sample_of(counts: Counts) -> Sample:
    """The same with the models' roles exchanged: all d negated, and again rounded upwards.

    Raises:
        ValueError: no images.
    """
    sample = sample_of(counts)
    match counts:
        case ScoreCounts():
            # A growth is up to a step below the one that it is counted as, but none is below -1.
            return replace(sample, d=-np.maximum(sample.d - 1 / STEPS, -1.0))
        case PairedCounts() | DrawCounts() | FlipCounts():
            return replace(sample, d=-sample.d)


def check_tolerance(tolerance: float) -> None:
    """A tolerance is a drop that neither all images nor none can have.

    Raises:
        ValueError: it is outside (-1, 1).
    """
    if not -1.0 < tolerance < 1.0:
        raise ValueError(f"a tolerance lies in (-1, 1), not {tolerance}")


def check_alpha(alpha: float) -> None:
    """An alpha is a chance that is neither nothing nor certain.

    Raises:
        ValueError: it is outside (0, 1).
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"an alpha lies in (0, 1), not {alpha}")


def log_wealth(sample: Sample, tolerance: float, bets: Bets) -> float:
    """Log of E."""
    return _log_mean(_log_factors(sample, tolerance, bets) @ sample.images, bets)


def likely_log_wealth(
    sample: Sample, tolerance: float, bets: Bets, *, n: int, power: float
) -> float:
    """Log of what E exceeds with a chance of ``power`` on ``n`` images that are as these.

    Normal approximation of the log of what each bet has.
    """
    logs, share = _log_factors(sample, tolerance, bets), sample.images / sample.n
    mean = logs @ share
    deviation = np.sqrt(np.maximum(logs**2 @ share - mean**2, 0.0))
    z_power = float(special.ndtri(power))
    # All bets do well on the same samples, so that each is at its own quantile at once.
    return _log_mean(n * mean - z_power * math.sqrt(n) * deviation, bets)


def p_value(log_e: float) -> float:
    """min(1, 1 / E)."""
    return math.exp(-min(max(log_e, 0.0), _LARGEST_LOG))


def interval(
    counts: Counts, log_e: Callable[[Sample, float, float], float], *, confidence: float
) -> tuple[float, float]:
    """Those drops that neither side's ``log_e(sample, drop, alpha)`` rejects at half the error.

    Raises:
        ValueError: no images, or a confidence outside (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence lies in (0, 1), not {confidence}")
    alpha = (1 - confidence) / 2
    low = -_upper_limit(exchanged_sample_of(counts), log_e, alpha=alpha)
    high = _upper_limit(sample_of(counts), log_e, alpha=alpha)
    # Flips are a share of the images, which bets on differences do not know.
    return (max(low, 0.0) if isinstance(counts, FlipCounts) else low), high


def fewest_images(is_enough: Callable[[int], bool]) -> int | None:
    """The fewest images that are enough; None when no practical number of them is."""
    high = 1
    while not is_enough(high):
        high *= 2
        if high > _MOST_IMAGES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _values(counts: Counts) -> tuple[Sequence[float], Sequence[int]]:
    """The values that d can have, and how many images have each."""
    match counts:
        case PairedCounts(only_dense=lost, only_pruned=won, n=n):
            return (-1.0, 0.0, 1.0), (won, n - won - lost, lost)
        case DrawCounts(draws=draws, nets=nets, differences=differences):
            return [net / draws for net in nets], differences
        case FlipCounts(same=same, flipped=flipped):
            return (0.0, 1.0), (same, flipped)
        case ScoreCounts(growths=growths):
            return [step / STEPS for step, _ in growths], [images for _, images in growths]


def _log_factors(sample: Sample, tolerance: float, bets: Bets) -> Floats:
    """Log of the factor [j k] by which an image with the k-th d changes the j-th bet."""
    return np.log1p(bets.sizes[:, None] * (tolerance - sample.d))


def _log_mean(logs: Floats, bets: Bets) -> float:
    return float(np.logaddexp.reduce(logs + np.log(bets.shares)))


def _upper_limit(
    sample: Sample, log_e: Callable[[Sample, float, float], float], *, alpha: float
) -> float:
    """The largest drop that is not rejected at ``alpha``; E rises with the drop."""

    def excess(drop: float) -> float:
        return log_e(sample, drop, alpha) + math.log(alpha)

    smallest, largest = -1.0 + _CLOSE, 1.0 - _CLOSE
    observed = max(smallest, float(sample.d @ sample.images) / sample.n)
    if observed >= largest or excess(largest) <= 0.0:
        return 1.0
    return float(brentq(excess, observed, largest))
