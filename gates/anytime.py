"""Is the drop below the tolerance? Bets that may be counted up whenever one likes.

An image gives d in -1..1: the difference of two right answers, the mean of several, a flip, the
growth of a score. Images are an independent sample and come one after another. If the expected d
were ``tolerance`` or more, then

    E = sum over j of weight_j times the product over images of (1 + bet_j (tolerance - d))

would be a supermartingale that starts at 1, whatever the distribution of d: no image has a factor
whose mean is above 1, and the bets are the same for all images. Such a process is improbable to be
large even once, P(E >= 1 / p at some n) <= p (Ville). So min(1, 1 / E) may be compared with alpha
after every image, as often as one likes, and one may stop at the first success or go on with more
images: the chance of a false claim is alpha for all looks together. E depends on how many images
have which d and not on their order, and a pocket calculator can check it.

The best bet is lead / variance of d, where lead is by how much the drop is below the tolerance.
Neither is known, hence a bet for each of several:

    bet_j = loss_j / (1 - tolerance),

loss_j being the share of what it has that a bet loses on an image with d = 1. The losses are halved
from 0.9 down to 0.014: whatever the best bet between them is, one of these grows at about 8/9 of
its pace. The middle ones start with more, since the best bet is between 0.05 and 0.4 for tolerances
of 1 and 2 %, drops of none or half of that, and discordances of 5 to 10 %. Bets of tolerance /
variance, for a grid of variances, do no better, and with them a larger tolerance could be harder to
keep. Bets that learn from the images that were seen would depend on their order.

References:
    Ville 1939, Étude critique de la notion de collectif.
    Waudby-Smith and Ramdas 2024, JRSS-B 86:1-27 (means of bounded variables by betting).
"""

import math
from typing import Final

import numpy as np

from gates.counts import Counts
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

LOSSES: Final = tuple(0.9 / 2**halvings for halvings in range(7))
"""Share of what it has that a bet loses on an image with d = 1; below 1, so that none is ruined."""

WEIGHTS: Final = tuple(sixteenths / 16 for sixteenths in (2, 2, 4, 4, 2, 1, 1))
"""Share of the whole with which each bet starts."""


def p_drop_at_least(counts: Counts, tolerance: float) -> float:
    """p-value of "the true drop is ``tolerance`` or more"; small means shown to be safe.

    Valid at whatever image one looks or stops.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1).
    """
    return p_value(_log_e(sample_of(counts), tolerance))


def p_drop_at_most(counts: Counts, tolerance: float) -> float:
    """p-value of "the true drop is ``tolerance`` or less"; small means shown to be violated.

    The same question with the models' roles exchanged.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1).
    """
    return p_value(_log_e(exchanged_sample_of(counts), -tolerance))


def drop_interval(counts: Counts, *, confidence: float) -> tuple[float, float]:
    """Two-sided interval of the drop: those drops that neither test rejects at half the error.

    All intervals of a growing sample hold the true drop at once, with this confidence; each holds
    the drop observed so far.

    Raises:
        ValueError: no images, or a confidence outside (0, 1).
    """
    return interval(
        counts, lambda sample, drop, _alpha: _log_e(sample, drop), confidence=confidence
    )


def images_needed(counts: Counts, *, tolerance: float, alpha: float, power: float) -> int | None:
    """Images that show the drop to be below ``tolerance`` if images are as the observed ones.

    Normal approximation of log E at that many images; that an earlier look may already have
    sufficed is left out. None when the observed drop is not below the tolerance, or so little that
    no practical number of images would do: with a lead of less than 1/140 of the variance of d all
    bets are too high to win.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1), or an alpha outside (0, 1).
    """
    check_alpha(alpha)
    sample, bets = sample_of(counts), _bets(tolerance)
    if counts.drop >= tolerance:
        return None

    def is_enough(n: int) -> bool:
        return likely_log_wealth(sample, tolerance, bets, n=n, power=power) >= -math.log(alpha)

    return fewest_images(is_enough)


def _bets(tolerance: float) -> Bets:
    """The same for every image, so that E knows no order and no number of images beforehand."""
    check_tolerance(tolerance)
    return Bets(sizes=np.array(LOSSES) / (1 - tolerance), shares=np.array(WEIGHTS))


def _log_e(sample: Sample, tolerance: float) -> float:
    """Log of E; it rises with the tolerance: d = 1 costs a bet the same, all others less."""
    return log_wealth(sample, tolerance, _bets(tolerance))
