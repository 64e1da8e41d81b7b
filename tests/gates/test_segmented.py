"""Answers for every pixel: records, counts, the verdict's kinds, and measuring, by plain loops."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special

import compressor.labels
import gates.answers
from gates import Evidence, PairedCounts, ScoreCounts, VerdictError, judge_step
from gates.answers import NOT_LABELLED, Answers, check_segmented, segmented, segmented_answer
from gates.cell import Outcome, judge_cell
from gates.counting import counts_of
from gates.counts import STEPS
from gates.expectation import agreeing, fits, variance, without_drop
from gates.measure import MeasureError, images_at_once, segmented_answers
from gates.shifts import Component, Distribution, sample
from policies import FolderRule, Policy, Rule, ShiftRule

CLASSES = ("road", "sky", "car")
N, SIDE = 12, 8

CLEAN = ShiftRule(name="clean", tolerance=0.02, reason="test")
BRIER = ShiftRule(name="clean", metric="brier", tolerance=0.02, reason="test")
TWICE = ShiftRule(name="fog", severity=3, draws=2, tolerance=0.02, reason="test")


def masks(n: int = N, *, seed: int = 0) -> NDArray[np.uint8]:
    """Some pixels are not labelled."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, len(CLASSES), (n, SIDE, SIDE)).astype(np.uint8)
    found[rng.random(found.shape) < 0.2] = NOT_LABELLED
    return found


def logits(labels: NDArray[np.uint8], *, seed: int, sure: float = 1.0) -> NDArray[np.float32]:
    """Of a model that knows a little."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((len(labels), len(CLASSES), SIDE, SIDE))
    for name in range(len(CLASSES)):
        found[:, name][labels == name] += sure
    return found.astype(np.float32)


MASKS = masks()
DENSE, PRUNED = (segmented(logits(MASKS, seed=s), MASKS)[:, None] for s in (1, 2))


def counted(rule: Rule, dense: Answers = DENSE, pruned: Answers = PRUNED) -> ScoreCounts:
    found = counts_of(rule, dense, pruned, classes=CLASSES)
    assert isinstance(found, ScoreCounts)
    return found


def test_a_record_counts_each_labelled_pixel_once_and_no_other() -> None:
    values = logits(MASKS, seed=1)
    found = segmented(values, MASKS)
    assert found.dtype == segmented_answer(3)
    for index in range(N):
        right, predicted, labelled, scores = [0] * 3, [0] * 3, [0] * 3, []
        for y in range(SIDE):
            for x in range(SIDE):
                label, pixel = MASKS[index, y, x], values[index, :, y, x].astype(np.float64)
                if label == 255:
                    continue
                answer = max(range(3), key=lambda k: (pixel[k], -k))
                labelled[label] += 1
                predicted[answer] += 1
                right[label] += int(answer == label)
                scores.append(((special.softmax(pixel) - np.eye(3)[label]) ** 2).sum() / 2)
        assert found[index]["right"].tolist() == right
        assert found[index]["predicted"].tolist() == predicted
        assert found[index]["labelled"].tolist() == labelled
        assert found[index]["score"] == pytest.approx(np.mean(scores), rel=1e-6)


def test_of_equal_logits_the_first_class_is_the_answer() -> None:
    mask = np.array([[[0, 1, 2, 255]]], dtype=np.uint8)
    found = segmented(np.zeros((1, 3, 1, 4), np.float32), mask)[0]
    assert found["predicted"].tolist() == [3, 0, 0]
    assert found["right"].tolist() == [1, 0, 0]


@pytest.mark.parametrize("draws", [1, 2])
def test_an_images_growth_is_its_share_of_pixels_lost_rounded_up_to_a_step(draws: int) -> None:
    dense, pruned = (
        np.hstack([segmented(logits(MASKS, seed=s + d), MASKS)[:, None] for d in range(draws)])
        for s in (10, 20)
    )
    found = counted(CLEAN if draws == 1 else TWICE, dense, pruned)
    assert found.of == "pixels"
    growths = []
    for one, other in zip(dense, pruned, strict=True):
        pixels = int(one["labelled"][0].sum())
        lost = Fraction(int(one["right"].sum()) - int(other["right"].sum()), pixels * draws)
        growths.append(ceil(lost * STEPS))
    assert sorted(growths) == [s for s, images in found.growths for _ in range(images)]
    wrong = [1 - one["right"].sum() / (one["labelled"][0].sum() * draws) for one in dense]
    assert found.dense_score == pytest.approx(np.mean(wrong), abs=1 / STEPS)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(40, 60))
def test_the_drop_is_never_told_smaller_than_it_is(dense: int, pruned: int, pixels: int) -> None:
    def one(wrong: int) -> Answers:
        answer = np.zeros((1, 1), dtype=segmented_answer(3))
        answer["labelled"][0, 0] = [pixels, 0, 0]
        answer["predicted"][0, 0] = [pixels - wrong, wrong, 0]
        answer["right"][0, 0] = [pixels - wrong, 0, 0]
        return answer

    found = counted(CLEAN, one(dense), one(pruned))
    true = Fraction(pruned - dense, pixels)
    assert true <= Fraction(found.drop) < true + Fraction(1, STEPS)


def test_brier_is_the_growth_of_the_mean_over_labelled_pixels() -> None:
    found = counted(BRIER)
    grown = PRUNED["score"].astype(np.float64) - DENSE["score"]
    assert found.of == "brier"
    assert found.drop == pytest.approx(grown.mean(), abs=1 / STEPS)


@pytest.mark.parametrize(
    "rule, said",
    [
        (CLEAN.model_copy(update={"metric": "flips"}), "clean-flips is judged by flips"),
        (CLEAN.model_copy(update={"metric": "top5"}), "clean-top5 is judged by top5"),
        (
            ShiftRule(name="clean", only=("car",), id="cars", tolerance=0.02, reason="test"),
            "cars is about images of 'car'.*several classes; remove only",
        ),
        (
            FolderRule(id="yard", folder="yard", tolerance=0.02, reason="test"),
            "yard brings images of its own without masks",
        ),
    ],
)
def test_a_rule_that_asks_for_one_answer_an_image_is_refused_by_name(rule: Rule, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        counted(rule)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda a: a[:-1], "not to the same images with the same masks"),
        (lambda a: a[:, 0], "counts of right, predicted and labelled"),
        (lambda a: a.astype(segmented_answer(3))[:0], "not to the same images"),
    ],
)
def test_answers_that_do_not_fit_each_other_are_refused(change: Any, said: str) -> None:  # noqa: ANN401 # a function
    with pytest.raises(ValueError, match=said):
        check_segmented(DENSE, change(PRUNED), classes=3)


@pytest.mark.parametrize("field", ["right", "predicted"])
def test_counts_that_no_answer_has_are_refused(field: str) -> None:
    forged = PRUNED.copy()
    forged[field][0, 0, 0] += 1000
    with pytest.raises(ValueError, match="do not fit together"):
        check_segmented(DENSE, forged, classes=3)


def test_answers_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="masks of 4 classes"):
        counts_of(CLEAN, DENSE, PRUNED, classes=(*CLASSES, "tree"))


def policy(*rules: Rule) -> Policy:
    return Policy(
        apiVersion="compress/v1", name="test", summary="For tests.", alpha=0.05, min_images=100,
        method="fixed", shifts=rules,
    )  # fmt: skip


def evidence(rule: Rule, counts: PairedCounts | ScoreCounts) -> Evidence:
    return Evidence(
        candidate="c", dense="d", name="small", position=0, ratio=None, shift=rule.id,
        images="i", look=1, counts=counts,
    )  # fmt: skip


EVEN = ScoreCounts(growths=((0, 2000),), dense_steps=2000 * 400, of="pixels")
WORSE = ScoreCounts(growths=((400, 2000),), dense_steps=2000 * 400, of="pixels")
FOG = ShiftRule(name="fog", severity=3, tolerance=0.03, reason="test")


def test_a_segmentation_passes_where_no_pixels_are_lost_and_fails_where_many_are() -> None:
    assert judge_cell(policy(CLEAN), CLEAN, EVEN, look=1).outcome is Outcome.ACCEPTED
    cell = judge_cell(policy(CLEAN), CLEAN, WORSE, look=1)
    assert cell.outcome is Outcome.VIOLATED
    assert cell.statistic == "pixel drop"


def test_top1_is_of_pixels_or_of_images_and_never_of_both() -> None:
    paired = PairedCounts(both_right=2000, only_dense=0, only_pruned=0, both_wrong=0)
    judge_step(policy(CLEAN, FOG), [evidence(CLEAN, EVEN), evidence(FOG, EVEN)])
    with pytest.raises(VerdictError, match="more than one task"):
        judge_step(policy(CLEAN, FOG), [evidence(CLEAN, EVEN), evidence(FOG, paired)])


def test_scores_are_no_right_pixels_and_right_pixels_no_scores() -> None:
    scores = replace(EVEN, of="brier")
    with pytest.raises(VerdictError, match="by right answers, and the evidence is of scores"):
        judge_step(policy(CLEAN), [evidence(CLEAN, scores)])
    with pytest.raises(VerdictError, match="by scores, and the evidence is of right pixels"):
        judge_step(policy(BRIER), [evidence(BRIER, EVEN)])


def test_what_is_expected_of_right_pixels_stays_of_right_pixels() -> None:
    assert fits(CLEAN, EVEN) and not fits(BRIER, EVEN)
    assert not fits(CLEAN, replace(EVEN, of="brier"))
    for counts in (agreeing(WORSE, 10), without_drop(WORSE)):
        assert isinstance(counts, ScoreCounts)
        assert counts.of == "pixels"
    assert variance(without_drop(WORSE)) == pytest.approx((400 / STEPS) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    ids: NDArray[np.uint64]


def some_set() -> Set:
    rng = np.random.default_rng(0)
    return Set(
        images=rng.integers(0, 256, (N, 3, SIDE, SIDE), dtype=np.uint8),
        labels=MASKS,
        ids=rng.integers(0, 2**64, N, dtype=np.uint64),
    )


def brightest(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A model that says: the colour that a pixel has most of."""
    return images.astype(np.float32) / np.float32(255)


NOISE = Distribution(components=(Component(name="gaussian_noise", severity=2),), draws=2)


def measured(predict: Any, *, batch_size: int = 256) -> Answers:  # noqa: ANN401 # a function
    return segmented_answers(
        predict, some_set(), classes=3, rows=np.arange(N), distribution=NOISE, seed=5,
        profile="auto", batch_size=batch_size,
    ).answers  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 5, 256])
def test_shifts_move_images_and_masks_stay_whatever_the_batch(batch_size: int) -> None:
    images = some_set()
    found = measured(brightest, batch_size=batch_size)
    assert found.shape == (N, 2)
    for draw in range(2):
        seen = sample(images.images, images.ids, distribution=NOISE, seed=5, draw=draw)
        assert np.array_equal(found[:, draw], segmented(brightest(seen), MASKS))


@pytest.mark.parametrize(
    "predict, said",
    [
        (lambda x: brightest(x)[:, :, ::2], r"\[12, 3, 4, 8\]; for these masks .* \[12, 3, 8, 8\]"),
        (lambda x: brightest(x).mean((2, 3)), "a number for each class and pixel"),
        (lambda x: brightest(x)[:, :2], r"it must return \[12, 3, 8, 8\]"),
        (lambda x: brightest(x) + np.float32("nan"), "not finite"),
    ],
)
def test_answers_that_are_none_for_every_pixel_are_refused(predict: Any, said: str) -> None:  # noqa: ANN401 # a function
    with pytest.raises(MeasureError, match=said):
        measured(predict)


def test_large_images_are_asked_a_few_at_once_in_parts_of_whole_batches() -> None:
    assert images_at_once((64, 64), most=256) == 256
    assert images_at_once((520, 520), most=256) == 4
    assert images_at_once((4096, 4096), most=256) == 1


def test_training_and_the_gate_leave_out_the_same_pixels() -> None:
    assert compressor.labels.NOT_LABELLED == gates.answers.NOT_LABELLED == 255
