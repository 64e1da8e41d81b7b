"""Scores that grew: rounded up, never down, and each image once."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from gates import ScoreCounts, grown
from gates.counts import STEPS

SCORES = ScoreCounts(growths=((-STEPS // 4, 2), (0, 6), (STEPS // 2, 2)), dense_steps=2 * STEPS)

SCORE_SHAPES = st.tuples(st.integers(1, 30), st.integers(1, 5))
SCORED = SCORE_SHAPES.flatmap(
    lambda shape: st.tuples(
        *[arrays(np.float32, shape, elements=st.floats(0, 1, width=32)) for _ in range(2)]
    )
)


def test_the_growth_of_a_score_is_the_mean_over_images() -> None:
    assert SCORES.n == 10
    assert SCORES.drop == pytest.approx((-2 / 4 + 2 / 2) / 10)
    assert SCORES.dense_score == pytest.approx(0.2)
    assert SCORES.pruned_score == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"growths": ((0, -1),)}, "cannot be negative", id="negative-number-of-images"),
        pytest.param({"growths": ((1, 5), (0, 5))}, "rise strictly", id="falling"),
        pytest.param({"growths": ((1, 5), (1, 5))}, "rise strictly", id="twice-the-same"),
        pytest.param({"growths": ((-STEPS - 1, 10),)}, "from -4096 to 4096", id="more-than-1-less"),
        pytest.param({"growths": ((STEPS + 1, 10),)}, "from -4096 to 4096", id="more-than-1-more"),
        pytest.param({"dense_steps": 10 * STEPS + 1}, "10 scores cannot add up", id="above-1-each"),
    ],
)
def test_scores_that_no_images_can_have_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(SCORES, **change)


@given(SCORED)
def test_a_growth_is_counted_as_at_most_one_step_larger_never_smaller(
    scores: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    dense, pruned = (score.astype(np.float64) for score in scores)
    counts = grown(*scores)
    assert counts.n == len(dense)
    growth = float((pruned.mean(axis=1) - dense.mean(axis=1)).mean())
    assert -1e-12 <= counts.drop - growth <= 1 / STEPS + 1e-12
    assert counts.dense_score == pytest.approx(dense.mean(), abs=1 / STEPS)


@given(SCORED)
def test_whoever_scores_the_same_has_not_grown(
    scores: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    dense, _ = scores
    assert grown(dense, dense).growths == ((0, len(dense)),)


def test_an_image_counts_once_by_the_mean_growth_over_its_draws() -> None:
    dense = np.array([[0.5, 0.5], [0.25, 0.75]])
    pruned = np.array([[0.75, 0.25], [0.5, 1.0]])
    assert grown(dense, pruned) == ScoreCounts(growths=((0, 1), (STEPS // 4, 1)), dense_steps=STEPS)


@pytest.mark.parametrize(
    ("dense", "pruned", "complaint"),
    [
        (np.ones((3, 2)), np.ones((2, 2)), "same images"),
        (np.ones((3, 2), bool), np.ones((3, 2), bool), "floating-point numbers .* not bool"),
        (np.ones(3), np.ones(3), r"\[n draws\], not float64 \(3,\)"),
        (np.ones((3, 1)), np.full((3, 1), 1.5), r"lie in 0\.\.1"),
        (np.full((3, 1), -0.5), np.ones((3, 1)), r"lie in 0\.\.1"),
        (np.ones((3, 1)), np.full((3, 1), np.nan), r"lie in 0\.\.1"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(
    dense: NDArray[Any], pruned: NDArray[Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        grown(dense, pruned)
