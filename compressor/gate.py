"""One candidate against the dense model, under every rule of the policy, look by look.

After each look at a rule the gate asks whether what was counted decides it; if so, or if there are
no more images, it goes on to the next rule. What is likely to fail comes first, and a candidate
that is shown to violate a tolerance is measured no further: its fate is known. None of this needs a
correction; ``gates.verdict`` says why.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compressor.answers import Model, Reading, judged_answers, rehearsed_answers
from compressor.data import ImageSet
from compressor.files import sha256_of
from compressor.runs import read_evidence, write_evidence
from compressor.trial import GATE_BATCH, Trial
from compressor.watch import Watch
from gates import Cell, Counts, Evidence, Outcome, infer, judge_cell, look_sizes
from gates.counting import counts_of, in_group
from gates.looks import reading_order
from gates.measure import Seconds
from policies import FolderRule, Policy, Rule

REHEARSAL_IMAGES: Final = 2 * GATE_BATCH
"""Images of the tune split that say which rule is the hardest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A candidate as the gate sees it."""

    name: str
    """What people call it."""
    position: int
    """Its place in the sequence, from 0."""
    ratio: float | None
    """Share of parameters asked to be removed; None where nobody here pruned it."""
    file: Path
    sha256: str
    chain: str | None = None
    """Which of several sequences it is in; None where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Images that models were shown, counted once for each draw."""

    dense: int = 0
    candidates: int = 0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(dense=self.dense + other.dense, candidates=self.candidates + other.candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What this invocation had to do; what an earlier one has measured took nothing."""

    seconds: Seconds = field(default_factory=Seconds)
    passes: Passes = field(default_factory=Passes)

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(seconds=self.seconds + other.seconds, passes=self.passes + other.passes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was seen of one candidate."""

    evidence: tuple[Evidence, ...]
    """In the policy's order, one for each rule that was measured."""
    spent: Spent


def observe(
    trial: Trial, subject: Subject, *, before: Sequence[Evidence], watch: Watch
) -> Observed:
    """Evidence of one candidate, saved with that of the candidates ``before``.

    What an earlier invocation found is taken over if it is about these very files and images.

    Raises:
        MeasureError: a model's answers cannot be counted.
        RunError: the run's evidence or answers are damaged.
    """
    task, rules = f"gate {subject.name}", trial.policy.shifts
    models = _pair(trial, subject)
    saved = {_key(item): item for item in read_evidence(trial.run)}
    order, spent = _hardest_first(trial, models)
    found: dict[str, Evidence] = {}
    images = {rule.id: len(trial.judged(rule).ids) for rule in rules}
    done, total = 0, sum(images.values())
    for rule in order:
        watch.progress(task, done, total, rule.id)
        told = functools.partial(_tell, watch, task, rule, before=done, total=total)
        done += images[rule.id]
        item = saved.get((*_identity(trial, subject, models[0], rule), rule.id))
        if item is None:
            item, more = _measured(trial, subject, rule, models=models, told=told)
            spent += more
        found[rule.id] = item
        seen = [*before, *_ordered(trial.policy, found)]
        write_evidence(trial.run, sorted(seen, key=lambda item: item.position))
        if _is_decided(trial.policy, rule, item):
            break
    watch.progress(task, total, total)
    return Observed(evidence=_ordered(trial.policy, found), spent=spent)


def _ordered(policy: Policy, found: Mapping[str, Evidence]) -> tuple[Evidence, ...]:
    """The evidence in the policy's order, whatever was measured first."""
    return tuple(found[rule.id] for rule in policy.shifts if rule.id in found)


def describe(spent: Spent) -> str:
    """What the gate's time went into, in brackets; nothing where nothing was measured."""
    seconds, passes = spent.seconds, spent.passes
    if not seconds.total:
        return ""
    shares = ", ".join(
        f"{work} {share / seconds.total:.0%}" for work, share in asdict(seconds).items()
    )
    return (
        f" (dense saw {passes.dense:,} images, candidate {passes.candidates:,}, in "
        f"{seconds.total:.1f} s: {shares})"
    )


def _pair(trial: Trial, subject: Subject) -> tuple[Model, Model]:
    return (
        Model(file=trial.dense, sha256=sha256_of(trial.dense), cached=True),
        Model(file=subject.file, sha256=subject.sha256, cached=False),
    )


def _identity(trial: Trial, subject: Subject, dense: Model, rule: Rule) -> tuple[object, ...]:
    images = trial.judged(rule).digest
    return (dense.sha256, subject.sha256, subject.name, subject.position, images)


def _key(item: Evidence) -> tuple[object, ...]:
    return (item.dense, item.candidate, item.name, item.position, item.images, item.shift)


def _tell(watch: Watch, task: str, rule: Rule, seen: int, *, before: int, total: int) -> None:
    """Move the bar: ``seen`` images of the rule are answered, and ``before`` of earlier ones."""
    watch.progress(task, before + seen, total, rule.id)


def _measured(
    trial: Trial,
    subject: Subject,
    rule: Rule,
    *,
    models: tuple[Model, Model],
    told: Callable[[int], None],
) -> tuple[Evidence, Spent]:
    images = trial.judged(rule)
    countable = _countable(trial, rule)
    sizes = look_sizes(trial.policy, len(images.ids), batch=GATE_BATCH)
    # A look at which the rule has no image yet is none.
    there = [(k, size) for k, size in enumerate(sizes, start=1) if countable[:size].any()]
    spent = Spent()
    for look, size in there:
        dense = judged_answers(trial, models[0], rule, count=size)
        pruned = judged_answers(trial, models[1], rule, count=size, on_batch=told)
        spent += _spent(dense, pruned)
        counts = counts_of(rule, dense.answers[:size], pruned.answers[:size], classes=trial.classes)
        cell = judge_cell(trial.policy, rule, counts, look=look)
        if cell.outcome is not Outcome.UNDECIDED or look == len(sizes):
            return _evidence(trial, subject, rule, cell, dense=models[0]), spent
    raise ValueError(f"{rule.id} is about no image of {images.digest}")


def _evidence(trial: Trial, subject: Subject, rule: Rule, cell: Cell, *, dense: Model) -> Evidence:
    return Evidence(
        candidate=subject.sha256,
        dense=dense.sha256,
        name=subject.name,
        position=subject.position,
        ratio=subject.ratio,
        shift=rule.id,
        images=trial.judged(rule).digest,
        look=cell.look,
        counts=cell.counts,
        chain=subject.chain,
    )


def _countable(trial: Trial, rule: Rule) -> NDArray[np.bool_]:
    """Whether the rule counts an image [n], in reading order."""
    images = trial.judged(rule)
    order = reading_order(images.ids, seed=trial.seed)
    if not isinstance(images, ImageSet) or not rule.only:
        return np.ones(len(order), dtype=np.bool_)
    return in_group(rule, images.labels[order], classes=trial.classes)


def _is_decided(policy: Policy, rule: Rule, item: Evidence) -> bool:
    """Whether the evidence is a violation after which nothing else matters."""
    if policy.method == "fixed" or rule not in policy.deciding:
        return False
    return judge_cell(policy, rule, item.counts, look=item.look).outcome is Outcome.VIOLATED


def _hardest_first(trial: Trial, models: tuple[Model, Model]) -> tuple[list[Rule], Spent]:
    """The rules in the order in which they are measured, from images that are not the gate's.

    Rules that decide come before those that do not; of equals, those that the tune split speaks
    against the most; those that it says nothing about (folders, classes that it lacks) last.
    """
    policy, spent = trial.policy, Spent()
    if policy.method == "fixed" or trial.tune is None:
        return list(policy.shifts), spent
    hardness: dict[str, tuple[float, float]] = {}
    for rule in policy.shifts:
        if isinstance(rule, FolderRule):
            continue
        counts, more = rehearse(trial, models, rule, tune=trial.tune)
        spent += more
        if counts is not None:
            found = infer(counts, rule.tolerance, alpha=policy.alpha, method="fixed")
            hardness[rule.id] = (found.p_safe, counts.drop - rule.tolerance)

    def key(rule: Rule) -> tuple[bool, float, float]:
        p, excess = hardness.get(rule.id, (-1.0, 0.0))
        return rule not in policy.deciding, -p, -excess

    return sorted(policy.shifts, key=key), spent


def rehearse(
    trial: Trial,
    models: tuple[Model, Model],
    rule: Rule,
    *,
    tune: ImageSet,
    images: int = REHEARSAL_IMAGES,
) -> tuple[Counts | None, Spent]:
    """What the two models do under a rule on images that are not the gate's; None if it has none.

    Raises:
        MeasureError: a model's answers cannot be counted.
    """
    count = min(images, len(tune.ids))
    order = reading_order(tune.ids, seed=trial.seed)[:count]
    if rule.only and not in_group(rule, tune.labels[order], classes=trial.classes).any():
        return None, Spent()
    dense, pruned = (rehearsed_answers(trial, m, rule, tune=tune, count=count) for m in models)
    counts = counts_of(rule, dense.answers[:count], pruned.answers[:count], classes=trial.classes)
    return counts, _spent(dense, pruned)


def _spent(dense: Reading, pruned: Reading) -> Spent:
    return Spent(
        seconds=dense.seconds + pruned.seconds,
        passes=Passes(dense=dense.passes, candidates=pruned.passes),
    )
