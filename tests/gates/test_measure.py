"""The observing half of the gate, with models of three lines; records are in test_answers."""

import time
from dataclasses import astuple
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gates.answers import ANSWER, UNLABELLED_ANSWER, labelled, unlabelled
from gates.measure import Seconds, labelled_answers, unlabelled_answers
from gates.shifts import sample, shifted
from tests.gates.observed import ALL, CLEAN, DRAWN, NOISE, Set, by_sum, measured, some_set


def test_there_is_a_record_for_each_image() -> None:
    images = some_set()
    answers = measured(by_sum, images).answers
    assert answers.dtype == ANSWER
    assert answers.shape == (23, 1)
    expected = labelled(by_sum(images.images), images.labels)
    assert 0 < (expected["rank"] == 0).sum() < 23
    assert np.array_equal(answers[:, 0], expected)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 23, 256])
def test_the_batch_size_changes_no_answer(batch_size: int) -> None:
    images = some_set()
    noisy = shifted(images.images, images.ids, name="gaussian_noise", severity=2, seed=5)
    answers = measured(by_sum, images, distribution=NOISE, batch_size=batch_size).answers
    assert np.array_equal(answers[:, 0], labelled(by_sum(noisy), images.labels))


@pytest.mark.parametrize("batch_size", [4, 256])
def test_each_column_is_one_draw_of_the_distribution(batch_size: int) -> None:
    images = some_set()
    answers = measured(by_sum, images, distribution=DRAWN, batch_size=batch_size).answers
    assert answers.shape == (23, 3)
    for draw in range(3):
        seen = sample(images.images, images.ids, distribution=DRAWN, seed=5, draw=draw)
        assert np.array_equal(answers[:, draw], labelled(by_sum(seen), images.labels))
    assert (answers["predicted"] != answers["predicted"][:, :1]).any(), "all draws were the same"


@given(
    order=st.permutations(list(range(23))),
    cuts=st.lists(st.integers(0, 23), max_size=3).map(sorted),
    batch_size=st.integers(1, 9),
)
def test_answers_to_some_rows_and_then_the_others_are_those_to_all(
    order: list[int], cuts: list[int], batch_size: int
) -> None:
    images, rows = some_set(), np.array(order)
    parts = [
        measured(by_sum, images, rows=part, distribution=NOISE, batch_size=batch_size).answers
        for part in np.split(rows, cuts)
    ]
    whole = measured(by_sum, images, distribution=NOISE).answers
    assert np.array_equal(np.concatenate(parts), whole[rows])


def test_looks_that_end_with_a_batch_show_the_model_the_very_same_batches() -> None:
    images, rows = some_set(), np.arange(23)[::-1].copy()

    def batches(*parts: NDArray[np.int64]) -> list[bytes]:
        seen: list[bytes] = []

        def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            seen.append(batch.tobytes())
            return by_sum(batch)

        for part in parts:
            measured(predict, images, rows=part, batch_size=4)
        return seen

    assert batches(rows[:8], rows[8:20], rows[20:]) == batches(rows)


def test_no_rows_have_no_answers() -> None:
    none = np.arange(0)
    assert measured(by_sum, some_set(), rows=none, distribution=DRAWN).answers.shape == (0, 3)
    assert unlabelled_answers(by_sum, some_set().images, rows=none).answers.shape == (0,)


def test_batches_come_in_the_order_of_the_rows_and_progress_counts_them() -> None:
    images = some_set()
    seen: list[NDArray[np.uint8]] = []
    done: list[int] = []

    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(batch)
        return by_sum(batch)

    rows = np.array([22, 0, 7, 7, 3])
    labelled_answers(
        predict,
        images,
        rows=rows,
        distribution=CLEAN,
        seed=0,
        profile="auto",
        batch_size=2,
        on_batch=done.append,
    )
    assert [len(batch) for batch in seen] == [2, 2, 1]
    assert np.array_equal(np.concatenate(seen), images.images[rows])
    assert done == [2, 4, 5]


def test_images_are_told_done_when_all_their_draws_are() -> None:
    calls: list[str] = []

    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append("asked")
        return by_sum(batch)

    labelled_answers(
        predict,
        some_set(),
        rows=np.arange(4),
        distribution=DRAWN,
        seed=0,
        profile="auto",
        batch_size=2,
        on_batch=lambda done: calls.append(f"{done} done"),
    )
    assert calls == [*3 * ["asked"], "2 done", *3 * ["asked"], "4 done"]


class _OnDisk:
    """Pixels that tell which were read; all at once cannot be."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels, self.read = pixels, list[list[int]]()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.read.append(rows.tolist())
        return self.pixels[rows]


def test_only_the_pixels_of_one_batch_are_read_at_a_time() -> None:
    images, rows = some_set(), np.array([20, 4, 11, 0, 9])
    disk = _OnDisk(images.images)
    lazy = Set(images=cast(Any, disk), labels=images.labels, ids=images.ids)
    told = measured(by_sum, lazy, rows=rows, distribution=DRAWN, batch_size=2).answers
    assert disk.read == [[20, 4], [11, 0], [9]]
    assert np.array_equal(told, measured(by_sum, images, rows=rows, distribution=DRAWN).answers)
    disk.read.clear()
    unlabelled_answers(by_sum, cast(Any, disk), rows=rows, batch_size=3)
    assert disk.read == [[20, 4, 11], [0, 9]]


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


@pytest.mark.parametrize("batch_size", [1, 10, 256])
def test_without_labels_there_is_a_record_for_each_image_as_it_is(batch_size: int) -> None:
    images, done, rows = some_set().images, list[int](), ALL[::-1].copy()
    found = unlabelled_answers(
        by_sum, images, rows=rows, batch_size=batch_size, on_batch=done.append
    )
    assert found.answers.dtype == UNLABELLED_ANSWER
    assert np.array_equal(found.answers, unlabelled(by_sum(images))[::-1])
    assert done[-1] == 23
    assert found.seconds.shift == 0.0
    assert found.seconds.infer > 0.0
