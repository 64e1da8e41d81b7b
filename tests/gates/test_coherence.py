"""Only evidence that fits the policy and itself is judged."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gates import (
    Accepted,
    Counts,
    DrawCounts,
    Evidence,
    FlipCounts,
    PairedCounts,
    ScoreCounts,
    VerdictError,
    judge,
    judge_step,
)
from policies import FolderRule, MixtureRule, Policy, Rule, ShiftRule

CLEAN = ShiftRule(name="clean", tolerance=0.02, reason="because")
FOG = ShiftRule(name="fog", severity=3, tolerance=0.03, reason="because")
DRAWN = ShiftRule(name="noise", severity=3, draws=3, tolerance=0.03, reason="because")
MIXED = MixtureRule(
    id="mixed", mixture=("blur", "fog"), severity=(1, 3), draws=2, tolerance=0.03, reason="because"
)
TOP5 = ShiftRule(name="fog", severity=3, metric="top5", tolerance=0.03, reason="because")
BRIER = ShiftRule(name="fog", severity=3, metric="brier", tolerance=0.03, reason="because")
FLIPPED = ShiftRule(name="fog", severity=3, metric="flips", tolerance=0.03, reason="because")
GROUP = ShiftRule(
    name="fog", severity=3, only=("cat",), id="fog-cats", tolerance=0.03, reason="because"
)
FIELD = FolderRule(id="field", folder="field", tolerance=0.03, reason="because")
UNLABELLED = FolderRule(
    id="stream", folder="stream", labels="none", tolerance=0.03, reason="because"
)

SOME, MORE = (
    PairedCounts(both_right=n, only_dense=0, only_pruned=0, both_wrong=0) for n in (2000, 2001)
)
NONE = PairedCounts(both_right=0, only_dense=0, only_pruned=0, both_wrong=0)
FLIPS = FlipCounts(same=3000, flipped=0)
SCORES = ScoreCounts(growths=((0, 2000),), dense_steps=0)


def draws(number: int, *, n: int = 2000) -> DrawCounts:
    differences = (*([0] * number), n, *([0] * number))
    return DrawCounts(
        draws=number, differences=differences, dense_right=n, pruned_right=n, discordant=0
    )


def policy(*rules: Rule) -> Policy:
    return Policy(
        apiVersion="compress/v1",
        name="test",
        summary="For tests.",
        alpha=0.05,
        min_images=100,
        shifts=rules or (CLEAN, FOG),
    )


def item(
    shift: str, counts: Counts = SOME, *, ratio: float = 0.1, images: str = "gate"
) -> Evidence:
    return Evidence(
        candidate=f"candidate-{ratio}",
        dense="dense",
        name=f"ratio {ratio:.2f}",
        position=round(10 * ratio),
        ratio=ratio,
        shift=shift,
        images=images,
        look=1,
        counts=counts,
    )


BOTH = [item("clean"), item("fog-3")]


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        pytest.param([], "there is no evidence", id="none"),
        pytest.param(BOTH[:1], "ratio 0.10: there is no evidence of fog-3", id="missing"),
        pytest.param([*BOTH, BOTH[0]], "there is evidence twice of clean", id="doubled"),
        pytest.param(
            [BOTH[0], item("fog-3", MORE)],
            r"measured on \[2000, 2001\] images",
            id="other-number-of-images",
        ),
        pytest.param(
            [item("clean", NONE), item("fog-3", NONE)],
            "no images were measured on clean",
            id="empty",
        ),
    ],
)
def test_evidence_that_does_not_fit_is_an_error(items: Sequence[Evidence], complaint: str) -> None:
    for decide in (judge, judge_step):
        with pytest.raises(VerdictError, match=complaint):
            decide(policy(), items)


@pytest.mark.parametrize("what", ["candidate", "name", "dense model", "set of images"])
def test_evidence_of_different_things_is_not_mixed(what: str) -> None:
    other = {
        "candidate": replace(BOTH[1], candidate="other"),
        "name": replace(BOTH[1], name="other"),
        "dense model": replace(BOTH[1], dense="other"),
        "set of images": replace(BOTH[1], images="other"),
    }[what]
    for decide in (judge, judge_step):
        with pytest.raises(VerdictError, match=f"more than one {what}: .*other"):
            decide(policy(), [BOTH[0], other])


def test_one_step_is_about_one_ratio() -> None:
    items = [*BOTH, *(replace(item, ratio=0.2) for item in BOTH)]
    with pytest.raises(VerdictError, match=r"more than one ratio: 0\.1, 0\.2"):
        judge_step(policy(), items)


def test_evidence_of_different_ratios_is_about_one_dense_model_and_one_set_of_images() -> None:
    later = [item(rule.id, ratio=0.2) for rule in (CLEAN, FOG)]
    with pytest.raises(VerdictError, match=r"more than one dense model: .*other"):
        judge(policy(), [*BOTH, *(replace(e, dense="other") for e in later)])
    with pytest.raises(VerdictError, match=r"more than one set of images: .*other"):
        judge(policy(), [*BOTH, *(replace(e, images="other") for e in later)])


@pytest.mark.parametrize(
    ("rule", "right", "wrong", "complaint"),
    [
        (FOG, SOME, draws(2), "fog-3 by right answers, .* of right answers on 2 draws"),
        (FOG, SOME, FLIPS, "fog-3 by right answers, .* of flips"),
        (DRAWN, draws(3), SOME, "noise-3x3 by right answers on 3 draws, .* of right answers;"),
        (DRAWN, draws(3), draws(2), "on 3 draws, .* on 2 draws"),
        (MIXED, draws(2), SOME, "mixed by right answers on 2 draws"),
        (FIELD, SOME, FLIPS, "field by right answers, .* of flips"),
        (UNLABELLED, FLIPS, SOME, "stream by flips, .* of right answers"),
        (TOP5, SOME, SCORES, "fog-3-top5 by right answers, .* of scores"),
        (BRIER, SCORES, SOME, "fog-3-brier by scores, .* of right answers"),
        (FLIPPED, FLIPS, SOME, "fog-3-flips by flips, .* of right answers"),
    ],
)
def test_what_was_counted_is_what_the_rule_asks_for(
    rule: Rule, right: Counts, wrong: Counts, complaint: str
) -> None:
    assert isinstance(judge(policy(rule), [item(rule.id, right)]), Accepted)
    with pytest.raises(VerdictError, match=complaint):
        judge(policy(rule), [item(rule.id, wrong)])


def test_one_step_is_about_one_place_in_the_sequence() -> None:
    items = [BOTH[0], replace(BOTH[1], position=7)]
    with pytest.raises(VerdictError, match="more than one place in the sequence: 1, 7"):
        judge_step(policy(), items)


def test_a_group_of_classes_has_fewer_images_than_the_others() -> None:
    some = PairedCounts(both_right=200, only_dense=0, only_pruned=0, both_wrong=0)
    verdict = judge(policy(CLEAN, GROUP), [item("clean"), item("fog-cats", some)])
    assert isinstance(verdict, Accepted)


def test_shifts_have_as_many_images_as_others_at_the_same_look() -> None:
    rules = policy().model_copy(update={"method": "looks"})
    later = replace(item("fog-3", MORE), look=2)
    assert isinstance(judge(rules, [item("clean"), later]), Accepted)
    with pytest.raises(VerdictError, match=r"at look 1 shifts were .* \[2000, 2001\] images"):
        judge(rules, [item("clean"), replace(later, look=1)])


FOLDERS = policy(CLEAN, FIELD, UNLABELLED)


def with_folders(ratio: float, *, field: str = "field", n: int = 500) -> list[Evidence]:
    theirs = PairedCounts(both_right=n, only_dense=0, only_pruned=0, both_wrong=0)
    return [
        item("clean", ratio=ratio),
        item("field", theirs, ratio=ratio, images=field),
        item("stream", FLIPS, ratio=ratio, images="stream"),
    ]


def test_a_folder_has_images_of_its_own() -> None:
    verdict = judge(FOLDERS, [*with_folders(0.1), *with_folders(0.2)])
    assert isinstance(verdict, Accepted)
    assert [cell.counts.n for cell in verdict.steps[0].cells] == [2000, 500, 3000]


def test_a_folder_has_the_same_images_at_every_ratio() -> None:
    with pytest.raises(VerdictError, match="more than one set of images of field: field, other"):
        judge(FOLDERS, [*with_folders(0.1), *with_folders(0.2, field="other")])


def test_a_policy_may_be_about_folders_alone() -> None:
    assert isinstance(judge(policy(FIELD, UNLABELLED), with_folders(0.1)[1:]), Accepted)


def test_shifts_that_the_policy_does_not_name_may_be_on_any_images() -> None:
    stranger = item("snow-3", NONE, images="other")
    assert judge(policy(), [*BOTH, stranger]) == judge(policy(), BOTH)
