"""What counts say about a tolerance: the test that goes with their kind and the policy's method.

One draw per image has an exact test, which several draws and scores do not: there the chances of
all values are unknown, not only the discordance, and bets are made. Flips have the plainest of all,
a share of images. A policy that may stop at any time makes bets on all of them.
"""

from dataclasses import dataclass
from typing import Final

from gates import anytime, betting, binomial, statistics
from gates.counts import Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from policies import Method

INTERVAL_CONFIDENCE: Final = 0.95
"""Of the two-sided intervals that are shown; the decision rests on the p-values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """How far the counts speak for and against a tolerance; drop is whatever the metric loses.

    The two p-values add up to 1 or more: at an alpha below one half at most one is small.

    Attributes:
        p_safe: p-value of "the drop is at least the tolerance"; small means safe.
        p_violated: p-value of "the drop is at most the tolerance"; small means violated.
        interval: two-sided interval of the drop, of INTERVAL_CONFIDENCE.
    """

    p_safe: float
    p_violated: float
    interval: tuple[float, float]


def infer(counts: Counts, tolerance: float, *, alpha: float, method: Method) -> Inference:
    """The p-values and the interval; ``alpha`` is where they matter most and must not hang on data.

    Raises:
        ValueError: no images, or a tolerance that no drop or share can have.
    """
    if method == "anytime":
        return Inference(
            p_safe=anytime.p_drop_at_least(counts, tolerance),
            p_violated=anytime.p_drop_at_most(counts, tolerance),
            interval=anytime.drop_interval(counts, confidence=INTERVAL_CONFIDENCE),
        )
    match counts:
        case PairedCounts():
            return Inference(
                p_safe=statistics.p_drop_at_least(counts, tolerance),
                p_violated=statistics.p_drop_at_most(counts, tolerance),
                interval=statistics.drop_interval(counts, confidence=INTERVAL_CONFIDENCE),
            )
        case DrawCounts() | ScoreCounts():
            return Inference(
                p_safe=betting.p_drop_at_least(counts, tolerance, alpha=alpha),
                p_violated=betting.p_drop_at_most(counts, tolerance, alpha=alpha),
                interval=betting.drop_interval(counts, confidence=INTERVAL_CONFIDENCE),
            )
        case FlipCounts(flipped=flipped, n=n):
            return Inference(
                p_safe=binomial.p_rate_at_least(flipped, n, tolerance),
                p_violated=binomial.p_rate_at_most(flipped, n, tolerance),
                interval=binomial.clopper_pearson(flipped, n, confidence=INTERVAL_CONFIDENCE),
            )


def needed(
    counts: Counts, tolerance: float, *, alpha: float, power: float, method: Method
) -> int | None:
    """Images that would show the drop to be below the tolerance if the truth is what was observed.

    None when the observed drop is not below the tolerance: more images promise nothing.

    Raises:
        ValueError: no images.
    """
    if counts.drop >= tolerance:
        return None
    if method == "anytime":
        return anytime.images_needed(counts, tolerance=tolerance, alpha=alpha, power=power)
    match counts:
        case PairedCounts(drop=drop, discordance=discordance):
            return statistics.images_needed(
                tolerance=tolerance, discordance=discordance, drop=drop, alpha=alpha, power=power
            )
        case DrawCounts() | ScoreCounts():
            return betting.images_needed(counts, tolerance=tolerance, alpha=alpha, power=power)
        case FlipCounts(drop=rate):
            # A flip is a loss that no other image makes up for.
            return statistics.images_needed(
                tolerance=tolerance, discordance=rate, drop=rate, alpha=alpha, power=power
            )
