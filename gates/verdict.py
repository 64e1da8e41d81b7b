"""The decision: evidence and a policy in, Accepted, Rejected or Undecided out.

One cell is one shift at one ratio; its hypothesis "the drop is at least the tolerance" must be
rejected at the policy's alpha. A ratio is accepted when every enforced cell is: a model that breaks
any tolerance must pass the very test that it fails with a chance of 1 - alpha, so that no
correction for the number of shifts is due (intersection-union test). Ratios are judged in ascending
order up to the first that is not accepted, each at the full alpha: an unsafe model can be accepted
only if the first unsafe ratio is, a chance of at most alpha (fixed sequence). So:

    If the images are an independent sample of each shift and nothing else was decided with them,
    the chance that an accepted model exceeds any tolerance of its policy is at most alpha.

A waived cell is tested and shown as ever and does not stand in the way. About its shift nothing is
promised then; about the others the same as before, since the argument above holds for any set of
shifts that was fixed beforehand, the unwaived ones too, and each of them has the full alpha anyway.

Which test a cell gets follows from its kind of counts (``gates.inference``). On images without
labels, "drop" stands for the flip rate, which no drop exceeds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, takewhile
from typing import Final

from gates.coherence import check_subjects, counts_by_rule
from gates.evidence import Counts, Evidence
from gates.inference import infer, needed
from policies import Policy, Rule

POWER: Final = 0.9
"""Chance with which the advised number of images decides a cell."""


class Outcome(StrEnum):
    """What the evidence shows: the tolerance is kept, is exceeded, or neither."""

    ACCEPTED = "accepted"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


_FROM_BEST_TO_WORST: Final = (Outcome.ACCEPTED, Outcome.UNDECIDED, Outcome.VIOLATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One shift at one ratio.

    Attributes:
        shift: the rule's ``id``.
        tolerance: largest accepted drop, absolute.
        enforced: whether the policy asks that it is passed; if not, it is only shown.
        waived: whether there is a waiver: enforced, and for now not in the way.
        min_images: images that the policy asks for; fewer decide nothing.
        counts: what was observed.
        p_safe: p-value of "the drop is at least the tolerance"; small means safe.
        p_violated: p-value of "the drop is at most the tolerance"; small means violated.
        interval: two-sided interval of the drop, of ``gates.inference.INTERVAL_CONFIDENCE``.
        outcome: of this cell alone.
    """

    shift: str
    tolerance: float
    enforced: bool
    waived: bool
    min_images: int
    counts: Counts
    p_safe: float
    p_violated: float
    interval: tuple[float, float]
    outcome: Outcome

    @property
    def decides(self) -> bool:
        """Whether the cell counts in the decision."""
        return self.enforced and not self.waived


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rung of the ladder of ratios: a candidate, all its cells, and what they amount to."""

    ratio: float
    candidate: str
    cells: tuple[Cell, ...]
    outcome: Outcome

    @property
    def binding(self) -> Cell:
        """The cell that is nearest to failure, or farthest in it, of those that decide.

        That with the worst outcome; of equals, that with the largest p-value for "the drop is at
        least the tolerance"; of equals again, that whose drop exceeds its tolerance the most, or
        keeps it the least.
        """
        return max((cell for cell in self.cells if cell.decides), key=_distress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The permit to export ``candidate`` (sha256 of the judged file), and no other file."""

    candidate: str
    ratio: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Even the smallest ratio exceeds a tolerance, with a chance of error of at most alpha."""

    steps: tuple[Step, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """The evidence is too thin to accept the smallest ratio and too thin to reject it.

    Attributes:
        steps: all ratios with evidence, ascending.
        reasons: sentences on the cells that are undecided.
        images_needed: images that would decide if the truth is what was observed, on the shift
            that needs the most; None when some observed drop is not below its tolerance, where more
            images promise no acceptance.
    """

    steps: tuple[Step, ...]
    reasons: tuple[str, ...]
    images_needed: int | None


Verdict = Accepted | Rejected | Undecided


def judge(policy: Policy, evidence: Sequence[Evidence]) -> Verdict:
    """The verdict on all ratios that there is evidence of.

    Steps after the first that is not accepted are kept for the reader and decide nothing: a larger
    ratio that passes after a failure is luck, not safety. Evidence of shifts that the policy does
    not name is not looked at.

    Raises:
        VerdictError: there is no evidence, or what ``judge_step`` raises, or evidence of different
            ratios is about different dense models or images.
    """
    check_subjects(policy, evidence)
    rising = sorted(evidence, key=_ratio)
    steps = tuple(judge_step(policy, list(group)) for _, group in groupby(rising, key=_ratio))
    accepted = tuple(takewhile(lambda step: step.outcome is Outcome.ACCEPTED, steps))
    if accepted:
        return Accepted(candidate=accepted[-1].candidate, ratio=accepted[-1].ratio, steps=steps)
    first, reasons = steps[0], explain(policy, steps[0])
    if first.outcome is Outcome.VIOLATED:
        return Rejected(steps=steps, reasons=reasons)
    return Undecided(steps=steps, reasons=reasons, images_needed=_step_needs(policy, first))


def judge_step(policy: Policy, evidence: Sequence[Evidence]) -> Step:
    """One candidate under every rule of the policy, enforced or advisory.

    Raises:
        VerdictError: evidence for a rule is missing, given twice or of another kind than the rule
            asks for, or is about more than one candidate, ratio, dense model or set of images (a
            rule with a folder has a set of its own), or about no images.
    """
    check_subjects(policy, evidence)
    counts = counts_by_rule(policy, evidence)
    # A violation at any of several cells rejects, so that each is tested at its share of alpha. The
    # waived ones keep theirs, so that a waiver changes the outcome of no cell.
    alpha_violated = policy.alpha / len(policy.enforced)
    cells = tuple(
        _cell(rule, counts[rule.id], policy=policy, alpha_violated=alpha_violated)
        for rule in policy.shifts
    )
    return Step(
        ratio=evidence[0].ratio,
        candidate=evidence[0].candidate,
        cells=cells,
        outcome=_joint_outcome(cell.outcome for cell in cells if cell.decides),
    )


def explain(policy: Policy, step: Step) -> tuple[str, ...]:
    """Why the step is not accepted, one sentence per cell that stands in the way; () if it is."""
    if step.outcome is Outcome.ACCEPTED:
        return ()
    in_the_way = (c for c in step.cells if c.decides and c.outcome is step.outcome)
    return tuple(describe(policy, step, cell) for cell in in_the_way)


def describe(policy: Policy, step: Step, cell: Cell) -> str:
    """One sentence on a cell of the step that is not accepted: why, and what would decide it."""
    where = f"at ratio {step.ratio:.2f}"
    if cell.counts.n < cell.min_images:
        return (
            f"{where} {cell.shift} was measured on {cell.counts.n:,} images; "
            f"the policy asks for at least {cell.min_images:,}"
        )
    low, high = cell.interval
    interval = f"[{_percent(low)}, {_percent(high)}]"
    statistic = cell.counts.statistic
    observed = f"the {statistic} on {cell.shift} is {_percent(cell.counts.drop)} % {interval}"
    tolerance = f"the tolerance of {_percent(cell.tolerance)} %"
    if cell.outcome is Outcome.VIOLATED:
        return f"{where} {observed}, above {tolerance}"
    images = _cell_needs(policy, cell)
    remedy = (
        f"more images promise no acceptance, because the observed {statistic} is not below it"
        if images is None
        else f"about {images:,} images would decide, if the truth is what was observed"
    )
    return f"{where} {observed}, neither shown to be below {tolerance} nor above it; {remedy}"


def _ratio(evidence: Evidence) -> float:
    return evidence.ratio


def _distress(cell: Cell) -> tuple[int, float, float]:
    rank = _FROM_BEST_TO_WORST.index(cell.outcome)
    return rank, cell.p_safe, cell.counts.drop - cell.tolerance


def _cell(rule: Rule, counts: Counts, *, policy: Policy, alpha_violated: float) -> Cell:
    found = infer(counts, rule.tolerance, alpha=policy.alpha)
    min_images = policy.images_needed(rule)
    if counts.n < min_images:
        outcome = Outcome.UNDECIDED
    elif found.p_safe <= policy.alpha:
        outcome = Outcome.ACCEPTED
    elif found.p_violated <= alpha_violated:
        outcome = Outcome.VIOLATED
    else:
        outcome = Outcome.UNDECIDED
    return Cell(
        shift=rule.id,
        tolerance=rule.tolerance,
        enforced=rule.enforced,
        waived=rule.enforced and rule not in policy.deciding,
        min_images=min_images,
        counts=counts,
        p_safe=found.p_safe,
        p_violated=found.p_violated,
        interval=found.interval,
        outcome=outcome,
    )


def _joint_outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """Violated if any is, else undecided if any is, else accepted."""
    return max(outcomes, key=_FROM_BEST_TO_WORST.index)


def _step_needs(policy: Policy, step: Step) -> int | None:
    """Images that would decide every undecided cell; None when some cell promises no acceptance."""
    undecided = [c for c in step.cells if c.decides and c.outcome is Outcome.UNDECIDED]
    needs = [_cell_needs(policy, cell) for cell in undecided]
    known = [number for number in needs if number is not None]
    return max(known) if len(known) == len(needs) else None


def _cell_needs(policy: Policy, cell: Cell) -> int | None:
    if cell.counts.n < cell.min_images:
        return cell.min_images
    estimate = needed(cell.counts, cell.tolerance, alpha=policy.alpha, power=POWER)
    # These images did not decide, whatever the estimate from them says.
    return None if estimate is None else max(estimate, cell.counts.n + 1)


def _percent(share: float) -> str:
    # A drop of -0.0004 is "0.0", not "-0.0".
    return f"{round(100 * share, 1) + 0.0:.1f}"
