"""One shift for one candidate: what was counted, what it shows, and the words for that."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gates.counts import Counts, ScoreCounts
from gates.inference import infer, needed
from policies import Policy, Rule

POWER: Final = 0.9
"""Chance with which the advised number of images decides a cell."""


class Outcome(StrEnum):
    """What the evidence shows: the tolerance is kept, is exceeded, or neither."""

    ACCEPTED = "accepted"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One shift for one candidate.

    Attributes:
        shift: the rule's ``id``.
        statistic: what ``drop`` is, in words.
        tolerance: largest accepted drop, absolute.
        enforced: whether the policy asks that it is passed; if not, it is only shown.
        waived: whether there is a waiver: enforced, and for now not in the way.
        min_images: images that the policy asks for; fewer decide nothing.
        look: how many looks had been taken when the counts were read.
        counts: what was observed.
        alpha: what ``p_safe`` was compared with: this look's share.
        p_safe: p-value of "the drop is at least the tolerance"; small means safe.
        p_violated: p-value of "the drop is at most the tolerance"; small means violated.
        interval: two-sided interval of the drop, of ``gates.inference.INTERVAL_CONFIDENCE``.
        outcome: of this cell alone.
    """

    shift: str
    statistic: str
    tolerance: float
    enforced: bool
    waived: bool
    min_images: int
    look: int
    counts: Counts
    alpha: float
    p_safe: float
    p_violated: float
    interval: tuple[float, float]
    outcome: Outcome

    @property
    def decides(self) -> bool:
        """Whether the cell counts in the decision."""
        return self.enforced and not self.waived


def judge_cell(policy: Policy, rule: Rule, counts: Counts, *, look: int) -> Cell:
    """One rule for one candidate, on what was counted up to the ``look``-th look.

    Raises:
        ValueError: no images, or the policy takes no such look.
    """
    alpha = policy.alpha_at(look)
    # A violation at any of several cells rejects, so that each is tested at its share of alpha. The
    # waived ones keep theirs, so that a waiver changes the outcome of no cell.
    alpha_violated = alpha / len(policy.enforced)
    found = infer(counts, rule.tolerance, alpha=alpha, method=policy.method)
    min_images = policy.images_needed(rule)
    if counts.n < min_images:
        outcome = Outcome.UNDECIDED
    elif found.p_safe <= alpha:
        outcome = Outcome.ACCEPTED
    elif found.p_violated <= alpha_violated:
        outcome = Outcome.VIOLATED
    else:
        outcome = Outcome.UNDECIDED
    return Cell(
        shift=rule.id,
        statistic=statistic_of(rule, counts),
        tolerance=rule.tolerance,
        enforced=rule.enforced,
        waived=rule.enforced and rule not in policy.deciding,
        min_images=min_images,
        look=look,
        counts=counts,
        alpha=alpha,
        p_safe=found.p_safe,
        p_violated=found.p_violated,
        interval=found.interval,
        outcome=outcome,
    )


def statistic_of(rule: Rule, counts: Counts) -> str:
    """What is held against the tolerance, in words; of a segmentation it is about pixels."""
    pixels = isinstance(counts, ScoreCounts) and counts.of == "pixels"
    return "pixel drop" if pixels else rule.statistic


def describe(policy: Policy, cell: Cell, *, name: str) -> str:
    """One sentence on a cell that is not accepted: why, and what would decide it."""
    if cell.counts.n < cell.min_images:
        return (
            f"{name}: {cell.shift} was measured on {cell.counts.n:,} images; "
            f"the policy asks for at least {cell.min_images:,}"
        )
    low, high = cell.interval
    interval = f"[{_percent(low)}, {_percent(high)}]"
    statistic = cell.statistic
    observed = f"the {statistic} on {cell.shift} is {_percent(cell.counts.drop)} % {interval}"
    tolerance = f"the tolerance of {_percent(cell.tolerance)} %"
    if cell.outcome is Outcome.VIOLATED:
        return f"{name}: {observed}, above {tolerance}"
    images = images_to_decide(policy, cell)
    remedy = (
        f"more images promise no acceptance, because the observed {statistic} is not below it"
        if images is None
        else f"about {images:,} images would decide, if the truth is what was observed"
    )
    return f"{name}: {observed}, neither shown to be below {tolerance} nor above it; {remedy}"


def images_to_decide(policy: Policy, cell: Cell) -> int | None:
    """Images that would decide the cell if the truth is what was observed; None if none would."""
    if cell.counts.n < cell.min_images:
        return cell.min_images
    estimate = needed(
        cell.counts, cell.tolerance, alpha=cell.alpha, power=POWER, method=policy.method
    )
    # These images did not decide, whatever the estimate from them says.
    return None if estimate is None else max(estimate, cell.counts.n + 1)


def _percent(share: float) -> str:
    # A drop of -0.0004 is "0.0", not "-0.0".
    return f"{round(100 * share, 1) + 0.0:.1f}"
