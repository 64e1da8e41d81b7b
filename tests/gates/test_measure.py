"""The observing half of the gate, with models of three lines."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from gates.measure import MeasureError, Predict, right_answers
from gates.shifts import ShiftError, shifted

CLASSES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: NDArray[np.uint64]


def some_set(n: int = 23) -> Set:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    images.setflags(write=False)
    return Set(
        images=images,
        labels=rng.integers(0, CLASSES, n),
        ids=rng.integers(0, 2**64, n, dtype=np.uint64),
    )


def by_sum(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A model that says: the sum of the pixels modulo the number of classes."""
    answers = images.sum(axis=(1, 2, 3), dtype=np.int64) % CLASSES
    logits = np.zeros((len(images), CLASSES), np.float32)
    logits[np.arange(len(images)), answers] = 1.0
    return logits


def test_right_is_where_the_largest_logit_is_the_labels() -> None:
    images = some_set()
    right = right_answers(by_sum, images, shift="clean", severity=None, seed=0, profile="auto")
    expected = by_sum(images.images).argmax(axis=1) == images.labels
    assert right.dtype == np.bool_
    assert 0 < right.sum() < len(right)
    assert np.array_equal(right, expected)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 23, 256])
def test_the_batch_size_changes_no_answer(batch_size: int) -> None:
    images = some_set()
    noisy = shifted(images.images, images.ids, name="gaussian_noise", severity=2, seed=5)
    right = right_answers(
        by_sum,
        images,
        shift="gaussian_noise",
        severity=2,
        seed=5,
        profile="auto",
        batch_size=batch_size,
    )
    assert np.array_equal(right, by_sum(noisy).argmax(axis=1) == images.labels)


def test_batches_come_in_order_and_progress_counts_images() -> None:
    images = some_set()
    seen: list[NDArray[np.uint8]] = []
    done: list[int] = []

    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(batch)
        return by_sum(batch)

    right_answers(
        predict,
        images,
        shift="clean",
        severity=None,
        seed=0,
        profile="auto",
        batch_size=10,
        on_batch=done.append,
    )
    assert np.array_equal(np.concatenate(seen), images.images)
    assert done == [10, 20, 23]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_not_counted_as_wrong(value: float) -> None:
    images = some_set()

    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = by_sum(batch)
        logits[(batch == images.images[17]).all(axis=(1, 2, 3)), 1] = value
        return logits

    with pytest.raises(MeasureError, match="image 17 under clean are not finite"):
        right_answers(
            predict,
            images,
            shift="clean",
            severity=None,
            seed=0,
            profile="auto",
            batch_size=5,
        )


def test_an_error_names_the_severity_too() -> None:
    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(batch), CLASSES), np.nan, np.float32)

    with pytest.raises(MeasureError, match="image 0 under contrast-4 "):
        right_answers(predict, some_set(), shift="contrast", severity=4, seed=0, profile="auto")


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda batch: by_sum(batch)[:, :2], "knows 2 classes, but the labels go from 0 to 3"),
        (lambda batch: by_sum(batch)[:-1], r"23 images with logits of shape \[22, 4\]"),
        (lambda batch: by_sum(batch).ravel(), r"23 images with logits of shape \[92\]"),
    ],
)
def test_logits_of_another_shape_are_refused(predict: Predict, message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        right_answers(predict, some_set(), shift="clean", severity=None, seed=0, profile="auto")


def test_an_unknown_shift_is_a_shift_error() -> None:
    with pytest.raises(ShiftError, match="no shift 'rain'"):
        right_answers(by_sum, some_set(), shift="rain", severity=1, seed=0, profile="auto")


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        right_answers(
            by_sum,
            some_set(),
            shift="clean",
            severity=None,
            seed=0,
            profile="auto",
            batch_size=0,
        )


def test_images_labels_and_ids_must_be_equally_many() -> None:
    good = some_set()
    bad = Set(images=good.images, labels=good.labels[:-1], ids=good.ids)
    with pytest.raises(ValueError, match="equally many, got 23 22 23"):
        right_answers(by_sum, bad, shift="clean", severity=None, seed=0, profile="auto")
