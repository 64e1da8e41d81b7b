r"""Is the mean of a difference per image below the tolerance? Bets that a large drop loses.

For several draws of each image d = net / draws, for scores d is the growth of the score; images are
an independent sample. If the expected d were ``tolerance`` or more, then

    E = mean over j of the product over images of (1 + bet_j (tolerance - d))

would be at most 1 on average, whatever the distribution of d: all factors are positive, and none
has a mean above 1. A large E is then improbable, P(E >= 1 / p) <= p (Markov), so that min(1, 1 / E)
is a p-value for any number of images; nothing is approximated. E depends on how many images have
which d and not on their order, and a pocket calculator can check it.

The bets are fixed before the data are seen. The bet with which the smallest lead over the tolerance
makes E reach 1 / alpha is

    sqrt(2 ln(1 / alpha) / (n v)),

v being the variance of d. It is not known, hence a bet for each of several. The grid may be coarse:
a bet tuned to a variance that is wrong by a factor of 1.7 needs a lead that is 4 % larger; and E is
at least a quarter of what the best of four bets alone would give.

Because the bets are for n images, they hold for one look at n images, fixed beforehand; those that
hold at any time are in ``gates.anytime``.

References:
    Waudby-Smith and Ramdas 2024, JRSS-B 86:1-27 (means of bounded variables by betting).
"""

import math
from typing import Final

import numpy as np

from gates.counts import DrawCounts, ScoreCounts
from gates.wealth import (
    Bets,
    Sample,
    check_alpha,
    check_tolerance,
    exchanged_sample_of,
    fewest_images,
    interval,
    likely_log_wealth,
    log_wealth,
    p_value,
    sample_of,
)

BetCounts = DrawCounts | ScoreCounts
"""Counts of differences of which more is unknown than how many images differ."""

VARIANCES: Final = (0.005, 0.015, 0.05, 0.15)
"""Of d, one bet for each: from many draws of a network that pruning hardly changed to few draws of
one that it changed a lot. A true variance beyond them costs images, never validity."""

# Largest share of its stake that a bet loses on one image. It keeps factors positive; a larger one
# would hardly gain, and only where there are but a few hundred images.
_LARGEST_LOSS: Final = 0.9


def p_drop_at_least(counts: BetCounts, tolerance: float, *, alpha: float) -> float:
    """p-value of "the true drop is ``tolerance`` or more"; small means shown to be safe.

    Valid whatever ``alpha`` is; most powerful at that level.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1), or an alpha outside (0, 1).
    """
    return p_value(_log_e(sample_of(counts), tolerance, alpha))


def p_drop_at_most(counts: BetCounts, tolerance: float, *, alpha: float) -> float:
    """p-value of "the true drop is ``tolerance`` or less"; small means shown to be violated.

    The same question with the models' roles exchanged.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1), or an alpha outside (0, 1).
    """
    return p_value(_log_e(exchanged_sample_of(counts), -tolerance, alpha))


def drop_interval(counts: BetCounts, *, confidence: float) -> tuple[float, float]:
    """Two-sided interval of the drop: those drops that neither test rejects at half the error.

    It holds the observed drop, where E is at most 1.

    Raises:
        ValueError: no images, or a confidence outside (0, 1).
    """
    return interval(counts, _log_e, confidence=confidence)


def images_needed(counts: BetCounts, *, tolerance: float, alpha: float, power: float) -> int | None:
    """Images that show the drop to be below ``tolerance`` if images are as the observed ones.

    Normal approximation of log E; None when the observed drop is not below the tolerance, or so
    little that no practical number of images would do.

    Raises:
        ValueError: as for ``p_drop_at_least``.
    """
    sample = sample_of(counts)
    if counts.drop >= tolerance:
        return None

    def is_enough(n: int) -> bool:
        bets = _bets(n, tolerance, alpha=alpha)
        return likely_log_wealth(sample, tolerance, bets, n=n, power=power) >= -math.log(alpha)

    return fewest_images(is_enough)


def _bets(n: int, tolerance: float, *, alpha: float) -> Bets:
    """One bet for each of VARIANCES, fixed by what is known before any image is seen."""
    check_tolerance(tolerance)
    check_alpha(alpha)
    best = np.sqrt(-2 * math.log(alpha) / (n * np.array(VARIANCES)))
    return Bets(
        sizes=np.minimum(best, _LARGEST_LOSS / (1 - tolerance)),
        shares=np.full(len(VARIANCES), 1 / len(VARIANCES)),
    )


def _log_e(sample: Sample, tolerance: float, alpha: float) -> float:
    """Log of E; it rises with the tolerance, for every factor does."""
    return log_wealth(sample, tolerance, _bets(sample.n, tolerance, alpha=alpha))
