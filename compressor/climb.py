"""Candidate, evidence, judgement: ratio by ratio, each precision up to its first not accepted."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from compressor.candidate_files import Serialise
from compressor.exports import Chain, Exported, Planned, exported, planned
from compressor.gate import Spent, Subject, describe, observe
from compressor.ladder import Rung, Workshop, rung
from compressor.pruning.allocation import UnreachableRatioError
from compressor.pruning.candidate import Candidate
from compressor.pruning.surgery import SurgeryError
from compressor.trial import Trial
from compressor.watch import Watch
from exporters.onnx import ExportError
from gates import Evidence, Outcome, judge_step

_ALL = "every ratio of search.ratios was accepted; larger ones were not tried"

Ends = dict[str | None, str | None]
"""By sequence: why it has no more candidates; None where the gate stopped it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One candidate that the gate has seen."""

    place: Planned
    rung: Rung
    made: Exported
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """The candidates that were judged, what was seen of them, and why there are no more."""

    judged: tuple[Judged, ...]
    """In the order of their places."""
    ends: Mapping[str | None, str | None]
    evidence: tuple[Evidence, ...]
    spent: Spent
    """What the gate had to do, in this invocation."""

    @property
    def finalists(self) -> Mapping[str, Path]:
        """The last accepted file of each sequence, by its sha256."""
        last = {
            item.place.chain.name: item.made
            for item in self.judged
            if item.outcome is Outcome.ACCEPTED
        }
        return {made.sha256: made.file for made in last.values()}


def climb(
    trial: Trial,
    shop: Workshop,
    chains: Sequence[Chain],
    *,
    makers: Mapping[str | None, Serialise | None],
    stage: Callable[[str], AbstractContextManager[None]],
    watch: Watch,
) -> Climb:
    """Make and judge candidates in ascending order; weights are made once for all precisions.

    Args:
        trial: what the gate works with, at the full alpha.
        shop: what candidates are made with.
        chains: the sequences; they share alpha.
        makers: what makes the files of each; None where they are made with the candidates.
        stage: notes the time of what is done within it.
        watch: is told.

    Raises:
        TrainingError, ExportError, MeasureError, RunError: a stage failed.
    """
    judged: list[Judged] = []
    evidence: list[Evidence] = []
    spent = Spent()
    before: Candidate | None = None
    ends: Ends = {chain.name: _ALL for chain in chains}
    going = list(chains)
    share = replace(trial, policy=trial.policy.shared_among(len(chains)))
    for ratio in sorted({ratio for chain in chains for ratio in chain.ratios}):
        places = [p for p in planned(chains) if p.ratio == ratio and p.chain in going]
        if not places:
            continue
        watch.say(f"ratio {ratio:.2f}")
        try:
            with stage("candidates"):
                made = rung(shop, before, ratio=ratio, watch=watch)
        except (UnreachableRatioError, SurgeryError) as error:
            ends |= {chain.name: str(error) for chain in going}
            break
        before = made.candidate
        for place in places:
            with stage("candidates"):
                file = _file(shop, made, place, makers=makers, alone=len(chains) == 1)
            if isinstance(file, str):
                ends[place.chain.name] = file
                going.remove(place.chain)
                watch.say(f"{place.name}: {file}")
                continue
            with stage("gate"):
                seen = observe(share, _subject(place, file), before=evidence, watch=watch)
            evidence = sorted([*evidence, *seen.evidence], key=lambda item: item.position)
            spent += seen.spent
            step = judge_step(share.policy, seen.evidence)
            judged.append(Judged(place=place, rung=made, made=file, outcome=step.outcome))
            watch.say(f"{step.name}: {step.outcome.value}{describe(seen.spent)}")
            if step.outcome is not Outcome.ACCEPTED:
                ends[place.chain.name] = None
                going.remove(place.chain)
    return Climb(
        judged=tuple(sorted(judged, key=lambda item: item.place.position)),
        ends=ends,
        evidence=tuple(evidence),
        spent=spent,
    )


def _file(
    shop: Workshop,
    made: Rung,
    place: Planned,
    *,
    makers: Mapping[str | None, Serialise | None],
    alone: bool,
) -> Exported | str:
    """The file to judge; or why there is none, where other precisions may go on.

    Raises:
        ExportError: there is none, and no other precision either.
    """
    try:
        return exported(shop, made, place.chain, make=makers[place.chain.name])
    except ExportError as error:
        if alone:
            raise
        return str(error)


def _subject(place: Planned, file: Exported) -> Subject:
    return Subject(
        name=place.name,
        position=place.position,
        ratio=place.ratio,
        file=file.file,
        sha256=file.sha256,
        chain=place.chain.name,
    )
