"""The observing half of the gate, with models of three lines."""

import time
from dataclasses import astuple, dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from gates.measure import (
    Measured,
    MeasureError,
    Predict,
    Seconds,
    predicted_classes,
    right_answers,
)
from gates.shifts import Component, Distribution, ShiftError, sample, shifted

CLASSES = 4

CLEAN = Distribution(components=(Component(name="clean"),))
NOISE = Distribution(components=(Component(name="gaussian_noise", severity=2),))
DRAWN = Distribution(
    components=(
        Component(name="gaussian_noise", severity=2),
        Component(name="uniform_noise", level=0.07),
        Component(name="contrast", severity=4),
    ),
    draws=3,
)


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


def measured(
    predict: Predict, images: Set, *, distribution: Distribution = CLEAN, batch_size: int = 256
) -> Measured:
    return right_answers(
        predict, images, distribution=distribution, seed=5, profile="auto", batch_size=batch_size
    )


def test_right_is_where_the_largest_logit_is_the_labels() -> None:
    images = some_set()
    right = measured(by_sum, images).right
    expected = by_sum(images.images).argmax(axis=1) == images.labels
    assert right.dtype == np.bool_
    assert right.shape == (23, 1)
    assert 0 < right.sum() < len(right)
    assert np.array_equal(right[:, 0], expected)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 23, 256])
def test_the_batch_size_changes_no_answer(batch_size: int) -> None:
    images = some_set()
    noisy = shifted(images.images, images.ids, name="gaussian_noise", severity=2, seed=5)
    right = measured(by_sum, images, distribution=NOISE, batch_size=batch_size).right
    assert np.array_equal(right[:, 0], by_sum(noisy).argmax(axis=1) == images.labels)


@pytest.mark.parametrize("batch_size", [4, 256])
def test_each_column_is_one_draw_of_the_distribution(batch_size: int) -> None:
    images = some_set()
    right = measured(by_sum, images, distribution=DRAWN, batch_size=batch_size).right
    assert right.shape == (23, 3)
    for draw in range(3):
        seen = sample(images.images, images.ids, distribution=DRAWN, seed=5, draw=draw)
        assert np.array_equal(right[:, draw], by_sum(seen).argmax(axis=1) == images.labels)
    assert (right != right[:, :1]).any(), "all draws were the same"


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
        distribution=CLEAN,
        seed=0,
        profile="auto",
        batch_size=10,
        on_batch=done.append,
    )
    assert np.array_equal(np.concatenate(seen), images.images)
    assert done == [10, 20, 23]


def test_images_are_told_done_when_all_their_draws_are() -> None:
    calls: list[str] = []

    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append("asked")
        return by_sum(batch)

    right_answers(
        predict,
        some_set(4),
        distribution=DRAWN,
        seed=0,
        profile="auto",
        batch_size=2,
        on_batch=lambda done: calls.append(f"{done} done"),
    )
    assert calls == [*3 * ["asked"], "2 done", *3 * ["asked"], "4 done"]


class _SlowToRead(np.ndarray[tuple[int, ...], np.dtype[np.uint8]]):
    """Pixels that take their time to be copied, as those of a memory map may."""

    def __array_finalize__(self, source: object) -> None:
        time.sleep(0.02)


def test_seconds_are_told_by_what_they_were_spent_on() -> None:
    images = some_set(4)

    def slow(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(0.05)
        return by_sum(batch)

    spent = measured(slow, images, distribution=DRAWN, batch_size=2).seconds
    assert spent.infer >= 2 * 3 * 0.05
    assert spent.shift > 0.0
    assert spent.load > 0.0
    assert spent.total == spent.load + spent.shift + spent.infer
    lazy = Set(images=images.images.view(_SlowToRead), labels=images.labels, ids=images.ids)
    assert measured(by_sum, lazy, distribution=DRAWN, batch_size=2).seconds.load >= 2 * 0.02


def test_seconds_add_up_by_kind() -> None:
    both = Seconds(load=1.0, shift=2.0, infer=3.0) + Seconds(load=0.5, infer=0.25)
    assert astuple(both) == (1.5, 2.0, 3.25)
    assert Seconds().total == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_not_counted_as_wrong(value: float) -> None:
    images = some_set()

    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = by_sum(batch)
        logits[(batch == images.images[17]).all(axis=(1, 2, 3)), 1] = value
        return logits

    with pytest.raises(MeasureError, match="image 17 under clean are not finite"):
        measured(predict, images, batch_size=5)
    with pytest.raises(MeasureError, match="image 17 are not finite"):
        predicted_classes(predict, images.images, batch_size=5)


@pytest.mark.parametrize(
    "distribution, told",
    [
        (NOISE, "image 0 under gaussian_noise-2 are"),
        (
            Distribution(components=DRAWN.components[1:]),
            "image 0 under one of uniform_noise-0.07, contrast-4 are",
        ),
        (Distribution(components=NOISE.components, draws=2), r"noise-2 \(draw 1 of 2\) are"),
    ],
)
def test_an_error_names_what_the_images_were_seen_under(
    distribution: Distribution, told: str
) -> None:
    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(batch), CLASSES), np.nan, np.float32)

    with pytest.raises(MeasureError, match=told):
        measured(predict, some_set(), distribution=distribution)


def test_every_draw_is_checked() -> None:
    asked: list[int] = []

    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        asked.append(len(batch))
        return by_sum(batch) if len(asked) < 3 else by_sum(batch)[:, :2]

    with pytest.raises(MeasureError, match="knows 2 classes"):
        measured(predict, some_set(), distribution=DRAWN)
    assert len(asked) == 3


SHAPES: list[tuple[Predict, str]] = [
    (lambda batch: by_sum(batch)[:-1], r"23 images with logits of shape \[22, 4\]"),
    (lambda batch: by_sum(batch).ravel(), r"23 images with logits of shape \[92\]"),
]


@pytest.mark.parametrize(
    "predict, message",
    [
        *SHAPES,
        (lambda batch: by_sum(batch)[:, :2], "knows 2 classes, but the labels go from 0 to 3"),
    ],
)
def test_logits_of_another_shape_are_refused(predict: Predict, message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        measured(predict, some_set())


@pytest.mark.parametrize("predict, message", SHAPES)
def test_logits_of_another_shape_are_refused_without_labels_too(
    predict: Predict, message: str
) -> None:
    with pytest.raises(MeasureError, match=message):
        predicted_classes(predict, some_set().images)


@pytest.mark.parametrize("batch_size", [1, 10, 256])
def test_predicted_classes_are_the_columns_of_the_largest_logits(batch_size: int) -> None:
    images, done = some_set().images, list[int]()
    found = predicted_classes(by_sum, images, batch_size=batch_size, on_batch=done.append)
    assert found.classes.dtype == np.int64
    assert np.array_equal(found.classes, images.sum(axis=(1, 2, 3), dtype=np.int64) % CLASSES)
    assert done[-1] == 23
    assert found.seconds.shift == 0.0
    assert found.seconds.infer > 0.0


def test_an_unknown_shift_is_a_shift_error() -> None:
    rain = Distribution(components=(Component(name="rain", severity=1),))
    with pytest.raises(ShiftError, match="no shift 'rain'"):
        measured(by_sum, some_set(), distribution=rain)


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        measured(by_sum, some_set(), batch_size=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        predicted_classes(by_sum, some_set().images, batch_size=0)


def test_images_labels_and_ids_must_be_equally_many() -> None:
    good = some_set()
    bad = Set(images=good.images, labels=good.labels[:-1], ids=good.ids)
    with pytest.raises(ValueError, match="equally many, got 23 22 23"):
        measured(by_sum, bad)
