"""Rule by rule what may be expected, and how many images are shown to models for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compressor.data import ImageSet
from compressor.expectations import Expectation
from compressor.gate import REHEARSAL_IMAGES, Passes
from compressor.gate_data import GateData
from compressor.measurement import measurement_of, set_of
from compressor.trial import GATE_BATCH, looks
from gates import Counts, DrawCounts, FlipCounts, PairedCounts, infer
from gates.cell import statistic_of
from gates.counting import in_group
from gates.expectation import draws_of
from gates.levers import Lever, levers
from gates.looks import reading_order
from gates.planning import Outlook, Prospect, prospect
from gates.shifts import SHIFTS
from policies import FolderRule, MixtureRule, Policy, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """One rule.

    Attributes:
        shift: the rule's id.
        statistic: what "drop" is, in words.
        enforced: whether the policy asks that it is passed.
        decides: whether it stands in the way: enforced, and not waived.
        tolerance: largest accepted drop, absolute.
        draws: of each image.
        n: images at each look that the rule counts.
        counted: images that the expectation is from; None where it is assumed, or unknown.
        stand_in: whether these were of another distribution than the rule's.
        drop: that was seen or is assumed; may be a gain. None where nothing is known.
        interval: of the drop, 95 %; None where nothing was seen.
        discordance: share of draws that one model alone got right; None where nobody knows.
        prospect: what follows; None where nothing is known.
        levers: what would help, where it cannot be certified for that drop.
    """

    shift: str
    statistic: str
    enforced: bool
    decides: bool
    tolerance: float
    draws: int
    n: tuple[int, ...]
    counted: int | None
    stand_in: bool
    drop: float | None
    interval: tuple[float, float] | None
    discordance: float | None
    prospect: Prospect | None
    levers: tuple[Lever, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What judging takes; retraining, export and latency are not in it.

    Attributes:
        most: images shown to models at most, once for each draw.
        expected: about how many, since the gate stops when it is decided.
        seconds: of the expected images; None where no time was measured.
        most_seconds: of the most.
    """

    most: Passes
    expected: Passes
    seconds: float | None
    most_seconds: float | None


def cell_plans(
    policy: Policy, data: GateData, expected: Expectation, *, seed: int
) -> list[CellPlan]:
    """One for each rule of the policy, in its order."""
    return [_cell_plan(policy, rule, data, expected, seed=seed) for rule in policy.shifts]


def work_of(
    policy: Policy,
    data: GateData,
    plans: Sequence[CellPlan],
    *,
    candidates: int,
    seconds: Mapping[str, float],
) -> Work:
    """What judging so many candidates takes, if all are as the one that is expected.

    Rules that share answers are measured once, the dense model once for all candidates. The order
    of the rules is rehearsed on images of the tune split.
    """
    sizes, tune = looks(policy, data.judged), data.tune
    most: dict[str, float] = {}
    mean: dict[str, float] = {}
    rehearsal: dict[str, float] = {}
    for rule, cell in zip(policy.shifts, plans, strict=True):
        name, shown = measurement_of(policy, rule), sizes[set_of(rule)]
        stops = (*(0.0 for _ in shown[1:]), 1.0) if cell.prospect is None else cell.prospect.stops
        likely = float(np.dot(stops, [_whole_batches(size, shown[-1]) for size in shown]))
        most[name] = float(shown[-1] * cell.draws)
        mean[name] = max(mean.get(name, 0.0), likely * cell.draws)
        if policy.method != "fixed" and tune is not None and not isinstance(rule, FolderRule):
            rehearsal[name] = float(min(REHEARSAL_IMAGES, len(tune.ids)) * cell.draws)

    def passes(shown: Mapping[str, float]) -> Passes:
        one = round(sum(shown.values()) + sum(rehearsal.values()))
        return Passes(dense=one, candidates=candidates * one)

    def time(shown: Mapping[str, float]) -> float | None:
        if not shown.keys() <= seconds.keys():
            return None
        total = sum(seconds[name] * (shown[name] + rehearsal.get(name, 0.0)) for name in shown)
        return (1 + candidates) * total

    return Work(
        most=passes(most), expected=passes(mean), seconds=time(mean), most_seconds=time(most)
    )


def _whole_batches(size: int, last: int) -> int:
    return min(last, -(-size // GATE_BATCH) * GATE_BATCH)


def _cell_plan(
    policy: Policy, rule: Rule, data: GateData, expected: Expectation, *, seed: int
) -> CellPlan:
    sizes = _sizes(policy, rule, data, seed=seed)
    known = CellPlan(
        shift=rule.id,
        statistic=rule.statistic,
        enforced=rule.enforced,
        decides=rule in policy.deciding,
        tolerance=rule.tolerance,
        draws=draws_of(rule),
        n=sizes,
        counted=None,
        stand_in=rule.id in expected.stand_ins,
        drop=None,
        interval=None,
        discordance=None,
        prospect=None,
        levers=(),
    )
    counts = expected.counts.get(rule.id)
    if counts is None:
        return known
    seen = expected.discordance is None
    found = prospect(policy, rule, counts, sizes=sizes)
    helps: tuple[Lever, ...] = ()
    if found.outlook is not Outlook.CAN:
        helps = levers(
            policy,
            rule,
            counts,
            n=sizes[-1],
            by_chance=_by_chance(rule),
            scores=expected.scores.get(rule.id),
        )
    return replace(
        known,
        statistic=statistic_of(rule, counts),
        counted=counts.n if seen else None,
        drop=counts.drop,
        interval=_interval(policy, rule, counts) if seen else None,
        discordance=_discordance(counts),
        prospect=found,
        levers=helps,
    )


def _sizes(policy: Policy, rule: Rule, data: GateData, *, seed: int) -> tuple[int, ...]:
    """Images that the rule counts up to each look."""
    images = data.judged(rule)
    shown = looks(policy, data.judged)[set_of(rule)]
    if not isinstance(images, ImageSet) or not rule.only:
        return tuple(shown)
    order = reading_order(images.ids, seed=seed)
    counted = in_group(rule, images.labels[order], classes=data.gate.classes)
    return tuple(int(counted[:size].sum()) for size in shown)


def _by_chance(rule: Rule) -> bool:
    """Whether another draw of an image is another image."""
    match rule:
        case FolderRule():
            return False
        case MixtureRule():
            return True
        case _:
            return len(rule.components) > 1 or SHIFTS[rule.name].chance != "none"


def _interval(policy: Policy, rule: Rule, counts: Counts) -> tuple[float, float]:
    return infer(counts, rule.tolerance, alpha=policy.alpha, method="fixed").interval


def _discordance(counts: Counts) -> float | None:
    match counts:
        case PairedCounts() | DrawCounts():
            return counts.discordance
        case FlipCounts():
            return counts.drop
        case _:
            return None
