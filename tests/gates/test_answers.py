"""Records of answers, against softmax, rank and Brier score computed in other ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import special

from gates.answers import (
    ANSWER,
    UNLABELLED_ANSWER,
    check_classes,
    check_labelled,
    labelled,
    unlabelled,
)

# Few different values, so that ties are common, and some of every size that float32 has.
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 3.4e38, -3.4e38, 1e-45]),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@st.composite
def asked(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    n, classes = draw(st.integers(0, 6)), draw(st.integers(1, 8))
    logits = draw(arrays(np.float32, (n, classes), elements=VALUES))
    labels = draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    return logits, labels


@given(asked())
def test_rank_is_the_labels_place_among_the_sorted_logits(
    case: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    logits, labels = case
    answers = labelled(logits, labels)
    for row, label in enumerate(labels):
        places = np.argsort(-logits[row].astype(np.float64), kind="stable")
        assert answers["rank"][row] == places.tolist().index(label)


@given(asked())
def test_rank_is_0_exactly_where_the_label_was_predicted_ties_or_not(
    case: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    logits, labels = case
    answers = labelled(logits, labels)
    assert np.array_equal(answers["predicted"], logits.argmax(axis=1))
    assert np.array_equal(answers["rank"] == 0, answers["predicted"] == answers["label"])


@given(asked())
def test_score_and_confidence_are_those_of_softmax_and_never_leave_0_to_1(
    case: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    logits, labels = case
    answers = labelled(logits, labels)
    chances = special.softmax(logits.astype(np.float64), axis=1)
    truth = np.eye(logits.shape[1])[labels]
    brier = ((chances - truth) ** 2).sum(axis=1)
    assert np.allclose(answers["score"], brier / 2, rtol=1e-6, atol=1e-7)
    assert np.allclose(answers["confidence"], chances.max(axis=1), rtol=1e-6)
    for field in ("score", "confidence"):
        assert ((answers[field] >= 0.0) & (answers[field] <= 1.0)).all()


@given(asked())
def test_an_answer_without_label_is_that_with_one_less_what_the_label_says(
    case: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    logits, labels = case
    whole, part = labelled(logits, labels), unlabelled(logits)
    assert part.dtype == UNLABELLED_ANSWER
    for field in ("predicted", "confidence"):
        assert np.array_equal(whole[field], part[field])


@pytest.mark.parametrize(
    "chances, label, score",
    [
        ([0.5, 0.5], 0, 0.25),  # (0.25 + 0.25) / 2
        ([0.7, 0.2, 0.1], 0, 0.07),  # (0.09 + 0.04 + 0.01) / 2
        ([0.7, 0.2, 0.1], 2, 0.67),  # (0.49 + 0.04 + 0.81) / 2
        ([0.25, 0.25, 0.25, 0.25], 3, 0.375),  # (3 * 0.0625 + 0.5625) / 2
    ],
)
def test_brier_scores_computed_by_hand(chances: list[float], label: int, score: float) -> None:
    logits = np.log(np.array([chances], dtype=np.float32))
    assert labelled(logits, np.array([label]))["score"][0] == pytest.approx(score, abs=1e-6)


def test_certainty_scores_0_where_it_is_right_and_1_where_it_is_wrong() -> None:
    logits = np.array([[200.0, -200.0], [200.0, -200.0]], dtype=np.float32)
    answers = labelled(logits, np.array([0, 1]))
    assert answers["score"].tolist() == [0.0, 1.0]
    assert answers["confidence"].tolist() == [1.0, 1.0]


def test_a_record_has_the_same_bytes_on_every_machine() -> None:
    answer = labelled(np.array([[0.0, 0.0, 0.0]], dtype=np.float32), np.array([2]))
    assert answer.tobytes().hex(" ", 4) == "02000000 00000000 02000000 abaaaa3e abaaaa3e"
    assert (ANSWER.itemsize, UNLABELLED_ANSWER.itemsize) == (20, 8)


def some(n: int = 4, draws: int = 1) -> NDArray[np.void]:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((n * draws, 3)).astype(np.float32)
    return labelled(logits, np.repeat(np.arange(n) % 3, draws)).reshape(n, draws)


OTHER_LABELS = some()
OTHER_LABELS["label"][2] = 0


@pytest.mark.parametrize(
    "dense, pruned, told",
    [
        (some(), some(3), r"answers \(4, 1\) of the dense model and \(3, 1\) of the pruned"),
        (some(), some(draws=2), "are not to the same images"),
        (some(), OTHER_LABELS, "with the same labels"),
        (some()[:, 0], some()[:, 0], r"\[n draws\], not .* \(4,\)"),
        (some(), unlabelled(np.zeros((4, 3), np.float32)), "of label, predicted, rank, score"),
        (np.ones((4, 1)), some(), "not float64"),
        (some(0), some(0), "no images"),
    ],
)
def test_answers_that_are_not_to_the_same_labelled_images_are_refused(
    dense: NDArray[np.void], pruned: NDArray[np.void], told: str
) -> None:
    check_labelled(some(), some())
    with pytest.raises(ValueError, match=told):
        check_labelled(dense, pruned)


def test_labels_beyond_the_classes_are_refused() -> None:
    check_classes(some(), 3)
    with pytest.raises(ValueError, match="labels from 0 to 2 do not go with 2 classes"):
        check_classes(some(), 2)
    negative = some()
    negative["label"][0] = -1
    with pytest.raises(ValueError, match="labels from -1 to 2"):
        check_classes(negative, 3)
