"""One candidate against the dense model, under every rule of the policy."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compressor.data import ImageSet, UnlabelledSet
from compressor.distributions import distribution_of
from compressor.files import sha256_of
from compressor.inputs import Inputs, Job
from compressor.ladder import Rung, Watch
from compressor.runs import (
    Answers,
    RunFolder,
    read_answers,
    read_evidence,
    write_answers,
    write_evidence,
)
from exporters.runtime import Preprocessing, cpu_threads, predictor
from gates import Counts, Evidence, flips, paired, paired_draws
from gates.measure import Predict, Seconds, predicted_classes, right_answers
from policies import FolderRule, Rule

GATE_BATCH: Final = 256
"""Images per batch in the gate; part of the plan, since sums may differ in the last bit with it."""

_Ask = Callable[[Path, Rule], tuple[Answers, Seconds]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was seen of one candidate."""

    evidence: tuple[Evidence, ...]
    """One for each rule of the policy, in its order."""
    seconds: Seconds
    """Of this invocation: what an earlier one has measured took no time."""


def observe(
    job: Job,
    inputs: Inputs,
    run: RunFolder,
    made: Rung,
    *,
    before: Sequence[Evidence],
    watch: Watch,
) -> Observed:
    """Evidence of one candidate under every rule, saved after that of the candidates ``before``.

    What an earlier invocation found is taken over if it is about these very files and images. The
    dense model is measured once for each rule, with the first candidate.

    Raises:
        MeasureError: a model's answers cannot be counted.
        RunError: the run's evidence is damaged.
    """
    task, rules = f"gate {made.candidate.ratio:.2f}", job.policy.shifts
    dense = sha256_of(run.dense)
    saved = {_subject(item): item for item in read_evidence(run)}
    ask = _asking(job, inputs)
    found: list[Evidence] = []
    spent = Seconds()
    for index, rule in enumerate(rules):
        images = inputs.judged(rule).digest
        item = saved.get((dense, made.sha256, images, rule.id))
        if item is None:
            watch.progress(task, index, len(rules), rule.id)
            item, seconds = _measured(run, made, rule, dense=dense, images=images, ask=ask)
            spent += seconds
            write_evidence(run, [*before, *found, item])
        found.append(item)
    watch.progress(task, len(rules), len(rules))
    return Observed(evidence=tuple(found), seconds=spent)


def answers(
    predict: Predict,
    images: ImageSet | UnlabelledSet,
    rule: Rule,
    *,
    seed: int,
    profile: str,
) -> tuple[Answers, Seconds]:
    """What a model answers on the images of a rule, under the rule's distribution.

    Raises:
        MeasureError: the answers cannot be counted.
    """
    if isinstance(images, UnlabelledSet):
        predicted = predicted_classes(predict, images.images, batch_size=GATE_BATCH)
        return predicted.classes, predicted.seconds
    measured = right_answers(
        predict,
        images,
        distribution=distribution_of(rule),
        seed=seed,
        profile=profile,
        batch_size=GATE_BATCH,
    )
    return measured.right, measured.seconds


def counts_of(rule: Rule, dense: Answers, pruned: Answers) -> Counts:
    """What the answers of the two models, image by image, amount to."""
    if isinstance(rule, FolderRule) and rule.labels == "none":
        return flips(dense, pruned)
    if distribution_of(rule).draws == 1:
        return paired(dense[:, 0], pruned[:, 0])
    return paired_draws(dense, pruned)


def _subject(evidence: Evidence) -> tuple[str, ...]:
    return (evidence.dense, evidence.candidate, evidence.images, evidence.shift)


def _asking(job: Job, inputs: Inputs) -> _Ask:
    """A function that asks the model in a file, opened once, for its answers under a rule."""
    preprocessing = Preprocessing(mean=job.project.input.mean, std=job.project.input.std)

    @functools.cache
    def model(path: Path) -> Predict:
        return predictor(
            path,
            preprocessing,
            provider=inputs.provider.execution_provider,
            threads=cpu_threads(),
        )

    def ask(path: Path, rule: Rule) -> tuple[Answers, Seconds]:
        return answers(
            model(path),
            inputs.judged(rule),
            rule,
            seed=job.project.seed,
            profile=job.policy.profile,
        )

    return ask


def _measured(
    run: RunFolder, made: Rung, rule: Rule, *, dense: str, images: str, ask: _Ask
) -> tuple[Evidence, Seconds]:
    of_dense, first = _kept(run.answers(dense, rule.id), lambda: ask(run.dense, rule))
    of_pruned, second = _kept(run.answers(made.sha256, rule.id), lambda: ask(made.file, rule))
    evidence = Evidence(
        candidate=made.sha256,
        dense=dense,
        ratio=made.candidate.ratio,
        shift=rule.id,
        images=images,
        counts=counts_of(rule, of_dense, of_pruned),
    )
    return evidence, first + second


def _kept(place: Path, measure: Callable[[], tuple[Answers, Seconds]]) -> tuple[Answers, Seconds]:
    """The answers that lie at ``place``, or new ones, put there."""
    known = read_answers(place)
    if known is not None:
        return known, Seconds()
    new, seconds = measure()
    write_answers(place, new)
    return new, seconds
