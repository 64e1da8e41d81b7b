"""What the gate does not measure, and what it says then."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gates.measure import MeasureError, Predict, unlabelled_answers
from gates.shifts import Component, Distribution, ShiftError
from tests.gates.observed import ALL, CLASSES, DRAWN, NOISE, Set, by_sum, measured, some_set


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_not_counted_as_wrong(value: float) -> None:
    images = some_set()

    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = by_sum(batch)
        logits[(batch == images.images[17]).all(axis=(1, 2, 3)), 1] = value
        return logits

    rows = ALL[::-1].copy()
    with pytest.raises(MeasureError, match="image 17 under clean are not finite"):
        measured(predict, images, rows=rows, batch_size=5)
    with pytest.raises(MeasureError, match="image 17 are not finite"):
        unlabelled_answers(predict, images.images, rows=rows, batch_size=5)


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
        unlabelled_answers(predict, some_set().images, rows=ALL)


def test_an_unknown_shift_is_a_shift_error() -> None:
    rain = Distribution(components=(Component(name="rain", severity=1),))
    with pytest.raises(ShiftError, match="no shift 'rain'"):
        measured(by_sum, some_set(), distribution=rain)


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        measured(by_sum, some_set(), batch_size=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        unlabelled_answers(by_sum, some_set().images, rows=ALL, batch_size=0)


def test_images_labels_and_ids_must_be_equally_many() -> None:
    good = some_set()
    bad = Set(images=good.images, labels=good.labels[:-1], ids=good.ids)
    with pytest.raises(ValueError, match="equally many, got 23 22 23"):
        measured(by_sum, bad)


@pytest.mark.parametrize(
    "rows, told",
    [
        (np.array([0, 23]), "rows from 0 to 23 are asked about, of 23 images"),
        (np.array([-1, 3]), "rows from -1 to 3 are asked about"),
        (np.array([[0, 1]]), r"rows are integers \[n\], not int64 \(1, 2\)"),
        (np.ones(23, dtype=np.bool_), "not bool"),
    ],
)
def test_rows_that_are_none_of_the_images_are_refused(rows: NDArray[Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        measured(by_sum, some_set(), rows=rows)
    with pytest.raises(ValueError, match=told):
        unlabelled_answers(by_sum, some_set().images, rows=rows)
