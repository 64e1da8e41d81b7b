"""What helps where the images cannot certify a tolerance, and how much.

More images always do. Fewer will where the candidate disagrees with the dense model less often
(images needed are about proportional to the discordance), where each image is seen under several
draws, or where a score is judged that varies less than a right answer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from gates.cell import POWER
from gates.counts import Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from gates.expectation import (
    PERSISTENCE,
    assumed,
    drawn,
    persistence_of,
    planned,
    variance,
    without_drop,
)
from gates.inference import needed
from gates.planning import CLOSE, last_alpha, last_for_which
from policies import Policy, Rule

MORE_DRAWS: Final = (3, 6, 10)
"""Draws per image that are proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One way to decide a cell that the images at hand do not.

    Attributes:
        kind: what is changed.
        amount: images, draws per image, the discordance (of flips, the rate), the drop, or the
            variance of the score's growth as a share of that of right answers.
        images: that are then needed; None where no number would do.
        measured: whether all of it rests on what was seen, or on what is typical too.
    """

    kind: Literal["images", "draws", "discordance", "drop", "brier"]
    amount: float
    images: int | None
    measured: bool


def levers(
    policy: Policy,
    rule: Rule,
    counts: Counts,
    *,
    n: int,
    by_chance: bool,
    scores: ScoreCounts | None = None,
) -> tuple[Lever, ...]:
    """What would certify a rule with a chance of POWER; nothing where that is so already.

    Where the expected drop is not below the tolerance, what helps is a smaller one; the others are
    then what it takes if nothing is lost.

    Args:
        policy: says the method and the level.
        rule: says the tolerance.
        counts: what is expected.
        n: images that the rule counts.
        by_chance: whether another draw of an image's shift is another image.
        scores: the growth of the Brier score, if it was seen.

    Raises:
        ValueError: the counts are of no images.
    """

    def images(of: Counts) -> int | None:
        alpha = last_alpha(policy)
        return needed(of, rule.tolerance, alpha=alpha, power=POWER, method=policy.method)

    expected = planned(counts)
    smaller = _drop(rule, expected, images, n=n)
    if expected.drop >= rule.tolerance:
        expected = without_drop(counts)
    wanted = images(expected)
    if wanted is not None and wanted <= n:
        return smaller
    return (
        *smaller,
        *_images(expected, images),
        *_draws(expected, images, by_chance=by_chance),
        *_discordance(rule, expected, images, n=n),
        *_brier(expected, scores, images),
    )


Needed = Callable[[Counts], int | None]


def _drop(rule: Rule, expected: Counts, images: Needed, *, n: int) -> tuple[Lever, ...]:
    """How little has to be lost for the images that there are, if the models differ as they do."""
    if not isinstance(expected, PairedCounts | DrawCounts):
        return ()
    discordance, seen = expected.discordance, persistence_of(expected)

    def is_enough(drop: float) -> bool:
        counts = assumed(
            rule,
            discordance=discordance,
            drop=drop,
            persistence=PERSISTENCE if seen is None else seen,
        )
        wanted = images(counts)
        return wanted is not None and wanted <= n

    if expected.drop <= CLOSE or not is_enough(0.0) or is_enough(expected.drop):
        return ()
    most = last_for_which(is_enough, 0.0, expected.drop)
    return (Lever(kind="drop", amount=most, images=n, measured=True),)


def _images(expected: Counts, images: Needed) -> Iterator[Lever]:
    wanted = images(expected)
    if wanted is not None:
        yield Lever(kind="images", amount=wanted, images=wanted, measured=True)


def _draws(expected: Counts, images: Needed, *, by_chance: bool) -> Iterator[Lever]:
    """More draws than there are now, where they save images."""
    if not by_chance or not isinstance(expected, PairedCounts | DrawCounts):
        return
    seen, before = persistence_of(expected), images(expected)
    now = expected.draws if isinstance(expected, DrawCounts) else 1
    for draws in (number for number in MORE_DRAWS if number > now):
        counts = drawn(
            draws,
            expected.discordance,
            drop=expected.drop,
            persistence=PERSISTENCE if seen is None else seen,
        )
        wanted = images(counts)
        if wanted is not None and (before is None or wanted < before):
            yield Lever(kind="draws", amount=draws, images=wanted, measured=seen is not None)


def _discordance(rule: Rule, expected: Counts, images: Needed, *, n: int) -> Iterator[Lever]:
    """How seldom the models have to disagree for the images that there are."""
    if isinstance(expected, ScoreCounts):
        return
    if isinstance(expected, FlipCounts):  # there, every disagreement is lost
        drop, now = 0.0, expected.drop
    else:
        drop, now = expected.drop, expected.discordance
    seen = persistence_of(expected)

    def is_enough(discordance: float) -> bool:
        counts = assumed(
            rule,
            discordance=discordance,
            drop=drop,
            persistence=PERSISTENCE if seen is None else seen,
        )
        wanted = images(counts)
        return wanted is not None and wanted <= n

    least = drop + CLOSE
    if now > least and is_enough(least) and not is_enough(now):
        most = last_for_which(is_enough, least, now)
        yield Lever(kind="discordance", amount=most, images=n, measured=True)


def _brier(expected: Counts, scores: ScoreCounts | None, images: Needed) -> Iterator[Lever]:
    """The Brier score in place of right answers, at the same tolerance, if it was seen."""
    if scores is None or not isinstance(expected, PairedCounts | DrawCounts):
        return
    if spread := variance(expected):
        share = variance(scores) / spread
        wanted = images(planned(scores))
        yield Lever(kind="brier", amount=share, images=wanted, measured=True)
