"""Candidate, evidence, judgement: ratio by ratio, up to the first that is not accepted."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from compressor.gate import observe
from compressor.inputs import Inputs, Job
from compressor.ladder import Rung, Watch, Workshop, rung
from compressor.pruning.allocation import UnreachableRatioError
from compressor.pruning.candidate import Candidate
from compressor.pruning.surgery import SurgeryError
from compressor.report import verdict_on
from gates import Evidence, Outcome, Verdict, judge_step
from gates.measure import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """The rungs that were made, what they amount to, and why there are no more."""

    rungs: tuple[Rung, ...]
    verdict: Verdict
    ladder_end: str | None
    """None when the gate stopped the ladder."""
    gate_seconds: Seconds
    """What the gate's measurements took, in this invocation."""


def climb(
    job: Job,
    inputs: Inputs,
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
    spent = Seconds()
    before: Candidate | None = None
    end: str | None = "every ratio of search.ratios was accepted; larger ones were not tried"
    for ratio in job.project.search.ratios:
        watch.say(f"ratio {ratio:.2f}")
        try:
            with stage("candidates"):
                made = rung(shop, before, ratio=ratio, watch=watch)
        except (UnreachableRatioError, SurgeryError) as error:
            end = str(error)
            break
        with stage("gate"):
            seen = observe(job, inputs, shop.run, made, before=evidence, watch=watch)
        rungs.append(made)
        evidence += seen.evidence
        spent += seen.seconds
        before = made.candidate
        step = judge_step(job.policy, seen.evidence)
        watch.say(f"ratio {ratio:.2f}: {step.outcome.value}{_spent(seen.seconds)}")
        if step.outcome is not Outcome.ACCEPTED:
            end = None
            break
    return Climb(
        rungs=tuple(rungs),
        verdict=verdict_on(job.policy, evidence, end=end),
        ladder_end=end,
        gate_seconds=spent,
    )


def _spent(seconds: Seconds) -> str:
    """What the gate's time went into; nothing where nothing was measured."""
    if not seconds.total:
        return ""
    shares = ", ".join(
        f"{work} {share / seconds.total:.0%}" for work, share in asdict(seconds).items()
    )
    return f" (measured in {seconds.total:.1f} s: {shares})"
