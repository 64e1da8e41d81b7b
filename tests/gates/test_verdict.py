"""The decision follows the policy, cell by cell and ratio by ratio."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gates import (
    Accepted,
    Evidence,
    Outcome,
    PairedCounts,
    Rejected,
    Undecided,
    explain,
    judge,
    judge_step,
)
from policies import Policy, ShiftRule

CLEAN = ShiftRule(name="clean", tolerance=0.02, reason="because")
FOG = ShiftRule(name="fog", severity=3, tolerance=0.03, reason="because")
NOISE = ShiftRule(name="noise", severity=1, tolerance=0.03, reason="because", enforced=False)

N = 2000
SAFE, UNSAFE, UNCLEAR, HOPELESS = -0.005, 0.08, 0.02, 0.031
"""Observed drops on N images: accepted by FOG, violated, undecided, undecided for good."""


def policy(*rules: ShiftRule, alpha: float = 0.05, min_images: int = 100) -> Policy:
    return Policy(
        apiVersion="compress/v1",
        name="test",
        summary="For tests.",
        alpha=alpha,
        min_images=min_images,
        shifts=rules or (CLEAN, FOG),
    )


def counts(drop: float, *, n: int = N, discordance: float = 0.1) -> PairedCounts:
    only_dense = round(n * (discordance + drop) / 2)
    only_pruned = round(n * (discordance - drop) / 2)
    return PairedCounts(
        both_right=n - only_dense - only_pruned,
        only_dense=only_dense,
        only_pruned=only_pruned,
        both_wrong=0,
    )


def evidence(ratio: float, drops: Mapping[str, float], *, n: int = N) -> list[Evidence]:
    """Evidence of one candidate, given the observed drop per shift."""
    return [
        Evidence(
            candidate=f"candidate-{ratio}",
            dense="dense",
            name=f"ratio {ratio:.2f}",
            position=round(10 * ratio),
            ratio=ratio,
            shift=shift,
            images="images",
            look=1,
            counts=counts(drop, n=n),
        )
        for shift, drop in drops.items()
    ]


def ladder(*drops_on_fog: float) -> list[Evidence]:
    """Evidence at the ratios 0.1, 0.2, ... with these drops on fog; all is well on clean data."""
    return [
        item
        for i, drop in enumerate(drops_on_fog, start=1)
        for item in evidence(i / 10, {"clean": SAFE, "fog-3": drop})
    ]


@pytest.mark.parametrize(
    ("drop", "outcome"),
    [
        (SAFE, Outcome.ACCEPTED),
        (UNSAFE, Outcome.VIOLATED),
        (UNCLEAR, Outcome.UNDECIDED),
        (HOPELESS, Outcome.UNDECIDED),
    ],
)
def test_a_cell_is_accepted_violated_or_undecided(drop: float, outcome: Outcome) -> None:
    step = judge_step(policy(FOG), evidence(0.3, {"fog-3": drop}))
    assert [cell.outcome for cell in step.cells] == [outcome]
    assert step.outcome is outcome
    low, high = step.cells[0].interval
    assert low < drop < high


@pytest.mark.parametrize(
    ("drops", "outcome"),
    [
        ({"clean": SAFE, "fog-3": SAFE}, Outcome.ACCEPTED),
        ({"clean": SAFE, "fog-3": UNCLEAR}, Outcome.UNDECIDED),
        ({"clean": SAFE, "fog-3": UNSAFE}, Outcome.VIOLATED),
        ({"clean": UNCLEAR, "fog-3": UNSAFE}, Outcome.VIOLATED),
    ],
)
def test_a_ratio_is_no_better_than_its_worst_shift(
    drops: dict[str, float], outcome: Outcome
) -> None:
    assert judge_step(policy(), evidence(0.3, drops)).outcome is outcome


def test_an_advisory_shift_is_shown_and_decides_nothing() -> None:
    step = judge_step(policy(CLEAN, NOISE), evidence(0.3, {"clean": SAFE, "noise-1": UNSAFE}))
    assert step.outcome is Outcome.ACCEPTED
    assert step.cells[1].outcome is Outcome.VIOLATED


def test_evidence_of_other_shifts_is_not_looked_at() -> None:
    step = judge_step(policy(CLEAN), evidence(0.3, {"clean": SAFE, "fog-3": UNSAFE}))
    assert [cell.shift for cell in step.cells] == ["clean"]


@pytest.mark.parametrize(
    ("drops", "binding"),
    [
        pytest.param({"clean": SAFE, "fog-3": UNCLEAR}, "fog-3", id="undecided-before-accepted"),
        pytest.param({"clean": UNSAFE, "fog-3": UNCLEAR}, "clean", id="violated-before-undecided"),
        pytest.param({"clean": 0.0, "fog-3": 0.0}, "clean", id="the-less-sure-of-two-accepted"),
        pytest.param({"clean": 0.045, "fog-3": UNSAFE}, "fog-3", id="the-surer-of-two-violated"),
    ],
)
def test_the_binding_shift_is_the_one_nearest_to_failure_or_farthest_in_it(
    drops: dict[str, float], binding: str
) -> None:
    assert judge_step(policy(), evidence(0.3, drops)).binding.shift == binding


def test_of_equally_sure_shifts_the_one_with_the_least_room_binds() -> None:
    step = judge_step(policy(), evidence(0.3, {"clean": SAFE, "fog-3": SAFE}))
    equal = replace(step, cells=tuple(replace(cell, p_safe=0.0001) for cell in step.cells[::-1]))
    assert equal.binding.shift == "clean"


def test_an_advisory_shift_never_binds() -> None:
    step = judge_step(policy(CLEAN, NOISE), evidence(0.3, {"clean": SAFE, "noise-1": UNSAFE}))
    assert step.binding.shift == "clean"


def test_violation_is_tested_at_each_shifts_share_of_alpha() -> None:
    drop = 0.043
    alone = judge_step(policy(FOG), evidence(0.3, {"fog-3": drop}))
    assert 0.05 / 5 < alone.cells[0].p_violated <= 0.05
    assert alone.outcome is Outcome.VIOLATED
    others = tuple(
        ShiftRule(name=f"s{i}", severity=1, tolerance=0.03, reason="x") for i in range(4)
    )
    drops = {"fog-3": drop} | {f"s{i}-1": SAFE for i in range(4)}
    assert judge_step(policy(FOG, *others), evidence(0.3, drops)).outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(
    ("drops", "accepted"),
    [
        pytest.param([SAFE, SAFE, SAFE], 0.3, id="all-pass"),
        pytest.param([SAFE, SAFE, UNSAFE], 0.2, id="the-last-fails"),
        pytest.param([SAFE, UNCLEAR, SAFE], 0.1, id="a-late-pass-does-not-count"),
        pytest.param([SAFE, UNSAFE, SAFE], 0.1, id="nor-does-one-after-a-violation"),
    ],
)
def test_the_accepted_ratio_ends_the_unbroken_row(drops: list[float], accepted: float) -> None:
    decision = judge(policy(), ladder(*drops))
    assert isinstance(decision, Accepted)
    assert decision.ratio == accepted
    assert decision.candidate == f"candidate-{accepted}"
    assert [step.ratio for step in decision.steps] == [0.1, 0.2, 0.3]


def test_the_order_of_the_evidence_does_not_matter() -> None:
    items = ladder(SAFE, SAFE, UNSAFE)
    assert judge(policy(), items[::-1]) == judge(policy(), items)


def test_a_violation_at_the_smallest_ratio_rejects_whatever_follows() -> None:
    decision = judge(policy(), ladder(UNSAFE, SAFE, SAFE))
    assert isinstance(decision, Rejected)
    assert decision.reasons == (
        "ratio 0.10: the drop on fog-3 is 8.0 % [6.7, 9.4], above the tolerance of 3.0 %",
    )


def test_too_little_evidence_is_undecided_and_says_how_much_is_enough() -> None:
    decision = judge(policy(), ladder(UNCLEAR, UNSAFE))
    assert isinstance(decision, Undecided)
    assert decision.images_needed is not None
    assert decision.images_needed > N
    (reason,) = decision.reasons
    assert reason == (
        "ratio 0.10: the drop on fog-3 is 2.0 % [0.6, 3.4], neither shown to be below the "
        f"tolerance of 3.0 % nor above it; about {decision.images_needed:,} images would decide, "
        "if the truth is what was observed"
    )


def test_a_drop_above_the_tolerance_is_promised_nothing_by_more_images() -> None:
    decision = judge(policy(), ladder(HOPELESS))
    assert isinstance(decision, Undecided)
    assert decision.images_needed is None
    assert "more images promise no acceptance" in decision.reasons[0]


def test_fewer_images_than_the_policy_asks_for_decide_nothing() -> None:
    for drop in (SAFE, UNSAFE):
        decision = judge(policy(min_images=5000), ladder(drop))
        assert isinstance(decision, Undecided)
        assert decision.images_needed == 5000
        assert decision.reasons == tuple(
            f"ratio 0.10: {name} was measured on 2,000 images; the policy asks for at least 5,000"
            for name in ("clean", "fog-3")
        )


def test_an_accepted_step_needs_no_explanation() -> None:
    rules = policy()
    assert explain(rules, judge_step(rules, evidence(0.1, {"clean": SAFE, "fog-3": SAFE}))) == ()


def test_a_rounded_drop_has_no_negative_zero() -> None:
    rules = policy(CLEAN)
    step = judge_step(rules, evidence(0.1, {"clean": -0.0001}, n=200))
    assert "is 0.0 %" in explain(rules, step)[0]
