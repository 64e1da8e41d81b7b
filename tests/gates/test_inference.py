"""Each kind of counts gets the test that goes with it, and the advice that goes with the test."""

import pytest
from scipy import stats

from gates import (
    Counts,
    DrawCounts,
    FlipCounts,
    PairedCounts,
    ScoreCounts,
    anytime,
    betting,
    drop_interval,
    infer,
    needed,
    p_drop_at_least,
    p_drop_at_most,
)
from policies import Method

ALPHA, POWER, TOLERANCE = 0.05, 0.9, 0.02

PAIRED = PairedCounts(both_right=900, only_dense=30, only_pruned=20, both_wrong=50)
DRAWS = DrawCounts(
    draws=2, differences=(5, 20, 945, 20, 10), dense_right=1900, pruned_right=1890, discordant=70
)
FLIPS = FlipCounts(same=990, flipped=10)
SCORES = ScoreCounts(growths=((-400, 50), (0, 900), (600, 50)), dense_steps=400_000)
KINDS = pytest.mark.parametrize(
    "counts", [PAIRED, DRAWS, FLIPS, SCORES], ids=lambda counts: type(counts).__name__
)
METHODS = pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])


def test_one_draw_per_image_gets_the_exact_paired_test() -> None:
    found = infer(PAIRED, TOLERANCE, alpha=ALPHA, method="fixed")
    assert found.p_safe == p_drop_at_least(PAIRED, TOLERANCE)
    assert found.p_violated == p_drop_at_most(PAIRED, TOLERANCE)
    assert found.interval == drop_interval(PAIRED, confidence=0.95)


def test_several_draws_get_the_bets() -> None:
    found = infer(DRAWS, TOLERANCE, alpha=ALPHA, method="fixed")
    assert found.p_safe == betting.p_drop_at_least(DRAWS, TOLERANCE, alpha=ALPHA)
    assert found.p_violated == betting.p_drop_at_most(DRAWS, TOLERANCE, alpha=ALPHA)
    assert found.interval == betting.drop_interval(DRAWS, confidence=0.95)


def test_flips_get_the_binomial_test() -> None:
    found = infer(FLIPS, TOLERANCE, alpha=ALPHA, method="fixed")
    assert found.p_safe == pytest.approx(stats.binom.cdf(10, 1000, TOLERANCE))
    assert found.p_violated == pytest.approx(stats.binom.sf(9, 1000, TOLERANCE))
    interval = stats.binomtest(10, 1000).proportion_ci(0.95)
    assert found.interval == pytest.approx((interval.low, interval.high))


def test_scores_get_the_bets_too() -> None:
    found = infer(SCORES, TOLERANCE, alpha=ALPHA, method="fixed")
    assert found.p_safe == betting.p_drop_at_least(SCORES, TOLERANCE, alpha=ALPHA)
    assert found.p_violated == betting.p_drop_at_most(SCORES, TOLERANCE, alpha=ALPHA)
    assert found.interval == betting.drop_interval(SCORES, confidence=0.95)


@KINDS
def test_looks_that_are_few_get_the_tests_of_a_single_one(counts: Counts) -> None:
    fixed, looks = (
        infer(counts, TOLERANCE, alpha=ALPHA, method=method) for method in ("fixed", "looks")
    )
    assert looks == fixed


@KINDS
def test_whoever_may_stop_at_any_time_bets_on_every_kind_at_any_alpha(counts: Counts) -> None:
    found = infer(counts, TOLERANCE, alpha=ALPHA, method="anytime")
    assert found == infer(counts, TOLERANCE, alpha=ALPHA / 10, method="anytime")
    assert found.p_safe == anytime.p_drop_at_least(counts, TOLERANCE)
    assert found.p_violated == anytime.p_drop_at_most(counts, TOLERANCE)
    assert found.interval == anytime.drop_interval(counts, confidence=0.95)


@KINDS
@METHODS
def test_at_most_one_of_the_two_p_values_is_small(counts: Counts, method: Method) -> None:
    for tolerance in (0.001, 0.01, 0.05, 0.3):
        found = infer(counts, tolerance, alpha=ALPHA, method=method)
        assert found.p_safe + found.p_violated >= 1.0


@KINDS
@METHODS
def test_the_interval_holds_what_was_observed(counts: Counts, method: Method) -> None:
    low, high = infer(counts, TOLERANCE, alpha=ALPHA, method=method).interval
    assert low <= counts.drop <= high


@KINDS
@METHODS
def test_more_images_are_needed_the_closer_the_drop_is_to_the_tolerance(
    counts: Counts, method: Method
) -> None:
    numbers = [
        needed(counts, counts.drop + room, alpha=ALPHA, power=POWER, method=method) or 0
        for room in (0.1, 0.02, 0.01, 0.001)
    ]
    assert numbers == sorted(numbers)
    assert numbers[0] > 0


@KINDS
@METHODS
def test_a_drop_that_is_not_below_the_tolerance_is_promised_nothing(
    counts: Counts, method: Method
) -> None:
    for tolerance in (counts.drop, counts.drop - 0.001):
        assert needed(counts, tolerance, alpha=ALPHA, power=POWER, method=method) is None


@pytest.mark.parametrize(("flipped", "tolerance"), [(10, 0.02), (15, 0.02), (40, 0.05), (5, 0.01)])
def test_the_advised_number_of_images_decides_flips_as_often_as_it_says(
    flipped: int, tolerance: float
) -> None:
    counts = FlipCounts(same=1000 - flipped, flipped=flipped)
    n = needed(counts, tolerance, alpha=ALPHA, power=POWER, method="fixed")
    assert n is not None
    most = int(stats.binom.ppf(ALPHA, n, tolerance))  # flips with which n images still decide
    most -= stats.binom.cdf(most, n, tolerance) > ALPHA
    assert stats.binom.cdf(most, n, counts.drop) == pytest.approx(POWER, abs=0.02)


def test_without_a_flip_the_advised_number_is_the_smallest_that_decides() -> None:
    n = needed(FlipCounts(same=20, flipped=0), TOLERANCE, alpha=ALPHA, power=POWER, method="fixed")
    assert n is not None
    fewer, enough = (
        infer(FlipCounts(same=m, flipped=0), TOLERANCE, alpha=ALPHA, method="fixed").p_safe
        for m in (n - 1, n)
    )
    assert enough <= ALPHA < fewer


@pytest.mark.parametrize(
    "nothing",
    [
        PairedCounts(both_right=0, only_dense=0, only_pruned=0, both_wrong=0),
        DrawCounts(draws=2, differences=(0,) * 5, dense_right=0, pruned_right=0, discordant=0),
        FlipCounts(same=0, flipped=0),
        ScoreCounts(growths=(), dense_steps=0),
    ],
    ids=lambda counts: type(counts).__name__,
)
@METHODS
def test_no_images_say_nothing(nothing: Counts, method: Method) -> None:
    with pytest.raises(ValueError, match="no images"):
        infer(nothing, TOLERANCE, alpha=ALPHA, method=method)
