"""Mean overlap, against a confusion matrix of all pixels and against cases done by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gates import Overlap, overlap
from gates.answers import NOT_LABELLED, Answers, segmented

CLASSES = ("road", "sky", "car", "tram")
SIDE = 6


def masks(n: int = 40) -> NDArray[np.uint8]:
    """Of the first three classes; no mask shows a tram."""
    rng = np.random.default_rng(0)
    found = rng.integers(0, 3, (n, SIDE, SIDE)).astype(np.uint8)
    found[rng.random(found.shape) < 0.2] = NOT_LABELLED
    return found


MASKS = masks()


def named(right: float, *, seed: int) -> NDArray[np.int64]:
    """Answers [n h w] of which about so large a share is right; some say tram."""
    rng = np.random.default_rng(seed)
    other = rng.integers(0, 4, MASKS.shape)
    return np.where(rng.random(MASKS.shape) < right, np.minimum(MASKS, 3), other)


def answers(classes: NDArray[np.int64]) -> Answers:
    return segmented(np.eye(4, dtype=np.float32)[classes].transpose(0, 3, 1, 2), MASKS)[:, None]


def found(dense: NDArray[np.int64], pruned: NDArray[np.int64]) -> Overlap:
    return overlap(answers(dense), answers(pruned), classes=CLASSES, seed=0)


def overlaps(classes: NDArray[np.int64]) -> list[float]:
    """Of the classes that there are, by a confusion matrix of all labelled pixels."""
    known = MASKS != NOT_LABELLED
    together = np.zeros((4, 4))
    np.add.at(together, (MASKS[known], classes[known]), 1)
    hits = np.diag(together)
    return [hits[k] / (together[k].sum() + together[:, k].sum() - hits[k]) for k in range(3)]


def test_it_is_the_mean_over_classes_of_intersection_over_union() -> None:
    dense, pruned = named(0.9, seed=1), named(0.7, seed=2)
    result = found(dense, pruned)
    assert result.classes == 3
    assert result.dense == pytest.approx(np.mean(overlaps(dense)))
    assert result.pruned == pytest.approx(np.mean(overlaps(pruned)))
    low, high = result.interval
    assert low < result.drop < high
    assert low > 0.0, "a loss of a tenth on 40 images is seen"


def test_the_worst_class_is_the_one_whose_overlap_fell_most() -> None:
    dense = named(0.95, seed=1)
    pruned = np.where((MASKS == 2) & (named(0.5, seed=3) != 2), 1, dense)
    result = found(dense, pruned)
    falls = np.subtract(overlaps(dense), overlaps(pruned))
    assert result.worst.name == CLASSES[falls.argmax()] == "car"
    assert result.worst.drop == pytest.approx(falls.max())
    assert result.worst.n == int((MASKS == 2).any(axis=(1, 2)).sum())
    low, high = result.worst.interval
    assert 0.0 < low < result.worst.drop < high


def test_equal_answers_lose_nothing_with_certainty() -> None:
    dense = named(0.8, seed=1)
    result = found(dense, dense)
    assert result.drop == 0.0
    assert result.interval == result.worst.interval == (0.0, 0.0)


def test_a_case_by_hand() -> None:
    mask = np.array([[[0, 0, 1, 255]]], dtype=np.uint8)

    def said(*classes: int) -> Answers:
        logits = np.eye(2, dtype=np.float32)[list(classes)].T[None, :, None]
        return segmented(logits, mask)[:, None]

    result = overlap(said(0, 0, 1, 0), said(0, 1, 1, 1), classes=("a", "b"), seed=0)
    # Of the pruned model: a is 1 of 2 pixels, b is 1 of the 2 that are b or were called so.
    assert (result.dense, result.pruned) == (1.0, 0.5)
    assert result.worst.name == "a", "of equals the first"


def test_the_same_seed_gives_the_same_interval_and_draws_of_an_image_stay_together() -> None:
    dense, pruned = answers(named(0.9, seed=1)), answers(named(0.8, seed=2))
    once = overlap(dense, pruned, classes=CLASSES, seed=3)
    assert once == overlap(dense, pruned, classes=CLASSES, seed=3)
    twice = overlap(np.hstack([dense] * 2), np.hstack([pruned] * 2), classes=CLASSES, seed=3)
    assert twice == once, "a second look at the same pixels adds no sample"
