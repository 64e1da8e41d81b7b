"""The decision: evidence and a policy in, Accepted, Rejected or Undecided out.

One cell is one shift at one ratio; its hypothesis "the drop is at least the tolerance" must be
rejected at the policy's alpha. A ratio is accepted when every enforced cell is: a model that breaks
any tolerance must pass the very test that it fails with a chance of 1 - alpha, so that no
correction for the number of shifts is due (intersection-union test). Ratios are judged in ascending
order up to the first that is not accepted, each at the full alpha: an unsafe model can be accepted
only if the first unsafe ratio is, a chance of at most alpha (fixed sequence). So:

    If the gate's images are an independent sample of each shift and nothing else was decided with
    them, the chance that an accepted model exceeds any tolerance of its policy is at most alpha.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, takewhile
from typing import Final

from gates.evidence import Evidence, PairedCounts
from gates.statistics import drop_interval, images_needed, p_drop_at_least, p_drop_at_most
from policies import Policy, ShiftRule

INTERVAL_CONFIDENCE: Final = 0.95
"""Of the two-sided intervals that are shown; the decision rests on the p-values."""

POWER: Final = 0.9
"""Chance with which the advised number of images decides a cell."""


class VerdictError(ValueError):
    """The evidence does not fit the policy or itself, so that nothing can be judged."""


class Outcome(StrEnum):
    """What the evidence shows: the tolerance is kept, is exceeded, or neither."""

    ACCEPTED = "accepted"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One shift at one ratio.

    Attributes:
        shift: ``ShiftRule.id``.
        tolerance: largest accepted drop, absolute.
        enforced: whether the cell counts in the decision; if not, it is only shown.
        counts: what was observed.
        p_safe: p-value of "the drop is at least the tolerance"; small means safe.
        p_violated: p-value of "the drop is at most the tolerance"; small means violated.
        interval: two-sided interval of the drop, of INTERVAL_CONFIDENCE.
        outcome: of this cell alone.
    """

    shift: str
    tolerance: float
    enforced: bool
    counts: PairedCounts
    p_safe: float
    p_violated: float
    interval: tuple[float, float]
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rung of the ladder of ratios: a candidate, all its cells, and what they amount to."""

    ratio: float
    candidate: str
    cells: tuple[Cell, ...]
    outcome: Outcome


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
        images_needed: images that would decide if the truth is what was observed; None when the
            observed drop is not below the tolerance, where more images promise no acceptance.
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
    _require_one("dense model", (item.dense for item in evidence))
    _require_one("set of images", (item.images for item in evidence))
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
        VerdictError: evidence for a rule is missing or given twice, or is about more than one
            candidate, ratio, dense model or set of images, or about no images.
    """
    _require_one("candidate", (item.candidate for item in evidence))
    _require_one("ratio", (str(item.ratio) for item in evidence))
    _require_one("dense model", (item.dense for item in evidence))
    _require_one("set of images", (item.images for item in evidence))
    counts = _counts_by_shift(policy, evidence)
    # A violation at any of several cells rejects, so that each is tested at its share of alpha.
    alpha_violated = policy.alpha / len(policy.enforced)
    cells = tuple(
        _cell(rule, counts[rule.id], policy=policy, alpha_violated=alpha_violated)
        for rule in policy.shifts
    )
    return Step(
        ratio=evidence[0].ratio,
        candidate=evidence[0].candidate,
        cells=cells,
        outcome=_joint_outcome(cell.outcome for cell in cells if cell.enforced),
    )


def explain(policy: Policy, step: Step) -> tuple[str, ...]:
    """Why the step is not accepted, one sentence per cell that stands in the way; () if it is."""
    if step.outcome is Outcome.ACCEPTED:
        return ()
    in_the_way = (c for c in step.cells if c.enforced and c.outcome is step.outcome)
    return tuple(_sentence(policy, step, cell) for cell in in_the_way)


def _ratio(evidence: Evidence) -> float:
    return evidence.ratio


def _require_one(what: str, values: Iterable[str]) -> None:
    seen = sorted(set(values))
    if not seen:
        raise VerdictError("there is no evidence to judge; measure at least one candidate")
    if len(seen) > 1:
        raise VerdictError(
            f"the evidence is of more than one {what}: {', '.join(value[:12] for value in seen)}; "
            "judge together what was measured together"
        )


def _counts_by_shift(policy: Policy, evidence: Sequence[Evidence]) -> dict[str, PairedCounts]:
    """The counts of the policy's rules, checked to be there once and to be of the same images."""
    where = f"at ratio {evidence[0].ratio:.2f}"
    given = Counter(item.shift for item in evidence)
    if missing := [rule.id for rule in policy.shifts if not given[rule.id]]:
        raise VerdictError(f"{where} there is no evidence of {', '.join(missing)}; measure it")
    if doubled := [rule.id for rule in policy.shifts if given[rule.id] > 1]:
        raise VerdictError(f"{where} there is evidence twice of {', '.join(doubled)}; give one")
    wanted = {rule.id for rule in policy.shifts}
    counts = {item.shift: item.counts for item in evidence if item.shift in wanted}
    sizes = sorted({item.n for item in counts.values()})
    if len(sizes) > 1:
        raise VerdictError(
            f"{where} shifts were measured on {sizes} images; measure all on the same"
        )
    if sizes == [0]:
        raise VerdictError(f"{where} no images were measured; give the gate some")
    return counts


def _cell(rule: ShiftRule, counts: PairedCounts, *, policy: Policy, alpha_violated: float) -> Cell:
    p_safe = p_drop_at_least(counts, rule.tolerance)
    p_violated = p_drop_at_most(counts, rule.tolerance)
    # Never both: the two p-values add up to more than 1, and alpha is below one half.
    if counts.n < policy.min_images:
        outcome = Outcome.UNDECIDED
    elif p_safe <= policy.alpha:
        outcome = Outcome.ACCEPTED
    elif p_violated <= alpha_violated:
        outcome = Outcome.VIOLATED
    else:
        outcome = Outcome.UNDECIDED
    return Cell(
        shift=rule.id,
        tolerance=rule.tolerance,
        enforced=rule.enforced,
        counts=counts,
        p_safe=p_safe,
        p_violated=p_violated,
        interval=drop_interval(counts, confidence=INTERVAL_CONFIDENCE),
        outcome=outcome,
    )


def _joint_outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """Violated if any is, else undecided if any is, else accepted."""
    seen = set(outcomes)
    for outcome in (Outcome.VIOLATED, Outcome.UNDECIDED):
        if outcome in seen:
            return outcome
    return Outcome.ACCEPTED


def _sentence(policy: Policy, step: Step, cell: Cell) -> str:
    where = f"at ratio {step.ratio:.2f}"
    if cell.counts.n < policy.min_images:
        return (
            f"{where} {cell.shift} was measured on {cell.counts.n:,} images; "
            f"the policy asks for at least {policy.min_images:,}"
        )
    low, high = cell.interval
    interval = f"[{_percent(low)}, {_percent(high)}]"
    drop = f"the drop on {cell.shift} is {_percent(cell.counts.drop)} % {interval}"
    tolerance = f"the tolerance of {_percent(cell.tolerance)} %"
    if cell.outcome is Outcome.VIOLATED:
        return f"{where} {drop}, above {tolerance}"
    needed = _cell_needs(policy, cell)
    remedy = (
        "more images promise no acceptance, because the observed drop is not below it"
        if needed is None
        else f"about {needed:,} images would decide, if the truth is what was observed"
    )
    return f"{where} {drop}, neither shown to be below {tolerance} nor above it; {remedy}"


def _step_needs(policy: Policy, step: Step) -> int | None:
    """Images that would decide every undecided cell; None when some cell promises no acceptance."""
    undecided = [c for c in step.cells if c.enforced and c.outcome is Outcome.UNDECIDED]
    needs = [_cell_needs(policy, cell) for cell in undecided]
    known = [number for number in needs if number is not None]
    return max(known) if len(known) == len(needs) else None


def _cell_needs(policy: Policy, cell: Cell) -> int | None:
    counts = cell.counts
    if counts.n < policy.min_images:
        return policy.min_images
    if counts.drop >= cell.tolerance:
        return None
    estimate = images_needed(
        tolerance=cell.tolerance,
        discordance=counts.discordance,
        drop=counts.drop,
        alpha=policy.alpha,
        power=POWER,
    )
    # These images did not decide, whatever the estimate from them says.
    return max(estimate, counts.n + 1)


def _percent(share: float) -> str:
    # A drop of -0.0004 is "0.0", not "-0.0".
    return f"{round(100 * share, 1) + 0.0:.1f}"
