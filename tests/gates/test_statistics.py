"""The tests, the interval and the sample sizes agree with each other and with the literature."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gates import PairedCounts, drop_interval, images_needed, p_drop_at_least, p_drop_at_most
from gates.exact import rejection_boundary, tango_z

Test = Callable[[PairedCounts, float], float]

TAILS: Final = {"safe": p_drop_at_least, "violated": p_drop_at_most}


def counts_of(b: int, c: int, n: int) -> PairedCounts:
    return PairedCounts(both_right=n - b - c, only_dense=b, only_pruned=c, both_wrong=0)


@pytest.mark.parametrize(("b", "c", "n"), [(5, 3, 40), (0, 0, 9), (9, 0, 9), (1, 20, 60)])
@pytest.mark.parametrize("tolerance", [0.01, 0.2])
def test_exchanging_the_models_exchanges_the_tails(
    b: int, c: int, n: int, tolerance: float
) -> None:
    assert p_drop_at_most(counts_of(b, c, n), tolerance) == p_drop_at_least(
        counts_of(c, b, n), -tolerance
    )


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
    tolerance, discordance, drop, alpha, power = 0.05, 0.12, 0.005, 0.05, 0.9
    n = images_needed(
        tolerance=tolerance, discordance=discordance, drop=drop, alpha=alpha, power=power
    )
    chances = [(discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance]
    draws = np.random.default_rng(7).multinomial(n, chances, size=2_000)
    boundary = rejection_boundary(draws[:, 0] + draws[:, 1], n=n, tolerance=tolerance, alpha=alpha)
    decided = np.mean(draws[:, 0] <= boundary)
    assert abs(decided - power) <= 3 * math.sqrt(power * (1 - power) / len(draws)) + 0.01
