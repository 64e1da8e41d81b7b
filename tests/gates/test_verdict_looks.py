"""Looking several times spends alpha look by look, and a violation ends the measuring."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from gates import (
    Accepted,
    Evidence,
    FlipCounts,
    Outcome,
    PairedCounts,
    Rejected,
    Undecided,
    VerdictError,
    explain,
    judge,
    judge_cell,
    look_sizes,
)
from policies import FolderRule, Method, Policy, Reuse, Rule, ShiftRule

CLEAN = ShiftRule(name="clean", tolerance=0.03, reason="because")
FOG = ShiftRule(name="fog", severity=3, tolerance=0.03, reason="because")
NOISE = ShiftRule(name="noise", severity=1, tolerance=0.03, reason="because", enforced=False)
STREAM = FolderRule(id="stream", folder="stream", labels="none", tolerance=0.03, reason="because")

SAFE = PairedCounts(both_right=1800, only_dense=95, only_pruned=105, both_wrong=0)
UNSAFE = PairedCounts(both_right=1800, only_dense=180, only_pruned=20, both_wrong=0)
UNCLEAR = PairedCounts(both_right=1800, only_dense=120, only_pruned=80, both_wrong=0)


def policy(
    method: Method, *rules: Rule, releases: int | None = None, min_images: int = 100
) -> Policy:
    return Policy(
        apiVersion="compress/v1",
        name="test",
        summary="For tests.",
        alpha=0.05,
        method=method,
        reuse=None if releases is None else Reuse(releases=releases),
        min_images=min_images,
        shifts=rules or (CLEAN, FOG),
    )


def item(shift: str, counts: PairedCounts = SAFE, *, look: int = 1, position: int = 0) -> Evidence:
    return Evidence(
        candidate=f"candidate-{position}",
        dense="dense",
        name=f"net-{position}.onnx",
        position=position,
        ratio=None,
        shift=shift,
        images="gate",
        look=look,
        counts=counts,
    )


@pytest.mark.parametrize(
    ("method", "releases", "levels"),
    [
        ("fixed", None, [0.05]),
        ("fixed", 10, [0.005]),
        ("looks", None, [0.01, 0.01, 0.01, 0.02]),
        ("looks", 2, [0.005, 0.005, 0.005, 0.01]),
        ("anytime", None, [0.05] * 40),
        ("anytime", 5, [0.01] * 3),
    ],
)
def test_each_look_has_its_share_of_alpha(
    method: Method, releases: int | None, levels: Sequence[float]
) -> None:
    rules = policy(method, FOG, releases=releases)
    found = [judge_cell(rules, FOG, SAFE, look=look + 1).alpha for look in range(len(levels))]
    assert found == pytest.approx(levels)
    if method != "anytime":
        assert sum(found) <= rules.alpha / (releases or 1) * (1 + 1e-12)


def test_a_p_value_is_held_against_the_share_of_its_look_and_of_its_release() -> None:
    counts = PairedCounts(both_right=1800, only_dense=112, only_pruned=88, both_wrong=0)
    for rules, look, outcome in (
        (policy("fixed", FOG), 1, Outcome.ACCEPTED),
        (policy("looks", FOG), 1, Outcome.ACCEPTED),
        (policy("fixed", FOG, releases=10), 1, Outcome.UNDECIDED),
        (policy("looks", FOG, releases=5), 4, Outcome.UNDECIDED),
    ):
        cell = judge_cell(rules, FOG, counts, look=look)
        assert 0.005 < cell.p_safe < 0.01
        assert cell.outcome is outcome


@pytest.mark.parametrize(("method", "look"), [("fixed", 2), ("looks", 5)])
def test_a_look_that_the_policy_does_not_take_is_not_judged(method: Method, look: int) -> None:
    with pytest.raises(VerdictError, match=f"net-0.onnx: the evidence of fog-3 .* not {look}"):
        judge(policy(method, FOG), [item("fog-3", look=look)])


@pytest.mark.parametrize("method", ["looks", "anytime"])
def test_after_a_violation_the_other_rules_need_not_be_measured(method: Method) -> None:
    rules = policy(method, CLEAN, FOG, NOISE)
    verdict = judge(rules, [item("fog-3", UNSAFE, look=2)])
    assert isinstance(verdict, Rejected)
    (step,) = verdict.steps
    assert [cell.shift for cell in step.cells] == ["fog-3"]
    assert step.not_measured == ("clean", "noise-1")
    assert step.binding.shift == "fog-3"
    assert verdict.reasons == explain(rules, step)
    assert verdict.reasons[0].startswith("net-0.onnx: the drop on fog-3 is 8.0 %")


@pytest.mark.parametrize(
    ("method", "counts", "shift"),
    [
        pytest.param("fixed", UNSAFE, "fog-3", id="fixed-measures-everything"),
        pytest.param("looks", SAFE, "fog-3", id="nothing-is-violated"),
        pytest.param("looks", UNCLEAR, "fog-3", id="undecided-is-no-violation"),
        pytest.param("looks", UNSAFE, "noise-1", id="advisory-violations-decide-nothing"),
    ],
)
def test_otherwise_a_rule_without_evidence_is_an_error(
    method: Method, counts: PairedCounts, shift: str
) -> None:
    with pytest.raises(VerdictError, match="there is no evidence of clean"):
        judge(policy(method, CLEAN, FOG, NOISE), [item(shift, counts)])


def test_a_candidate_without_a_ratio_is_known_by_its_name_and_place() -> None:
    rules = policy("fixed")
    passed = [item(shift, position=p) for p in (0, 1) for shift in ("clean", "fog-3")]
    failed = [item(shift, UNSAFE, position=2) for shift in ("clean", "fog-3")]
    verdict = judge(rules, [*failed, *passed])
    assert isinstance(verdict, Accepted)
    assert (verdict.candidate, verdict.name) == ("candidate-1", "net-1.onnx")
    assert (verdict.position, verdict.ratio) == (1, None)
    assert [step.position for step in verdict.steps] == [0, 1, 2]


def test_ratios_rise_along_the_sequence() -> None:
    rules = policy("fixed", FOG)
    items = [
        replace(item("fog-3", position=position), ratio=ratio)
        for position, ratio in enumerate((0.4, 0.2))
    ]
    with pytest.raises(VerdictError, match=r"\[0\.4, 0\.2\]; they must rise"):
        judge(rules, items)


def test_rules_may_be_decided_at_different_looks() -> None:
    half = PairedCounts(both_right=900, only_dense=50, only_pruned=50, both_wrong=0)
    verdict = judge(policy("looks"), [item("clean", half, look=2), item("fog-3", look=4)])
    assert isinstance(verdict, Accepted)
    assert [(cell.look, cell.counts.n) for cell in verdict.steps[0].cells] == [(2, 1000), (4, 2000)]


def test_too_few_images_at_an_early_look_decide_nothing() -> None:
    rules = policy("looks", FOG, min_images=5000)
    for counts in (SAFE, UNSAFE):
        assert judge_cell(rules, FOG, counts, look=1).outcome is Outcome.UNDECIDED
    assert isinstance(judge(rules, [item("fog-3")]), Undecided)


TRIALS, N, BATCH = 1500, 2000, 250


def _seen(rng: np.random.Generator, sizes: Sequence[int], *, rate: float) -> list[FlipCounts]:
    """Flips at each look, on images that come one after another."""
    new = [rng.binomial(size, rate) for size in np.diff([0, *sizes])]
    flipped = [int(count) for count in itertools.accumulate(new)]
    return [FlipCounts(same=n - f, flipped=f) for n, f in zip(sizes, flipped, strict=True)]


def _claims(method: Method, outcome: Outcome, *, seed: int) -> float:
    """Share of trials in which some look claims ``outcome``, the rate being the tolerance."""
    rules, rng = policy(method, STREAM), np.random.default_rng(seed)
    sizes = look_sizes(rules, N, batch=BATCH)
    hits = 0
    for _ in range(TRIALS):
        counts = _seen(rng, sizes, rate=STREAM.tolerance)
        cells = (judge_cell(rules, STREAM, c, look=i) for i, c in enumerate(counts, start=1))
        hits += any(cell.outcome is outcome for cell in cells)
    return hits / TRIALS


@pytest.mark.statistical
@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.VIOLATED])
@pytest.mark.parametrize("method", ["looks", "anytime"])
def test_all_looks_together_err_in_at_most_alpha_of_trials(
    method: Method, outcome: Outcome
) -> None:
    share = _claims(method, outcome, seed=6)
    assert 0.001 < share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / TRIALS)


@pytest.mark.statistical
def test_looking_as_often_at_the_full_alpha_would_err_more() -> None:
    rules, rng = policy("fixed", STREAM), np.random.default_rng(6)
    sizes = look_sizes(policy("looks", STREAM), N, batch=BATCH)

    def claims(look: Callable[[FlipCounts], Outcome]) -> float:
        seen = (_seen(rng, sizes, rate=STREAM.tolerance) for _ in range(TRIALS))
        return sum(any(look(c) is Outcome.ACCEPTED for c in counts) for counts in seen) / TRIALS

    assert claims(lambda c: judge_cell(rules, STREAM, c, look=1).outcome) > 0.07
