"""The tests of a share agree with SciPy's reference and keep their promise."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gates.binomial import clopper_pearson, p_rate_at_least, p_rate_at_most

TAILS = {"less": p_rate_at_least, "greater": p_rate_at_most}

CASES = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
SHARES = st.floats(0.001, 0.999)


@pytest.mark.parametrize("tail", ["less", "greater"])
@given(CASES, SHARES)
def test_p_values_are_those_of_the_reference(
    tail: Literal["less", "greater"], case: tuple[int, int], tolerance: float
) -> None:
    reference = stats.binomtest(*case, tolerance, alternative=tail)
    # SciPy's smallest tails are off by 1e-8 of themselves; see the exact ones below.
    assert TAILS[tail](*case, tolerance) == pytest.approx(reference.pvalue, rel=1e-9, abs=1e-200)


@pytest.mark.parametrize(("k", "n"), [(18, 2463), (0, 300), (7, 900)])
def test_the_smallest_p_values_are_those_of_exact_fractions(k: int, n: int) -> None:
    share = Fraction(1, 4)
    ways = (math.comb(n, j) * share**j * (1 - share) ** (n - j) for j in range(k + 1))
    exact = float(sum(ways))
    assert p_rate_at_least(k, n, 0.25) == pytest.approx(exact, rel=1e-12, abs=0.0)
    # betainc itself keeps eight digits at 1e-272.
    assert p_rate_at_most(n - k, n, 0.75) == pytest.approx(exact, rel=1e-7, abs=0.0)


@given(CASES, SHARES)
def test_intervals_are_those_of_the_reference(case: tuple[int, int], confidence: float) -> None:
    reference = stats.binomtest(*case).proportion_ci(confidence, method="exact")
    expected = (reference.low, reference.high)
    assert clopper_pearson(*case, confidence=confidence) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("tolerance", [0.01, 0.02, 0.3])
@pytest.mark.parametrize("n", [1, 10, 500])
def test_the_chance_of_a_false_claim_is_at_most_alpha(n: int, tolerance: float, tail: str) -> None:
    p = np.array([TAILS[tail](k, n, tolerance) for k in range(n + 1)])
    for share in np.linspace(tolerance, 1 if tail == "less" else 0, 20):
        probability = stats.binom.pmf(np.arange(n + 1), n, share)
        for alpha in (0.01, 0.05, 0.4):
            assert probability[p <= alpha].sum() <= alpha * (1 + 1e-9)


@given(CASES, SHARES)
def test_only_one_of_two_opposite_claims_can_be_shown(
    case: tuple[int, int], tolerance: float
) -> None:
    assert p_rate_at_least(*case, tolerance) + p_rate_at_most(*case, tolerance) >= 1 - 1e-9


@pytest.mark.parametrize("test", TAILS.values())
@pytest.mark.parametrize(
    ("n", "tolerance", "complaint"),
    [(0, 0.02, "no images were counted"), (9, 0.0, "lies in"), (9, 1.0, "lies in")],
)
def test_what_cannot_be_tested_is_refused(
    test: Callable[[int, int, float], float], n: int, tolerance: float, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        test(0, n, tolerance)


def test_a_confidence_is_a_probability() -> None:
    with pytest.raises(ValueError, match="lies in"):
        clopper_pearson(0, 9, confidence=1.0)
