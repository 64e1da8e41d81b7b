"""Several sequences of candidates at once, and which of what they accept is released.

A network in several precisions is several candidates, none of which is surely riskier than another:
they are in no fixed order. So each precision is a sequence of its own, up to the first that is not
accepted, and each is judged at an equal share of alpha. An unsafe candidate is accepted in one of
them with a chance of at most that share (fixed sequence), in any of them with at most alpha (union
bound, Bonferroni). Which of the accepted ones is released may then be chosen by anything at all
that is not the gate's images: by speed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from gates.cell import Outcome
from gates.coherence import VerdictError, check_subjects
from gates.evidence import Evidence
from gates.speed import Speed, describe_speed, judge_speed, speed_of
from gates.verdict import Accepted, Rejected, Step, Undecided, Verdict, judge
from policies import Policy

ONE: Final[tuple[str | None, ...]] = (None,)
"""The only sequence of a run that has one."""


def judge_chains(
    policy: Policy,
    evidence: Sequence[Evidence],
    *,
    chains: Sequence[str | None] = ONE,
    speeds: Sequence[Speed] = (),
    batch: int = 1,
) -> Verdict:
    """The verdict on all candidates of all sequences; of several accepted, the fastest.

    Args:
        policy: what is judged by.
        evidence: of every candidate that was measured.
        chains: the sequences that were planned, measured or not; they share alpha.
        speeds: of the last accepted candidate of each sequence.
        batch: images per call at which they are compared, where the policy does not say it.

    Raises:
        VerdictError: the evidence does not fit the policy, itself or ``chains``, or nobody measured
            how fast what it accepts is.
    """
    check_subjects(policy, evidence)
    found = judge_each(policy, evidence, chains=chains)
    accepted = [verdict for verdict in found.values() if isinstance(verdict, Accepted)]
    every = (step for verdict in found.values() for step in verdict.steps)
    steps = tuple(sorted(every, key=lambda step: step.position))
    if not accepted:
        return _not_accepted(list(found.values()), steps)
    at = batch if policy.min_speedup is None else policy.min_speedup.batch
    fastest = replace(_fastest(accepted, speeds, batch=at), steps=steps)
    return _if_fast_enough(policy, fastest, speeds)


def judge_each(
    policy: Policy, evidence: Sequence[Evidence], *, chains: Sequence[str | None]
) -> Mapping[str | None, Verdict]:
    """The verdict of each sequence that there is evidence of, each at its share of alpha.

    Raises:
        VerdictError: as for ``judge_chains``, apart from speeds.
    """
    if strange := sorted({str(e.chain) for e in evidence if e.chain not in chains}):
        planned = ", ".join(map(str, chains))
        raise VerdictError(
            f"there is evidence of the sequence {', '.join(strange)}, and planned are {planned}"
        )
    share = policy.shared_among(len(chains))
    own = {chain: [item for item in evidence if item.chain == chain] for chain in chains}
    return {chain: judge(share, items) for chain, items in own.items() if items}


def needs_speed(policy: Policy, verdicts: Mapping[str | None, Verdict]) -> bool:
    """Whether it takes a measurement to say which candidate is released, or whether."""
    accepted = sum(isinstance(verdict, Accepted) for verdict in verdicts.values())
    return accepted > 1 or (accepted == 1 and policy.min_speedup is not None)


def _fastest(accepted: Sequence[Accepted], speeds: Sequence[Speed], *, batch: int) -> Accepted:
    if len(accepted) == 1:
        return accepted[0]
    return max(accepted, key=lambda verdict: _speed(verdict, speeds, batch=batch).times)


def _speed(verdict: Accepted, speeds: Sequence[Speed], *, batch: int) -> Speed:
    found = speed_of(speeds, verdict.candidate, batch=batch)
    if found is None:
        raise VerdictError(
            f"nobody measured how fast {verdict.name} is at batch {batch}, and the verdict hangs "
            "on it; measure it"
        )
    return found


def _if_fast_enough(policy: Policy, verdict: Accepted, speeds: Sequence[Speed]) -> Verdict:
    rule = policy.min_speedup
    if rule is None:
        return verdict
    speed = _speed(verdict, speeds, batch=rule.batch)
    outcome, said = judge_speed(rule, speed), describe_speed(rule, speed, name=verdict.name)
    if outcome is Outcome.ACCEPTED:
        return verdict
    reasons = (f"{verdict.name} keeps every tolerance, but {said}",)
    if outcome is Outcome.VIOLATED:
        return Rejected(steps=verdict.steps, reasons=reasons)
    return Undecided(steps=verdict.steps, reasons=reasons, images_needed=None)


def _not_accepted(found: Sequence[Verdict], steps: tuple[Step, ...]) -> Verdict:
    """Rejected if every sequence is; what is undecided in one of them may yet be accepted."""
    open_ = [verdict for verdict in found if isinstance(verdict, Undecided)]
    reasons = tuple(
        dict.fromkeys(
            reason
            for verdict in found
            if isinstance(verdict, Rejected | Undecided)
            for reason in verdict.reasons
        )
    )
    if not open_:
        return Rejected(steps=steps, reasons=reasons)
    needs = [verdict.images_needed for verdict in open_ if verdict.images_needed is not None]
    return Undecided(steps=steps, reasons=reasons, images_needed=min(needs, default=None))
