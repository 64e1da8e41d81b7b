"""The decision where images have several draws, or are the user's own, or have no labels."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from gates import (
    Accepted,
    Counts,
    DrawCounts,
    Evidence,
    FlipCounts,
    Outcome,
    PairedCounts,
    Rejected,
    Undecided,
    explain,
    judge,
    judge_step,
)
from policies import FolderRule, MixtureRule, Policy, Rule, ShiftRule

CLEAN = ShiftRule(name="clean", tolerance=0.02, reason="because")
MIXED = MixtureRule(
    id="mixed", mixture=("blur", "fog"), severity=(1, 3), draws=2, tolerance=0.03, reason="because"
)
FIELD = FolderRule(id="field", folder="field", min_images=1000, tolerance=0.03, reason="because")
STREAM = FolderRule(id="stream", folder="stream", labels="none", tolerance=0.03, reason="because")


def policy(*rules: Rule) -> Policy:
    return Policy(
        apiVersion="compress/v1",
        name="test",
        summary="For tests.",
        alpha=0.05,
        min_images=2000,
        shifts=rules,
    )


def evidence(counts: Mapping[str, Counts], *, ratio: float = 0.1) -> list[Evidence]:
    """Of one candidate; each shift on images of its own if it brings any."""
    return [
        Evidence(
            candidate="candidate",
            dense="dense",
            name=f"ratio {ratio:.2f}",
            position=0,
            ratio=ratio,
            shift=shift,
            images=shift if shift in {"field", "stream"} else "gate",
            look=1,
            counts=found,
        )
        for shift, found in counts.items()
    ]


def paired_counts(lost: int, won: int, *, n: int) -> PairedCounts:
    return PairedCounts(both_right=n - lost - won, only_dense=lost, only_pruned=won, both_wrong=0)


def two_draws(lost: int, won: int, *, n: int) -> DrawCounts:
    """Images that are lost or won by one draw of two."""
    return DrawCounts(
        draws=2,
        differences=(0, won, n - lost - won, lost, 0),
        dense_right=lost,
        pruned_right=won,
        discordant=lost + won,
    )


@pytest.mark.parametrize(
    ("lost", "won", "outcome"),
    [
        (100, 100, Outcome.ACCEPTED),
        (400, 40, Outcome.VIOLATED),
        (220, 100, Outcome.UNDECIDED),
        (255, 100, Outcome.UNDECIDED),
    ],
)
def test_several_draws_are_accepted_violated_or_undecided(
    lost: int, won: int, outcome: Outcome
) -> None:
    step = judge_step(policy(MIXED), evidence({"mixed": two_draws(lost, won, n=2500)}))
    assert step.outcome is outcome


@pytest.mark.parametrize(
    ("flipped", "outcome"),
    [(50, Outcome.ACCEPTED), (100, Outcome.VIOLATED), (60, Outcome.UNDECIDED)],
)
def test_flips_are_accepted_violated_or_undecided(flipped: int, outcome: Outcome) -> None:
    counts = FlipCounts(same=2200 - flipped, flipped=flipped)
    assert judge_step(policy(STREAM), evidence({"stream": counts})).outcome is outcome


def test_without_labels_reasons_speak_of_the_flip_rate() -> None:
    rules = policy(STREAM)
    too_many = judge(rules, evidence({"stream": FlipCounts(same=2100, flipped=100)}))
    assert isinstance(too_many, Rejected)
    assert too_many.reasons == (
        "ratio 0.10: the flip rate on stream is 4.5 % [3.7, 5.5], above the tolerance of 3.0 %",
    )
    unclear = judge(rules, evidence({"stream": FlipCounts(same=2140, flipped=60)}))
    assert isinstance(unclear, Undecided)
    (reason,) = unclear.reasons
    assert f"about {unclear.images_needed:,} images would decide" in reason
    hopeless = judge(rules, evidence({"stream": FlipCounts(same=2130, flipped=70)}))
    assert isinstance(hopeless, Undecided)
    assert "the observed flip rate is not below it" in hopeless.reasons[0]
    assert "drop" not in f"{too_many.reasons}{unclear.reasons}{hopeless.reasons}"


def test_several_draws_that_do_not_decide_say_how_many_images_would() -> None:
    rules = policy(MIXED)
    undecided = judge(rules, evidence({"mixed": two_draws(220, 100, n=2500)}))
    assert isinstance(undecided, Undecided)
    assert undecided.images_needed is not None
    assert undecided.images_needed > 2500
    n = undecided.images_needed
    again = two_draws(round(220 * n / 2500), round(100 * n / 2500), n=n)
    assert isinstance(judge(rules, evidence({"mixed": again})), Accepted)


def test_a_folder_may_ask_for_fewer_images_than_the_policy() -> None:
    rules = policy(CLEAN, FIELD)
    clean = paired_counts(20, 20, n=2000)
    enough = {"clean": clean, "field": paired_counts(10, 10, n=1000)}
    assert isinstance(judge(rules, evidence(enough)), Accepted)
    too_few = {"clean": clean, "field": paired_counts(0, 0, n=999)}
    verdict = judge(rules, evidence(too_few))
    assert isinstance(verdict, Undecided)
    assert verdict.images_needed == 1000
    assert verdict.reasons == (
        "ratio 0.10: field was measured on 999 images; the policy asks for at least 1,000",
    )


def test_a_shift_on_too_few_images_binds_however_well_it_did() -> None:
    counts = {"clean": paired_counts(40, 20, n=2000), "field": paired_counts(0, 0, n=999)}
    step = judge_step(policy(CLEAN, FIELD), evidence(counts))
    assert step.cells[0].p_safe > step.cells[1].p_safe
    assert step.binding.shift == "field"


def test_all_kinds_are_judged_together() -> None:
    rules = policy(CLEAN, MIXED, FIELD, STREAM)
    counts: dict[str, Counts] = {
        "clean": paired_counts(20, 20, n=2500),
        "mixed": two_draws(100, 100, n=2500),
        "field": paired_counts(10, 10, n=1000),
        "stream": FlipCounts(same=2960, flipped=40),
    }
    assert isinstance(judge(rules, evidence(counts)), Accepted)
    bad = judge(rules, evidence(counts | {"stream": FlipCounts(same=2800, flipped=200)}))
    assert isinstance(bad, Rejected)
    assert [step.binding.shift for step in bad.steps] == ["stream"]
    assert explain(rules, bad.steps[0]) == bad.reasons


@pytest.mark.statistical
@pytest.mark.parametrize("unsafe", ["clean", "mixed", "stream"])
def test_whatever_kind_is_unsafe_it_is_accepted_in_at_most_alpha_of_trials(unsafe: str) -> None:
    trials, n = 300, 2000
    rules, rng = policy(CLEAN, MIXED, STREAM), np.random.default_rng(5)
    rates = {"clean": 0.0, "mixed": 0.0, "stream": 0.005}
    rates[unsafe] = {rule.id: rule.tolerance for rule in rules.shifts}[unsafe]
    accepted = 0
    for _ in range(trials):
        clean = rng.multinomial(n, [0.05 + rates["clean"], 0.05, 0.9 - rates["clean"]])
        mixed = rng.multinomial(n, [0.05 + 2 * rates["mixed"], 0.05, 0.9 - 2 * rates["mixed"]])
        flipped = int(rng.binomial(n, rates["stream"]))
        counts: dict[str, Counts] = {
            "clean": paired_counts(int(clean[0]), int(clean[1]), n=n),
            "mixed": two_draws(int(mixed[0]), int(mixed[1]), n=n),
            "stream": FlipCounts(same=n - flipped, flipped=flipped),
        }
        accepted += isinstance(judge(rules, evidence(counts)), Accepted)
    assert accepted / trials <= rules.alpha + 3 * math.sqrt(rules.alpha / trials)
