"""What a candidate is expected to do: seen on other images, in an earlier run, or assumed.

Nothing here looks at the gate's images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from compressor.answers import Model, rehearsed_answers
from compressor.config import ConfigError
from compressor.data import ImageSet
from compressor.gate import rehearse
from compressor.measurement import measurement_of
from compressor.report_schema import Report
from compressor.runs import RunError, RunFolder, read_evidence
from compressor.trial import GATE_BATCH, Trial
from compressor.watch import Watch
from gates import Counts, Evidence, ScoreCounts
from gates.expectation import assumed, fits
from policies import FolderRule, Policy

USUAL: Final = (0.05, 0.10, 0.20)
"""Discordances that retrained networks with whole channels removed usually have."""

# Share of the discordance that is lost at most, where half a tolerance is more: all that a score
# can lose is half of it.
_MOST_LOST: Final = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is expected of a candidate, by the ids of the policy's rules; unknown where none is."""

    source: str
    """Where it is from, as a sentence."""
    discordance: float | None = None
    """What is assumed; None where something was seen."""
    counts: Mapping[str, Counts]
    stand_ins: frozenset[str] = frozenset()
    """Rules of which something alike was seen: unshifted images in place of a folder's."""
    scores: Mapping[str, ScoreCounts] = field(default_factory=dict)
    """Growth of the Brier score under rules of right answers."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """That one image takes under one draw, reading and shifting it included, by measurement."""


def assumptions(policy: Policy, discordance: float, *, seconds: Mapping[str, float]) -> Expectation:
    """The same discordance under every rule, and half the tolerance lost; times as measured."""
    counts = {
        rule.id: assumed(
            rule,
            discordance=discordance,
            drop=min(rule.tolerance / 2, _MOST_LOST * discordance),
        )
        for rule in policy.shifts
    }
    source = (
        f"a discordance of {100 * discordance:g} % under every rule, and half of each tolerance "
        "lost; both are assumed"
    )
    return Expectation(source=source, discordance=discordance, counts=counts, seconds=seconds)


def from_run(policy: Policy, folder: Path, *, gate: str) -> Expectation:
    """What the last candidate that was measured on all rules of an earlier run did there.

    The last of a sequence is the first that was not accepted, if any: the one to plan for.
    ``gate`` is the digest of the gate's images now.

    Raises:
        RunError: the folder has no evidence, none that fits the policy, or it is damaged.
    """
    run = RunFolder(path=folder)
    evidence = read_evidence(run)
    if not evidence:
        raise RunError(f"there is no evidence in {folder}; give the folder of a run of the gate")
    last = _last_complete(evidence)
    rules = {rule.id: rule for rule in policy.shifts}
    counts = {
        item.shift: item.counts
        for item in last
        if item.shift in rules and item.counts.n and fits(rules[item.shift], item.counts)
    }
    if not counts:
        raise RunError(
            f"the run in {folder} measured {', '.join(item.shift for item in last)}, none of which "
            f"the policy {policy.name} judges in that way; give a run under this policy"
        )
    each = _seconds_per_pass(run)
    source = f"as {last[0].name} did in {folder}"
    if any(item.images == gate for item in last):
        source += (
            ", on these very images: they can promise nothing of a policy that is chosen by what "
            "they showed"
        )
    return Expectation(
        source=source,
        counts=counts,
        seconds={} if each is None else {rule.id: each for rule in policy.shifts},
    )


def rehearsed(
    trial: Trial, dense: Model, candidate: Model, *, name: str, images: int, watch: Watch
) -> Expectation:
    """What a candidate does on so many images of the tune split, which are not the gate's.

    A folder of the policy's own is part of the gate: unshifted images of the split stand in.

    Raises:
        ConfigError: there is no tune split.
        MeasureError: a model's answers cannot be counted.
    """
    tune = _tune(trial)
    counts: dict[str, Counts] = {}
    scores: dict[str, ScoreCounts] = {}
    seconds: dict[str, float] = {}
    rules = trial.policy.shifts
    for index, rule in enumerate(rules):
        watch.progress("rehearsal", index, len(rules), rule.id)
        found, spent = rehearse(trial, (dense, candidate), rule, tune=tune, images=images)
        if found is None:
            continue
        counts[rule.id] = found
        if images_shown := spent.passes.dense + spent.passes.candidates:
            seconds[measurement_of(trial.policy, rule)] = spent.seconds.total / images_shown
        if rule.metric in {"top1", "top5"}:
            # The answers are there already: what is counted of them is another metric.
            scored = rule.model_copy(update={"metric": "brier"})
            grown, _ = rehearse(trial, (dense, candidate), scored, tune=tune, images=images)
            assert isinstance(grown, ScoreCounts)
            scores[rule.id] = grown
    watch.progress("rehearsal", len(rules), len(rules))
    shown = min(images, len(tune.ids))
    return Expectation(
        source=f"as {name} did on {shown:,} images of the tune split, which are not the gate's; "
        "if the dense model was trained on them, the drop looks larger than it is",
        counts=counts,
        stand_ins=frozenset(r.id for r in rules if isinstance(r, FolderRule)),
        scores=scores,
        seconds=seconds,
    )


def timed(trial: Trial, dense: Model, *, watch: Watch) -> Mapping[str, float]:
    """Seconds that the dense model takes for an image under a draw of each rule, on one batch.

    Raises:
        ConfigError: there is no tune split.
        MeasureError: the model's answers cannot be counted.
    """
    tune = _tune(trial)
    seconds: dict[str, float] = {}
    for index, rule in enumerate(trial.policy.shifts):
        watch.progress("timing", index, len(trial.policy.shifts), rule.id)
        read = rehearsed_answers(trial, dense, rule, tune=tune, count=GATE_BATCH)
        if read.passes:
            seconds[measurement_of(trial.policy, rule)] = read.seconds.total / read.passes
    watch.progress("timing", len(trial.policy.shifts), len(trial.policy.shifts))
    return seconds


def _tune(trial: Trial) -> ImageSet:
    if trial.tune is None:
        raise ConfigError(
            "data.train is missing, and a candidate is rehearsed on a part of it that the gate "
            "never sees; add it, or give --from RUN or --discordance"
        )
    return trial.tune


def _last_complete(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Of the candidates that were measured on most rules, the evidence of the last."""
    by_place: dict[int, list[Evidence]] = {}
    for item in evidence:
        by_place.setdefault(item.position, []).append(item)
    return max(by_place.values(), key=lambda items: (len(items), items[0].position))


def _seconds_per_pass(run: RunFolder) -> float | None:
    """What an image took the gate, by the run's report; None where there is none, or no images."""
    if not run.report.is_file():
        return None
    try:
        report = Report.model_validate_json(run.report.read_bytes())
    except ValidationError as error:
        raise RunError(f"{run.report} is damaged, or of another version: {error}") from error
    shown = report.forward_passes.dense + report.forward_passes.candidates
    spent = sum(share for work, share in report.seconds.items() if work.startswith("gate: "))
    return spent / shown if shown and spent else None
