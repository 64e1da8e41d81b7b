"""From a verdict to the record of a run, the one of ``compressor.report_schema``.

Nothing is computed here that the verdict does not hold: the record, the words and the exit code
come from one verdict, so that they cannot disagree.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Final, Literal, assert_never

from compressor.config_schema import Input
from compressor.report_advisories import (
    CalibrationReport,
    ClassDropReport,
    ClassOverlapReport,
    OverlapReport,
)
from compressor.report_schema import CellReport, Report, StepReport
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
    Speed,
    Step,
    Undecided,
    Verdict,
    describe,
    explain,
    judge_chains,
    prune_potential,
)
from gates.advisory import Calibration, ClassDrop
from gates.chains import ONE
from gates.overlap import Overlap
from policies import Policy

EXIT_CODES: Final[Mapping[str, int]] = {"accepted": 0, "rejected": 3, "undecided": 4}

Advisory = tuple[Calibration | None, ClassDrop | None] | Overlap
"""What is told of a cell beside the verdict: of a segmentation the overlap."""

Advisories = Mapping[tuple[int, str], Advisory]
"""The same, by the candidate's position and the rule's id."""

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


def verdict_on(
    policy: Policy,
    evidence: Sequence[Evidence],
    *,
    end: str | None,
    chains: Sequence[str | None] = ONE,
    speeds: Sequence[Speed] = (),
    batch: int = 1,
) -> Verdict:
    """The verdict on what there is; undecided where there is nothing, for what ended the ladder.

    Raises:
        VerdictError: the evidence does not fit the policy, itself or ``chains``, or nobody measured
            how fast a candidate is where the verdict hangs on it.
    """
    if evidence:
        return judge_chains(policy, evidence, chains=chains, speeds=speeds, batch=batch)
    return Undecided(steps=(), reasons=(end,) if end else (), images_needed=None)


def verdict_fields(policy: Policy, verdict: Verdict) -> dict[str, Any]:
    """The fields of a report that a verdict alone decides."""
    word = name_of(verdict)
    accepted = verdict if isinstance(verdict, Accepted) else None
    if isinstance(verdict, Accepted):
        blocking = {
            s.chain: s for s in reversed(verdict.steps) if s.outcome is not Outcome.ACCEPTED
        }
        reasons = tuple(
            reason
            for chain in dict.fromkeys(step.chain for step in verdict.steps)
            if chain in blocking
            for reason in explain(policy, blocking[chain])
        )
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


def resize_fields(source: Input) -> dict[str, Any]:
    """What a report says of a resize inside the files, of images as ``source`` has them."""
    if source.resize is None:
        return {"resize": None}
    _, height, width = source.size
    return {"resize": {"images": (height, width), "network": source.resize}}


def deciding_steps(report: Report) -> list[StepReport]:
    """The steps up to the first that is not accepted, and that one; later ones decide nothing.

    Where there are several sequences, those of each.
    """
    found = []
    for chain in dict.fromkeys(step.chain for step in report.steps):
        own = [step for step in report.steps if step.chain == chain]
        accepted = list(takewhile(lambda step: step.outcome == Outcome.ACCEPTED, own))
        found += own[: len(accepted) + 1]
    return found


def accepted_step(report: Report) -> StepReport | None:
    """The step of the released candidate; None if none is released."""
    position = report.accepted_position
    return next((step for step in report.steps if step.position == position), None)


def slow_step(report: Report) -> StepReport | None:
    """The step that keeps every tolerance and is not fast enough; None if that is not why."""
    asked = report.min_speedup
    if asked is None or asked.outcome in {None, Outcome.ACCEPTED}:
        return None
    return next((step for step in report.steps if step.position == asked.position), None)


def shown_step(report: Report) -> StepReport | None:
    """The step that says most: the released one, else the one that stopped; None without any.

    Of several sequences that stopped, some of them undecided, the verdict is that of these.
    """
    if slow := slow_step(report):
        return slow
    blocking = [step for step in deciding_steps(report) if step.outcome != Outcome.ACCEPTED]
    unsure = (step for step in blocking if step.outcome == report.verdict)
    last = report.steps[-1] if report.steps else None
    return accepted_step(report) or next(unsure, next(iter(blocking), last))


def step_fields(
    policy: Policy, step: Step, *, advisories: Advisories = NO_ADVISORIES
) -> dict[str, Any]:
    """The fields of a step that its evidence alone decides, and the advisories beside it."""
    return {
        "name": step.name,
        "position": step.position,
        "ratio": step.ratio,
        "chain": step.chain,
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
            **_beside(advisories.get((step.position, cell.shift), (None, None))),
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
    return [
        {"shift": p.shift, "chain": chain, "certified": p.certified, "estimate": p.estimate}
        for chain in dict.fromkeys(step.chain for step in steps)
        for rule in policy.shifts
        for p in [prune_potential([s for s in steps if s.chain == chain], rule.id)]
    ]


def _observed(counts: Counts) -> dict[str, Any]:
    """The fields of a cell that hang on what was counted."""
    match counts:
        case FlipCounts():
            return {"flipped": counts.flipped}
        case ScoreCounts(of="pixels"):
            return {
                "dense_accuracy": 1.0 - counts.dense_score,
                "pruned_accuracy": 1.0 - counts.pruned_score,
            }
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


def _beside(advisory: Advisory) -> dict[str, Any]:
    """The fields of a cell that decide nothing."""
    if isinstance(advisory, Overlap):
        return {"overlap": _overlap(advisory)}
    calibration, worst = advisory
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


def _overlap(found: Overlap) -> OverlapReport:
    worst = found.worst
    return OverlapReport(
        dense=found.dense,
        pruned=found.pruned,
        drop=found.drop,
        interval=found.interval,
        classes=found.classes,
        worst_class=ClassOverlapReport(
            name=worst.name,
            dense=worst.dense,
            pruned=worst.pruned,
            drop=worst.drop,
            interval=worst.interval,
            n=worst.n,
        ),
    )
