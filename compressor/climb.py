"""Candidate, evidence, judgement: ratio by ratio, up to the first that is not accepted."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compressor.data import ImageSet
from compressor.files import sha256_of
from compressor.inputs import Inputs, Job
from compressor.ladder import Rung, Watch, Workshop, rung
from compressor.pruning.allocation import UnreachableRatioError
from compressor.pruning.candidate import Candidate
from compressor.pruning.surgery import SurgeryError
from compressor.runs import read_answers, read_evidence, write_answers, write_evidence
from exporters.runtime import Preprocessing, cpu_threads, predictor
from gates import Evidence, Outcome, Undecided, Verdict, judge, judge_step, paired
from gates.measure import Predict, right_answers
from policies import Policy, ShiftRule

GATE_BATCH: Final = 256
"""Images per batch in the gate; part of the plan, since sums may differ in the last bit with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """The rungs that were made, what they amount to, and why there are no more."""

    rungs: tuple[Rung, ...]
    verdict: Verdict
    ladder_end: str | None
    """None when the gate stopped the ladder."""


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
    if len(inputs.gate.labels) < job.policy.min_images:
        return Climb(rungs=(), verdict=_too_few(job, inputs), ladder_end=None)
    evidence: list[Evidence] = []
    rungs: list[Rung] = []
    before: Candidate | None = None
    for ratio in job.project.search.ratios:
        watch.say(f"ratio {ratio:.2f}")
        try:
            with stage("candidates"):
                made = rung(shop, before, ratio=ratio, watch=watch)
        except (UnreachableRatioError, SurgeryError) as end:
            return Climb(
                rungs=tuple(rungs),
                verdict=_verdict(job.policy, evidence, otherwise=str(end)),
                ladder_end=str(end),
            )
        with stage("gate"):
            found = _measure(job, inputs, shop, made, evidence, watch=watch)
        rungs.append(made)
        before = made.candidate
        step = judge_step(job.policy, found)
        watch.say(f"ratio {ratio:.2f}: {step.outcome.value}")
        if step.outcome is not Outcome.ACCEPTED:
            return Climb(rungs=tuple(rungs), verdict=judge(job.policy, evidence), ladder_end=None)
    return Climb(
        rungs=tuple(rungs),
        verdict=judge(job.policy, evidence),
        ladder_end="every ratio of search.ratios was accepted; larger ones were not tried",
    )


def _verdict(policy: Policy, evidence: list[Evidence], *, otherwise: str) -> Verdict:
    """The verdict on what there is; undecided, for the reason given, where there is nothing."""
    if evidence:
        return judge(policy, evidence)
    return Undecided(steps=(), reasons=(otherwise,), images_needed=None)


def _too_few(job: Job, inputs: Inputs) -> Undecided:
    """Said before any candidate is made: no compute can mend a data set that is too small."""
    count, needed = len(inputs.gate.labels), job.policy.min_images
    reason = (
        f"data.gate has {count:,} images, and the policy {job.policy.name} asks for at least "
        f"{needed:,}; add {needed - count:,} or choose another policy"
    )
    return Undecided(steps=(), reasons=(reason,), images_needed=needed)


def _measure(
    job: Job,
    inputs: Inputs,
    shop: Workshop,
    made: Rung,
    evidence: list[Evidence],
    *,
    watch: Watch,
) -> list[Evidence]:
    """Evidence of one candidate on every shift of the policy; added to ``evidence`` and saved.

    What an earlier invocation found is taken over if it is about these very files and images.
    """
    run, ratio, rules = shop.run, made.candidate.ratio, job.policy.shifts
    preprocessing = Preprocessing(mean=job.project.input.mean, std=job.project.input.std)

    def model(path: Path) -> Predict:
        return predictor(
            path,
            preprocessing,
            provider=inputs.provider.execution_provider,
            threads=cpu_threads(),
        )

    dense = sha256_of(run.dense)
    files = {dense: run.dense, made.sha256: made.file}
    saved = {_subject(item): item for item in read_evidence(run)}
    for index, rule in enumerate(rules):
        known = saved.get((dense, made.sha256, inputs.gate.digest, rule.id))
        if known is not None:
            evidence.append(known)
            continue
        watch.progress(f"gate {ratio:.2f}", index, len(rules), rule.id)
        answers = []
        for sha256, path in files.items():
            place = run.answers(sha256, rule.id)
            right = read_answers(place)
            if right is None:
                right = _answers(model(path), inputs.gate, rule, job=job)
                write_answers(place, right)
            answers.append(right)
        evidence.append(
            Evidence(
                candidate=made.sha256,
                dense=dense,
                ratio=ratio,
                shift=rule.id,
                images=inputs.gate.digest,
                counts=paired(*answers),
            )
        )
        write_evidence(run, evidence)
    watch.progress(f"gate {ratio:.2f}", len(rules), len(rules))
    return [item for item in evidence if item.candidate == made.sha256]


def _subject(evidence: Evidence) -> tuple[str, ...]:
    return (evidence.dense, evidence.candidate, evidence.images, evidence.shift)


def _answers(predict: Predict, gate: ImageSet, rule: ShiftRule, *, job: Job) -> NDArray[np.bool_]:
    return right_answers(
        predict,
        gate,
        shift=rule.name,
        severity=rule.severity,
        seed=job.project.seed,
        profile=job.policy.profile,
        batch_size=GATE_BATCH,
    )
