"""The decision: evidence and a policy in, Accepted, Rejected or Undecided out.

One cell is one shift for one candidate; its hypothesis "the drop is at least the tolerance" must be
rejected at the policy's alpha. A candidate is accepted when every enforced cell is: a model that
breaks any tolerance must pass the very test that it fails with a chance of 1 - alpha, so that no
correction for the number of shifts is due (intersection-union test). Candidates are judged in a
fixed order, less risky ones first, up to the first that is not accepted, each at the full alpha: an
unsafe one can be accepted only if the first unsafe one is, a chance of at most alpha (fixed
sequence). So:

    If the images are an independent sample of each shift and nothing else was decided with them,
    the chance that an accepted model exceeds any tolerance of its policy is at most alpha.

The images may be looked at several times as they are measured (``policy.method``): each look has
its share of alpha, so that the chances of an error at any of them add up to alpha at most; or the
test is one that holds whenever one stops. A candidate that is shown to violate a tolerance need not
be measured further.

A waived cell is tested and shown as ever and does not stand in the way. About its shift nothing is
promised then; about the others the same as before, since the argument above holds for any set of
shifts that was fixed beforehand, the unwaived ones too, and each of them has the full alpha anyway.

Which test a cell gets follows from its kind of counts (``gates.inference``). "Drop" stands for what
the rule's metric loses: on images without labels, the flip rate, which no drop exceeds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Final

from gates.cell import Cell, Outcome, describe, images_to_decide, judge_cell
from gates.coherence import VerdictError, check_subjects, evidence_by_rule
from gates.evidence import Evidence
from policies import Policy

_FROM_BEST_TO_WORST: Final = (Outcome.ACCEPTED, Outcome.UNDECIDED, Outcome.VIOLATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One candidate of the sequence, all its cells, and what they amount to.

    Attributes:
        name: what people call the candidate.
        position: its place in the sequence, from 0.
        ratio: share of parameters asked to be removed; None where nobody here pruned it.
        candidate: sha256 of the judged file.
        cells: one for each rule that it was measured on.
        not_measured: ids of the other rules; a violation had decided.
        outcome: of the cells that decide.
        chain: which of several sequences it is in; None where there is one.
    """

    name: str
    position: int
    ratio: float | None
    candidate: str
    cells: tuple[Cell, ...]
    not_measured: tuple[str, ...]
    outcome: Outcome
    chain: str | None = None

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
    name: str
    position: int
    ratio: float | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Even the first candidate exceeds a tolerance, with a chance of error of at most alpha.

    Or all tolerances are kept, and the model is not as much faster as the policy asks for.
    """

    steps: tuple[Step, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """The evidence is too thin to accept the first candidate and too thin to reject it.

    Attributes:
        steps: all candidates with evidence, in their order.
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
    """The verdict on all candidates that there is evidence of.

    Steps after the first that is not accepted are kept for the reader and decide nothing: a riskier
    candidate that passes after a failure is luck, not safety. Evidence of shifts that the policy
    does not name is not looked at.

    Raises:
        VerdictError: there is no evidence, or what ``judge_step`` raises, or evidence of different
            candidates is about different dense models or images; or their ratios do not rise.
    """
    check_subjects(policy, evidence)
    rising = sorted(evidence, key=_position)
    steps = tuple(judge_step(policy, list(group)) for _, group in groupby(rising, key=_position))
    _check_order(steps)
    accepted = tuple(takewhile(lambda step: step.outcome is Outcome.ACCEPTED, steps))
    if accepted:
        last = accepted[-1]
        return Accepted(
            candidate=last.candidate,
            name=last.name,
            position=last.position,
            ratio=last.ratio,
            steps=steps,
        )
    first, reasons = steps[0], explain(policy, steps[0])
    if first.outcome is Outcome.VIOLATED:
        return Rejected(steps=steps, reasons=reasons)
    return Undecided(steps=steps, reasons=reasons, images_needed=_step_needs(policy, first))


def judge_step(policy: Policy, evidence: Sequence[Evidence]) -> Step:
    """One candidate under every rule of the policy, enforced or advisory.

    Raises:
        VerdictError: evidence for a rule is missing although nothing is violated, given twice or
            of another kind than the rule asks for, or is about more than one candidate, dense model
            or set of images (a rule with a folder has a set of its own), or about no images.
    """
    check_subjects(policy, evidence)
    found = evidence_by_rule(policy, evidence)
    cells = tuple(
        judge_cell(policy, rule, found[rule.id].counts, look=found[rule.id].look)
        for rule in policy.shifts
        if rule.id in found
    )
    missing = tuple(rule.id for rule in policy.shifts if rule.id not in found)
    violated = any(cell.decides and cell.outcome is Outcome.VIOLATED for cell in cells)
    first = evidence[0]
    if missing and (policy.method == "fixed" or not violated):
        raise VerdictError(
            f"{first.name}: there is no evidence of {', '.join(missing)}; measure it"
        )
    return Step(
        name=first.name,
        position=first.position,
        ratio=first.ratio,
        candidate=first.candidate,
        cells=cells,
        not_measured=missing,
        outcome=_joint_outcome(cell.outcome for cell in cells if cell.decides),
        chain=first.chain,
    )


def explain(policy: Policy, step: Step) -> tuple[str, ...]:
    """Why the step is not accepted, one sentence per cell that stands in the way; () if it is."""
    if step.outcome is Outcome.ACCEPTED:
        return ()
    in_the_way = (c for c in step.cells if c.decides and c.outcome is step.outcome)
    return tuple(describe(policy, cell, name=step.name) for cell in in_the_way)


def _position(evidence: Evidence) -> int:
    return evidence.position


def _check_order(steps: Sequence[Step]) -> None:
    """Ratios that are known rise along the sequence: a larger cut is the riskier one."""
    ratios = [step.ratio for step in steps if step.ratio is not None]
    if ratios != sorted(set(ratios)):
        raise VerdictError(
            f"the ratios of the sequence are {ratios}; they must rise from one to the next"
        )


def _distress(cell: Cell) -> tuple[int, float, float]:
    rank = _FROM_BEST_TO_WORST.index(cell.outcome)
    return rank, cell.p_safe, cell.counts.drop - cell.tolerance


def _joint_outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """Violated if any is, else undecided if any is, else accepted."""
    return max(outcomes, key=_FROM_BEST_TO_WORST.index)


def _step_needs(policy: Policy, step: Step) -> int | None:
    """Images that would decide every undecided cell; None when some cell promises no acceptance."""
    undecided = [c for c in step.cells if c.decides and c.outcome is Outcome.UNDECIDED]
    needs = [images_to_decide(policy, cell) for cell in undecided]
    known = [number for number in needs if number is not None]
    return max(known) if len(known) == len(needs) else None
