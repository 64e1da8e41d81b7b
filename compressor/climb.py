"""Candidate, evidence, judgement: ratio by ratio, up to the first that is not accepted."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from compressor.gate import Spent, Subject, describe, observe
from compressor.inputs import Job
from compressor.ladder import Rung, Workshop, rung
from compressor.pruning.allocation import UnreachableRatioError
from compressor.pruning.candidate import Candidate
from compressor.pruning.surgery import SurgeryError
from compressor.report import verdict_on
from compressor.trial import Trial
from compressor.watch import Watch
from gates import Evidence, Outcome, Verdict, judge_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """The rungs that were made, what they amount to, and why there are no more."""

    rungs: tuple[Rung, ...]
    verdict: Verdict
    ladder_end: str | None
    """None when the gate stopped the ladder."""
    evidence: tuple[Evidence, ...]
    spent: Spent
    """What the gate had to do, in this invocation."""


def climb(
    job: Job,
    trial: Trial,
    shop: Workshop,
    *,
    stage: Callable[[str], AbstractContextManager[None]],
    watch: Watch,
) -> Climb:
    """Make and judge candidates in ascending order.

    Raises:
        TrainingError, ExportError, MeasureError, RunError: a stage failed.
    """
    evidence: list[Evidence] = []
    rungs: list[Rung] = []
    spent = Spent()
    before: Candidate | None = None
    end: str | None = "every ratio of search.ratios was accepted; larger ones were not tried"
    for position, ratio in enumerate(job.project.search.ratios):
        watch.say(ratio_name(ratio))
        try:
            with stage("candidates"):
                made = rung(shop, before, ratio=ratio, watch=watch)
        except (UnreachableRatioError, SurgeryError) as error:
            end = str(error)
            break
        subject = Subject(
            name=ratio_name(ratio), position=position, ratio=ratio, file=made.file,
            sha256=made.sha256,
        )  # fmt: skip
        with stage("gate"):
            seen = observe(trial, subject, before=evidence, watch=watch)
        rungs.append(made)
        evidence += seen.evidence
        spent += seen.spent
        before = made.candidate
        step = judge_step(job.policy, seen.evidence)
        watch.say(f"{step.name}: {step.outcome.value}{describe(seen.spent)}")
        if step.outcome is not Outcome.ACCEPTED:
            end = None
            break
    return Climb(
        rungs=tuple(rungs),
        verdict=verdict_on(job.policy, evidence, end=end),
        ladder_end=end,
        evidence=tuple(evidence),
        spent=spent,
    )


def ratio_name(ratio: float) -> str:
    """What people call the candidate of a ratio."""
    return f"ratio {ratio:.2f}"
