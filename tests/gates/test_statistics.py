"""The p-values hold what they promise: checked by enumerating all outcomes of few images."""

import math
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from gates import PairedCounts, drop_interval, images_needed, p_drop_at_least, p_drop_at_most
from gates.statistics import GAMMA, tango_z

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Test = Callable[[PairedCounts, float], float]

TAILS: Final = {"safe": p_drop_at_least, "violated": p_drop_at_most}
TOLERANCES: Final = (0.02, 0.1, 0.3, 0.95)


def counts_of(b: int, c: int, n: int) -> PairedCounts:
    return PairedCounts(both_right=n - b - c, only_dense=b, only_pruned=c, both_wrong=0)


def outcomes(n: int) -> tuple[Integers, Integers]:
    """All (b, c) with b + c <= n."""
    b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = b + c <= n
    return b[possible], c[possible]


def probabilities(n: int, p_dense: Floats, p_pruned: Floats) -> Floats:
    """Chance [k, outcome] of every outcome for k trinomials, by the textbook formula."""
    b, c = outcomes(n)
    parts = np.stack([b, c, n - b - c], axis=-1)
    rest = np.clip(1 - p_dense - p_pruned, 0, 1)
    chances = np.stack([p_dense, p_pruned, rest], axis=-1)[:, None, :]
    return np.asarray(stats.multinomial.pmf(parts, n, chances / chances.sum(-1, keepdims=True)))


def edge(tolerance: float, *, points: int = 400) -> tuple[Floats, Floats]:
    """Chances of "only dense" and "only pruned" with a drop of exactly ``tolerance``, psi dense."""
    psi = tolerance + (1 - tolerance) * np.sin(np.linspace(0, math.pi / 2, points)) ** 2
    return (psi + tolerance) / 2, (psi - tolerance) / 2


@cache
def p_values(n: int, tolerance: float, tail: str) -> Floats:
    b, c = outcomes(n)
    test = TAILS[tail]
    return np.array([test(counts_of(*pair, n), tolerance) for pair in zip(b, c, strict=True)])


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(
    ("n", "tolerance"), [(1, 0.02), (2, 0.5), (7, 0.1), *((30, t) for t in TOLERANCES), (60, 0.05)]
)
def test_the_chance_of_a_false_claim_is_at_most_alpha(n: int, tolerance: float, tail: str) -> None:
    p = p_values(n, tolerance, tail)
    at_tolerance = probabilities(n, *edge(tolerance))
    for alpha in (0.001, 0.01, 0.05, 0.1, 0.2, 0.45):
        assert (at_tolerance @ (p <= alpha)).max() <= alpha


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_nor_is_it_more_inside_the_hypothesis(tolerance: float, tail: str) -> None:
    p = p_values(30, tolerance, tail)
    drops = np.linspace(-1, 1, 41)
    for drop in drops[drops > tolerance] if tail == "safe" else drops[drops < tolerance]:
        psi = np.linspace(abs(drop), 1, 40)
        chances = probabilities(30, (psi + drop) / 2, (psi - drop) / 2)
        assert (chances @ (p <= 0.05)).max() <= 0.05


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(("n", "tolerance"), [(30, 0.02), (30, 0.1), (30, 0.3), (60, 0.05)])
def test_the_test_is_not_needlessly_timid(n: int, tolerance: float, tail: str) -> None:
    size = (probabilities(n, *edge(tolerance)) @ (p_values(n, tolerance, tail) <= 0.05)).max()
    assert size > 0.04


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("n", [1, 8, 20])
def test_p_values_bound_those_of_brute_force_and_closely(
    n: int, tolerance: float, tail: str
) -> None:
    b, c = outcomes(n)
    sign = 1 if tail == "safe" else -1
    z = sign * tango_z(b, c, n, tolerance)
    chances_at = edge(tolerance, points=600)
    chances, psi = probabilities(n, *chances_at), sum(chances_at)
    for i, p in enumerate(p_values(n, tolerance, tail)):
        interval = stats.binomtest(int(b[i] + c[i]), n).proportion_ci(1 - GAMMA)
        low, high = max(interval.low, tolerance), max(interval.high, tolerance)
        plausible = np.flatnonzero((psi >= low) & (psi <= high))
        exact = (chances[plausible] @ (z <= z[i] + 1e-9)).max() + GAMMA
        assert p >= min(1.0, exact) - 1e-9
        assert p <= 1.02 * exact + 0.002


@pytest.mark.parametrize("n", [1, 2, 10, 40])
@pytest.mark.parametrize("drop", [-0.99, -0.3, -0.02, 0.0, 0.01, 0.05, 0.5, 0.99])
def test_the_score_orders_outcomes_as_the_bounds_need_it(n: int, drop: float) -> None:
    b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    z = np.where(b + c <= n, tango_z(b, c, n, drop), np.nan)
    with np.errstate(invalid="ignore"):
        assert not np.any(np.diff(z, axis=0) < -1e-9), "z rises with only dense"
        assert not np.any(np.diff(z, axis=1) > 1e-9), "z falls with only pruned"
        assert not np.any(z[1:, :-1] < z[:-1, 1:] - 1e-9), "z falls when b loses an image to c"


@given(st.integers(1, 300), st.data(), st.floats(-0.99, 0.99))
def test_exchanging_the_models_turns_the_score_round(
    n: int, data: st.DataObject, drop: float
) -> None:
    b = data.draw(st.integers(0, n))
    c = data.draw(st.integers(0, n - b))
    assert tango_z(b, c, n, drop) == pytest.approx(-tango_z(c, b, n, -drop), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("b", "c", "n"), [(5, 3, 40), (0, 0, 9), (9, 0, 9), (1, 20, 60)])
@pytest.mark.parametrize("tolerance", [0.01, 0.2])
def test_exchanging_the_models_exchanges_the_tails(
    b: int, c: int, n: int, tolerance: float
) -> None:
    assert p_drop_at_most(counts_of(b, c, n), tolerance) == p_drop_at_least(
        counts_of(c, b, n), -tolerance
    )


def test_the_score_without_margin_is_that_of_mcnemar() -> None:
    assert tango_z(12, 5, 100, 0.0) == pytest.approx((12 - 5) / math.sqrt(12 + 5))


def test_the_constrained_estimate_maximises_the_likelihood() -> None:
    b, c, n, drop = 17, 9, 200, 0.02
    p_pruned = np.linspace(1e-6, (1 - drop) / 2 - 1e-6, 400_001)
    likelihood = (
        b * np.log(p_pruned + drop)
        + c * np.log(p_pruned)
        + (n - b - c) * np.log(1 - 2 * p_pruned - drop)
    )
    best = p_pruned[likelihood.argmax()]
    expected = (b - c - n * drop) / math.sqrt(n * (2 * best + drop - drop**2))
    assert tango_z(b, c, n, drop) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("n", [7, 30])
def test_an_image_lost_by_dense_and_won_by_pruned_never_speaks_against_safety(
    n: int, tolerance: float
) -> None:
    safe = dict(zip(zip(*outcomes(n), strict=True), p_values(n, tolerance, "safe"), strict=True))
    worse = dict(
        zip(zip(*outcomes(n), strict=True), p_values(n, tolerance, "violated"), strict=True)
    )
    for (b, c), p in safe.items():
        if b > 0:
            assert safe[b - 1, c + 1] <= p
            assert worse[b - 1, c + 1] >= worse[b, c]


@settings(deadline=None, max_examples=40)
@given(
    lost=st.integers(0, 30),
    won=st.integers(0, 30),
    same=st.integers(60, 400),
    times=st.integers(2, 4),
)
def test_more_of_the_same_evidence_never_makes_a_safe_model_look_less_safe(
    lost: int, won: int, same: int, times: int
) -> None:
    few = PairedCounts(both_right=same, only_dense=lost, only_pruned=won, both_wrong=0)
    many = sum([few] * (times - 1), start=few)
    tolerance = max(few.drop, 0.0) + 0.02
    assert p_drop_at_least(many, tolerance) <= p_drop_at_least(few, tolerance) + 1e-6


@pytest.mark.parametrize("n", [30, 400])
@pytest.mark.parametrize("tolerance", [0.001, 0.02, 0.5, 0.999])
def test_extreme_samples_have_extreme_p_values(n: int, tolerance: float) -> None:
    all_lost, all_won, none = counts_of(n, 0, n), counts_of(0, n, n), counts_of(0, 0, n)
    assert p_drop_at_least(all_lost, tolerance) == 1.0
    assert p_drop_at_most(all_won, tolerance) == 1.0
    assert p_drop_at_most(none, tolerance) == 1.0
    assert p_drop_at_least(all_won, tolerance) < 0.002
    exact = ((1 + tolerance) / 2) ** n + GAMMA
    assert exact <= p_drop_at_most(all_lost, tolerance) <= 1.02 * exact + 0.002


@pytest.mark.parametrize("tolerance", [0.005, 0.01, 0.03])
def test_without_any_disagreement_the_p_value_is_that_of_a_binomial(tolerance: float) -> None:
    n = round(3 / tolerance)
    exact = (1 - tolerance) ** n + GAMMA
    assert exact <= p_drop_at_least(counts_of(0, 0, n), tolerance) <= 1.02 * exact


@pytest.mark.parametrize("test", TAILS.values())
def test_nothing_is_tested_on_no_images(test: Test) -> None:
    with pytest.raises(ValueError, match="no images were counted"):
        test(counts_of(0, 0, 0), 0.02)


@pytest.mark.parametrize("test", TAILS.values())
@pytest.mark.parametrize("tolerance", [1.0, -1.0, math.nan])
def test_a_tolerance_is_a_possible_drop(test: Test, tolerance: float) -> None:
    with pytest.raises(ValueError, match="a tolerance lies in"):
        test(counts_of(1, 1, 10), tolerance)


@pytest.mark.parametrize(
    ("b", "c", "n", "published"),
    [
        # Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33:2850-2875, table II.
        pytest.param(1, 7, 21, (-0.517, -0.026), id="airway"),
        # Agresti and Min 2005, Statistics in Medicine 24:729-740.
        pytest.param(16, 8, 86, (-0.020, 0.207), id="crossover"),
    ],
)
def test_the_interval_is_the_published_one(
    b: int, c: int, n: int, published: tuple[float, float]
) -> None:
    assert drop_interval(counts_of(b, c, n), confidence=0.95) == pytest.approx(published, abs=6e-4)


@given(st.integers(1, 200), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_interval_inverts_the_score(n: int, data: st.DataObject, confidence: float) -> None:
    b = data.draw(st.integers(0, n))
    counts = counts_of(b, data.draw(st.integers(0, n - b)), n)
    low, high = drop_interval(counts, confidence=confidence)
    assert -1.0 <= low <= counts.drop <= high <= 1.0
    drops = np.linspace(-0.9999, 0.9999, 501)
    z = np.array([float(tango_z(b, counts.only_pruned, n, drop)) for drop in drops])
    limit = stats.norm.ppf((1 + confidence) / 2)
    inside = (drops > low + 1e-6) & (drops < high - 1e-6)
    outside = (drops < low - 1e-6) | (drops > high + 1e-6)
    assert np.all(np.abs(z[inside]) <= limit + 1e-6)
    assert np.all(np.abs(z[outside]) >= limit - 1e-6)


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_a_confidence_is_a_proper_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match="a confidence lies in"):
        drop_interval(counts_of(1, 1, 10), confidence=confidence)


@pytest.mark.parametrize(
    ("tolerance", "drop", "discordance", "images"),
    [
        (0.005, 0.0, 0.01, 3_421),
        (0.005, 0.0025, 0.20, 274_021),
        (0.01, 0.0, 0.05, 4_278),
        (0.01, 0.005, 0.10, 34_233),
        (0.02, 0.0, 0.10, 2_137),
        (0.02, 0.01, 0.15, 12_823),
        (0.03, 0.0, 0.20, 1_899),
    ],
)
def test_sample_sizes_are_those_of_the_formula(
    tolerance: float, drop: float, discordance: float, images: int
) -> None:
    needed = images_needed(
        tolerance=tolerance, discordance=discordance, drop=drop, alpha=0.05, power=0.9
    )
    assert needed == images


def test_even_perfect_agreement_needs_images() -> None:
    needed = images_needed(tolerance=0.01, discordance=0.0, drop=0.0, alpha=0.05, power=0.9)
    assert needed == 299
    assert p_drop_at_least(counts_of(0, 0, needed - 2), 0.01) > 0.05


@pytest.mark.parametrize(
    ("drop", "discordance", "complaint"),
    [(0.02, 0.1, "no number of images"), (0.01, 0.005, "does not go with")],
)
def test_impossible_questions_about_sample_size_are_refused(
    drop: float, discordance: float, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        images_needed(tolerance=0.02, discordance=discordance, drop=drop, alpha=0.05, power=0.9)


@pytest.mark.statistical
def test_the_advised_sample_size_has_the_power_that_it_says() -> None:
    tolerance, discordance, drop, power = 0.05, 0.12, 0.005, 0.9
    n = images_needed(
        tolerance=tolerance, discordance=discordance, drop=drop, alpha=0.05, power=power
    )
    chances = [(discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance]
    draws = np.random.default_rng(7).multinomial(n, chances, size=400)
    p = cache(lambda b, c: p_drop_at_least(counts_of(b, c, n), tolerance))
    decided = np.mean([p(int(b), int(c)) <= 0.05 for b, c, _ in draws])
    assert abs(decided - power) <= 3 * math.sqrt(power * (1 - power) / len(draws)) + 0.01
