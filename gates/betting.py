r"""Is the mean drop over several draws per image below the tolerance? Bets that a large drop loses.

An image gives d = net / draws in -1..1, and images are an independent sample. If the expected drop
were ``tolerance`` or more, then

    E = mean over j of the product over images of (1 + bet_j (tolerance - d))

would be at most 1 on average, whatever the distribution of d: all factors are positive, and none
has a mean above 1. A large E is then improbable, P(E >= 1 / p) <= p (Markov), so that min(1, 1 / E)
is a p-value for any number of images; nothing is approximated. E depends on how many images have
which net and not on their order, and a pocket calculator can check it.

The bets are fixed before the data are seen. The bet with which the smallest lead over the tolerance
makes E reach 1 / alpha is

    sqrt(2 ln(1 / alpha) / (n v)),

v being the variance of d. It is not known, hence a bet for each of several. The grid may be coarse:
a bet tuned to a variance that is wrong by a factor of 1.7 needs a lead that is 4 % larger; and E is
at least a quarter of what the best of four bets alone would give.

References:
    Waudby-Smith and Ramdas 2024, JRSS-B 86:1-27 (means of bounded variables by betting).
"""

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq

from gates.evidence import DrawCounts

Floats = NDArray[np.float64]

VARIANCES: Final = (0.005, 0.015, 0.05, 0.15)
"""Of d, one bet for each: from many draws of a network that pruning hardly changed to few draws of
one that it changed a lot. A true variance beyond them costs images, never validity."""

# Largest share of its stake that a bet loses on one image. It keeps factors positive; a larger one
# would hardly gain, and only where there are but a few hundred images.
_LARGEST_LOSS: Final = 0.9

# exp(-700) is still a number, so that no p-value is 0.
_LARGEST_LOG: Final = 700.0

# Drops closer to -1 or 1 than this are not told from it.
_CLOSE: Final = 1e-9

# More images than this are said to be out of reach.
_MOST_IMAGES: Final = 2**50


def p_drop_at_least(counts: DrawCounts, tolerance: float, *, alpha: float) -> float:
    """p-value of "the true drop is ``tolerance`` or more"; small means shown to be safe.

    Valid whatever ``alpha`` is; most powerful at that level.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1), or an alpha outside (0, 1).
    """
    return _p_value(_Sample.of(counts), tolerance, alpha=alpha)


def p_drop_at_most(counts: DrawCounts, tolerance: float, *, alpha: float) -> float:
    """p-value of "the true drop is ``tolerance`` or less"; small means shown to be violated.

    The same question with the models' roles exchanged.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1), or an alpha outside (0, 1).
    """
    return _p_value(_Sample.of(counts).exchanged(), -tolerance, alpha=alpha)


def drop_interval(counts: DrawCounts, *, confidence: float) -> tuple[float, float]:
    """Two-sided interval of the drop: those drops that neither test rejects at half the error.

    It holds the observed drop, where E is at most 1.

    Raises:
        ValueError: no images, or a confidence outside (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence lies in (0, 1), not {confidence}")
    sample = _Sample.of(counts)
    alpha = (1 - confidence) / 2
    return -_upper_limit(sample.exchanged(), alpha=alpha), _upper_limit(sample, alpha=alpha)


def images_needed(
    counts: DrawCounts, *, tolerance: float, alpha: float, power: float
) -> int | None:
    """Images that show the drop to be below ``tolerance`` if images are as the observed ones.

    Normal approximation of log E; None when the observed drop is not below the tolerance, or so
    little that no practical number of images would do.

    Raises:
        ValueError: as for ``p_drop_at_least``.
    """
    sample = _Sample.of(counts)
    if counts.drop >= tolerance:
        return None
    share, z_power = sample.images / sample.n, float(special.ndtri(power))

    def is_enough(n: int) -> bool:
        logs = sample.log_factors(tolerance, _bets(n, tolerance, alpha=alpha))
        mean = logs @ share
        deviation = np.sqrt(np.maximum(logs**2 @ share - mean**2, 0.0))
        # All bets do well on the same samples, so that each is at its own quantile at once.
        return _log_mean(n * mean - z_power * math.sqrt(n) * deviation) >= -math.log(alpha)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """What images there are: the values of d [k], and how many images have each [k]."""

    d: Floats
    images: Floats
    n: int

    @classmethod
    def of(cls, counts: DrawCounts) -> Self:
        if counts.n == 0:
            raise ValueError("no images were counted, so nothing can be tested; measure some first")
        return cls(
            d=np.array(counts.nets) / counts.draws,
            images=np.array(counts.differences, dtype=np.float64),
            n=counts.n,
        )

    def exchanged(self) -> Self:
        """The dense model in the role of the pruned one, and the other way round."""
        return type(self)(d=-self.d, images=self.images, n=self.n)

    def log_factors(self, tolerance: float, bets: Floats) -> Floats:
        """Log of the factor [j k] by which an image with the k-th d changes the j-th bet."""
        return np.log1p(bets[:, None] * (tolerance - self.d))


def _bets(n: int, tolerance: float, *, alpha: float) -> Floats:
    """One bet for each of VARIANCES, fixed by what is known before any image is seen."""
    if not -1.0 < tolerance < 1.0:
        raise ValueError(f"a tolerance lies in (-1, 1), not {tolerance}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"an alpha lies in (0, 1), not {alpha}")
    best = np.sqrt(-2 * math.log(alpha) / (n * np.array(VARIANCES)))
    return np.minimum(best, _LARGEST_LOSS / (1 - tolerance))


def _log_e(sample: _Sample, tolerance: float, *, alpha: float) -> float:
    """Log of E; it rises with the tolerance, for every factor does."""
    bets = _bets(sample.n, tolerance, alpha=alpha)
    return _log_mean(sample.log_factors(tolerance, bets) @ sample.images)


def _log_mean(logs: Floats) -> float:
    return float(special.logsumexp(logs)) - math.log(len(logs))


def _p_value(sample: _Sample, tolerance: float, *, alpha: float) -> float:
    log_e = _log_e(sample, tolerance, alpha=alpha)
    return math.exp(-min(max(log_e, 0.0), _LARGEST_LOG))


def _upper_limit(sample: _Sample, *, alpha: float) -> float:
    """The largest drop that is not rejected at ``alpha``."""

    def excess(drop: float) -> float:
        return _log_e(sample, drop, alpha=alpha) + math.log(alpha)

    smallest, largest = -1.0 + _CLOSE, 1.0 - _CLOSE
    observed = max(smallest, float(sample.d @ sample.images) / sample.n)
    if observed >= largest or excess(largest) <= 0.0:
        return 1.0
    return float(brentq(excess, observed, largest))
