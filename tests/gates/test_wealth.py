"""Scores are counted in steps: both tests by betting err to the side that claims less."""

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates import ScoreCounts, anytime, betting, grown
from gates.counts import STEPS
from gates.wealth import Bets, exchanged_sample_of, log_wealth, sample_of

TESTS: Final = {
    "fixed": (
        lambda counts, t: betting.p_drop_at_least(counts, t, alpha=0.05),
        lambda counts, t: betting.p_drop_at_most(counts, t, alpha=0.05),
        betting.drop_interval,
    ),
    "anytime": (anytime.p_drop_at_least, anytime.p_drop_at_most, anytime.drop_interval),
}
METHODS: Final = pytest.mark.parametrize("method", TESTS)
SCORES: Final = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40)


def counted(scores: list[tuple[float, float]]) -> ScoreCounts:
    dense, pruned = np.array(scores).T[:, :, None]
    return grown(dense, pruned)


def log_e(d: np.ndarray[Any, np.dtype[np.float64]], tolerance: float, bets: Bets) -> float:
    """By the formula, with the values as they are."""
    factors = 1 + bets.sizes[:, None] * (tolerance - d)
    return float(np.log(bets.shares @ factors.prod(axis=1)))


@given(SCORES, st.floats(-0.9, 0.9))
def test_rounding_never_speaks_for_what_is_to_be_shown(
    scores: list[tuple[float, float]], tolerance: float
) -> None:
    counts, growth = counted(scores), np.array([pruned - dense for dense, pruned in scores])
    for sample, d, limit in (
        (sample_of(counts), growth, tolerance),
        (exchanged_sample_of(counts), -growth, -tolerance),
    ):
        bets = Bets(sizes=np.array([0.5, 0.1]) / (1 - limit), shares=np.array([0.3, 0.7]))
        exact, rounded = log_e(d, limit, bets), log_wealth(sample, limit, bets)
        assert rounded <= exact + 1e-9
        assert sample.d.min() >= -1
        assert sample.d.max() <= 1


@METHODS
@given(scores=SCORES)
def test_the_interval_of_scores_holds_the_growth_counted_and_the_growth_itself(
    method: str, scores: list[tuple[float, float]]
) -> None:
    counts = counted(scores)
    low, high = TESTS[method][2](counts, confidence=0.5)
    growth = float(np.mean([pruned - dense for dense, pruned in scores]))
    assert -1 <= low <= min(growth, counts.drop) + 1e-12
    assert max(growth, counts.drop) <= high + 1e-12 <= 1 + 1e-12


@METHODS
def test_scores_that_rounding_alone_makes_grow_are_shown_to_be_safe_and_not_violated(
    method: str,
) -> None:
    """All grew by a hair, which is counted as one step."""
    counts = ScoreCounts(growths=((1, 5000),), dense_steps=0)
    safe, violated, _ = TESTS[method]
    assert safe(counts, 0.01) < 1e-6
    assert safe(counts, 1 / STEPS) == pytest.approx(1)
    assert violated(counts, 0.0) == pytest.approx(1)
    assert violated(counts, -0.01) < 1e-6


@METHODS
def test_a_score_speaks_for_itself_as_a_loss_would_that_is_all_or_nothing(method: str) -> None:
    """Growths of -1, 0 and 1 are what one draw of each image gives, and its two draws alike."""
    safe, violated, _ = TESTS[method]
    scores = ScoreCounts(growths=((-STEPS, 10), (0, 970), (STEPS, 20)), dense_steps=0)
    answers = np.zeros(1000)
    answers[:20], answers[20:30] = 1, -1
    assert np.array_equal(np.sort(answers), np.repeat(sample_of(scores).d, [10, 970, 20]))
    assert safe(scores, 0.03) < 0.05 < violated(scores, 0.03)
    assert violated(scores, -0.01) < 0.05 < safe(scores, -0.01)


@METHODS
def test_scores_at_both_ends_of_their_range_are_no_exception(method: str) -> None:
    safe, violated, interval = TESTS[method]
    for step in (-STEPS, STEPS):
        counts = ScoreCounts(growths=((step, 100),), dense_steps=STEPS * 50)
        for tolerance in (-0.999, -0.02, 0.02, 0.999):
            p = (safe(counts, tolerance), violated(counts, tolerance))
            assert max(p) == 1
            assert 0 < min(p) < 1
        low, high = interval(counts, confidence=0.95)
        assert low <= step / STEPS <= high
