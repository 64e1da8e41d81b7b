"""What a policy's images can show, before they are looked at: power, tolerances, and what helps.

What is expected comes as counts, of other images, an earlier run, or assumed
(``gates.expectation``); how many images a cell takes then is what ``gates.inference`` says. These
are normal approximations of the tests' power; the decision itself rests on none of them.

A gain is not counted on: where the candidate was better than the dense model, no drop is expected.
The power is that of the best single look, mostly the last at its share of alpha; the earlier ones
add one or two points to it with the method looks, and three to ten with anytime.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise
from typing import Final

from gates.cell import POWER
from gates.counts import Counts
from gates.expectation import agreeing, planned, without_drop
from gates.inference import infer, needed
from policies import Method, Policy, Rule

LOWER_POWER: Final = 0.8

# Chances beyond these are not told from none and from certainty; what is said is less in both.
_LEAST: Final = 0.01
_MOST: Final = 0.999

CLOSE: Final = 1e-6
"""Tolerances and shares closer than this are one."""

# An anytime gate's stop is told from so many quantiles.
_QUANTILES: Final = 20


class Outlook(StrEnum):
    """What may be hoped of a cell; "can" means with a chance of POWER or more."""

    CAN = "can be certified"
    ONLY = "only if nothing is lost"
    CANNOT = "cannot be certified with these images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What the images can show under one rule, for a candidate that does as is expected.

    Attributes:
        images: that the rule counts, at the last look.
        alpha: level of the last look's test: all that a decision on all images has.
        drop: that is expected; no gain is.
        needed_80: images for a power of 80 %; None where the drop is not below the tolerance.
        needed: the same for 90 %.
        needed_without_drop: the same for 90 % if nothing is lost.
        certifiable: smallest tolerance that these images show to be kept, nine times in ten; None
            where there is none below 1.
        certifiable_without_drop: the same if nothing is lost.
        power: chance that the cell is accepted, at least.
        power_without_drop: the same if nothing is lost.
        conceivable: whether a candidate that does the same as the dense model on every image would
            be accepted; if not, undecided is certain.
        stops: chance that each look is the last one.
        outlook: in a word.
    """

    images: int
    alpha: float
    drop: float
    needed_80: int | None
    needed: int | None
    needed_without_drop: int | None
    certifiable: float | None
    certifiable_without_drop: float | None
    power: float
    power_without_drop: float
    conceivable: bool
    stops: tuple[float, ...]
    outlook: Outlook


def prospect(policy: Policy, rule: Rule, counts: Counts, *, sizes: Sequence[int]) -> Prospect:
    """What ``sizes`` images, those that the rule counts up to each look, show if all are as these.

    Raises:
        ValueError: the counts are of no images, or there are no looks.
    """
    n, alpha = sizes[-1], policy.alpha_at(len(sizes))
    expected, level = planned(counts), without_drop(counts)

    def images(of: Counts, power: float) -> int | None:
        found = needed(of, rule.tolerance, alpha=alpha, power=power, method=policy.method)
        return None if found is None else max(found, policy.images_needed(rule))

    def tolerance(of: Counts) -> float | None:
        return certifiable(of, n=n, alpha=alpha, method=policy.method)

    reached = _accepted_by(policy, rule, expected, sizes=sizes)
    best = _accepted_by(policy, rule, level, sizes=sizes)[-1]
    return Prospect(
        images=n,
        alpha=alpha,
        drop=expected.drop,
        needed_80=images(expected, LOWER_POWER),
        needed=images(expected, POWER),
        needed_without_drop=images(level, POWER),
        certifiable=tolerance(expected),
        certifiable_without_drop=tolerance(level),
        power=reached[-1],
        power_without_drop=best,
        conceivable=_is_conceivable(policy, rule, counts, sizes=sizes),
        stops=tuple(high - low for low, high in pairwise((0.0, *reached[:-1], 1.0))),
        outlook=_outlook(reached[-1], best),
    )


def power_at(counts: Counts, tolerance: float, *, n: int, alpha: float, method: Method) -> float:
    """Chance that ``n`` images show the drop to be below the tolerance, if all are as these.

    None at all, 0, where the drop is not below it.

    Raises:
        ValueError: the counts are of no images.
    """

    def is_enough(power: float) -> bool:
        images = needed(counts, tolerance, alpha=alpha, power=power, method=method)
        return images is not None and images <= n

    if not is_enough(_LEAST):
        return 0.0
    return _MOST if is_enough(_MOST) else last_for_which(is_enough, _LEAST, _MOST)


def certifiable(counts: Counts, *, n: int, alpha: float, method: Method) -> float | None:
    """Smallest tolerance that ``n`` images show to be kept with a chance of POWER; None below 1.

    Raises:
        ValueError: the counts are of no images.
    """

    def is_too_small(tolerance: float) -> bool:
        images = needed(counts, tolerance, alpha=alpha, power=POWER, method=method)
        return images is None or images > n

    smallest, largest = max(counts.drop, 0.0) + CLOSE, 1 - CLOSE
    if smallest >= largest or is_too_small(largest):
        return None
    return last_for_which(is_too_small, smallest, largest) + CLOSE


def last_alpha(policy: Policy) -> float:
    """The level of a test on all images: the last look's share."""
    return policy.alpha_at(len(policy.looks.fractions) if policy.method == "looks" else 1)


def all_pass(chances: Iterable[float]) -> float:
    """The least chance that all of several cells pass, however they hang together (Bonferroni)."""
    return max(0.0, 1.0 - sum(1.0 - chance for chance in chances))


def last_for_which(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest value that a property holds for, which holds at ``low`` and not at ``high``."""
    while high - low > CLOSE:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _accepted_by(
    policy: Policy, rule: Rule, counts: Counts, *, sizes: Sequence[int]
) -> tuple[float, ...]:
    """Chance that the cell is accepted at each look or before, at least."""
    least = policy.images_needed(rule)

    def chance(look: int, n: int) -> float:
        if n < least:
            return 0.0
        alpha = policy.alpha_at(look)
        return power_at(counts, rule.tolerance, n=n, alpha=alpha, method=policy.method)

    if policy.method != "anytime":
        found = [chance(look, n) for look, n in enumerate(sizes, start=1)]
        return tuple(accumulate(found, max))
    last = chance(len(sizes), sizes[-1])
    middles = [(step + 0.5) / _QUANTILES for step in range(_QUANTILES)]
    alpha = policy.alpha_per_release
    wanted = [
        needed(counts, rule.tolerance, alpha=alpha, power=share, method=policy.method)
        for share in middles
    ]
    shares = (
        sum(images is not None and images <= n for images in wanted) / _QUANTILES
        if n >= least
        else 0.0
        for n in sizes[:-1]
    )
    return (*(min(share, last) for share in shares), last)


def _is_conceivable(policy: Policy, rule: Rule, counts: Counts, *, sizes: Sequence[int]) -> bool:
    """Whether perfect agreement would be accepted on all images."""
    n, alpha = sizes[-1], policy.alpha_at(len(sizes))
    if n < policy.images_needed(rule) or n == 0:
        return False
    best = infer(agreeing(counts, n), rule.tolerance, alpha=alpha, method=policy.method)
    return best.p_safe <= alpha


def _outlook(power: float, best: float) -> Outlook:
    if power >= POWER:
        return Outlook.CAN
    return Outlook.ONLY if best >= POWER else Outlook.CANNOT
