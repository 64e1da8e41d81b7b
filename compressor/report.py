"""From a verdict to the record of a run, the one of ``compressor.report_schema``.

Nothing is computed here that the verdict does not hold: the record, the words and the exit code
come from one verdict, so that they cannot disagree.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Final, Literal, assert_never

from compressor.report_schema import (
    CalibrationReport,
    CellReport,
    ClassDropReport,
    Report,
    StepReport,
)
from gates import (
    Accepted,
    Cell,
    Counts,
    DrawCounts,
    Evidence,
    FlipCounts,
    Outcome,
    PairedCounts,
    Rejected,
    ScoreCounts,
    Step,
    Undecided,
    Verdict,
    describe,
    explain,
    judge,
    prune_potential,
)
from gates.advisory import Calibration, ClassDrop
from policies import Policy

EXIT_CODES: Final[Mapping[str, int]] = {"accepted": 0, "rejected": 3, "undecided": 4}

Advisories = Mapping[tuple[int, str], tuple[Calibration | None, ClassDrop | None]]
"""What is told beside the verdict, by the candidate's position and the rule's id."""

NO_ADVISORIES: Final[Advisories] = MappingProxyType({})


def name_of(verdict: Verdict) -> Literal["accepted", "rejected", "undecided"]:
    """The one word for a verdict."""
    match verdict:
        case Accepted():
            return "accepted"
        case Rejected():
            return "rejected"
        case Undecided():
            return "undecided"
        case _:
            assert_never(verdict)


def verdict_on(policy: Policy, evidence: Sequence[Evidence], *, end: str | None) -> Verdict:
    """The verdict on what there is; undecided where there is nothing, for what ended the ladder.

    Raises:
        VerdictError: the evidence does not fit the policy or itself.
    """
    if evidence:
        return judge(policy, evidence)
    return Undecided(steps=(), reasons=(end,) if end else (), images_needed=None)


def verdict_fields(policy: Policy, verdict: Verdict) -> dict[str, Any]:
    """The fields of a report that a verdict alone decides."""
    word = name_of(verdict)
    accepted = verdict if isinstance(verdict, Accepted) else None
    if isinstance(verdict, Accepted):
        blocking = (s for s in verdict.steps if s.outcome is not Outcome.ACCEPTED)
        reasons = next((explain(policy, step) for step in blocking), ())
    else:
        reasons = verdict.reasons
    return {
        "verdict": word,
        "exit_code": EXIT_CODES[word],
        "policy": policy.name,
        "policy_digest": policy.digest(),
        "method": policy.method,
        "alpha": policy.alpha,
        "alpha_per_release": policy.alpha_per_release,
        "accepted_name": accepted.name if accepted else None,
        "accepted_position": accepted.position if accepted else None,
        "accepted_ratio": accepted.ratio if accepted else None,
        "reasons": list(reasons),
        "waivers": [waiver.model_dump(mode="json") for waiver in policy.waived],
        "images_needed": verdict.images_needed if isinstance(verdict, Undecided) else None,
        "potentials": _potentials(policy, verdict.steps),
    }


def deciding_steps(report: Report) -> list[StepReport]:
    """The steps up to the first that is not accepted, and that one; later ones decide nothing."""
    accepted = list(takewhile(lambda step: step.outcome == Outcome.ACCEPTED, report.steps))
    return report.steps[: len(accepted) + 1]


def accepted_step(report: Report) -> StepReport | None:
    """The step of the released candidate; None if none is released."""
    position = report.accepted_position
    return next((step for step in report.steps if step.position == position), None)


def step_fields(
    policy: Policy, step: Step, *, advisories: Advisories = NO_ADVISORIES
) -> dict[str, Any]:
    """The fields of a step that its evidence alone decides, and the advisories beside it."""
    return {
        "name": step.name,
        "position": step.position,
        "ratio": step.ratio,
        "candidate": step.candidate,
        "outcome": step.outcome.value,
        "binding": step.binding.shift,
        "cells": cell_reports(policy, step, advisories=advisories),
        "not_measured": list(step.not_measured),
    }


def cell_reports(
    policy: Policy, step: Step, *, advisories: Advisories = NO_ADVISORIES
) -> list[CellReport]:
    """The cells of a step as records."""
    return [
        CellReport(
            shift=cell.shift,
            enforced=cell.enforced,
            waived=cell.waived,
            statistic=cell.statistic,
            tolerance=cell.tolerance,
            look=cell.look,
            n=cell.counts.n,
            drop=cell.counts.drop,
            interval=cell.interval,
            alpha=cell.alpha,
            p_safe=cell.p_safe,
            p_violated=cell.p_violated,
            outcome=cell.outcome.value,
            sentence=_sentence(policy, step, cell),
            **_observed(cell.counts),
            **_beside(*advisories.get((step.position, cell.shift), (None, None))),
        )
        for cell in step.cells
    ]


def _sentence(policy: Policy, step: Step, cell: Cell) -> str | None:
    if cell.outcome is Outcome.ACCEPTED:
        return None
    return describe(policy, cell, name=step.name)


def _potentials(policy: Policy, steps: Sequence[Step]) -> list[dict[str, object]]:
    """Of each rule; none where no step has a ratio."""
    if all(step.ratio is None for step in steps):
        return []
    found = (prune_potential(steps, rule.id) for rule in policy.shifts)
    return [{"shift": p.shift, "certified": p.certified, "estimate": p.estimate} for p in found]


def _observed(counts: Counts) -> dict[str, Any]:
    """The fields of a cell that hang on what was counted."""
    match counts:
        case FlipCounts():
            return {"flipped": counts.flipped}
        case ScoreCounts():
            return {"dense_score": counts.dense_score, "pruned_score": counts.pruned_score}
        case PairedCounts():
            own = {"only_dense": counts.only_dense, "only_pruned": counts.only_pruned}
            return {**own, **_rates(counts)}
        case DrawCounts():
            return {"draws": counts.draws, "differences": counts.differences, **_rates(counts)}


def _rates(counts: PairedCounts | DrawCounts) -> dict[str, float]:
    return {
        "dense_accuracy": counts.dense_accuracy,
        "pruned_accuracy": counts.pruned_accuracy,
        "discordance": counts.discordance,
    }


def _beside(calibration: Calibration | None, worst: ClassDrop | None) -> dict[str, Any]:
    """The fields of a cell that decide nothing."""
    return {
        "calibration": calibration
        and CalibrationReport(
            dense=calibration.dense,
            pruned=calibration.pruned,
            growth=calibration.growth,
            interval=calibration.interval,
        ),
        "worst_class": worst
        and ClassDropReport(name=worst.name, drop=worst.drop, interval=worst.interval, n=worst.n),
    }
