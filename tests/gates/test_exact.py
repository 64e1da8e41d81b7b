"""The p-values hold what they promise: checked by enumerating all outcomes of few images."""

import math
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from gates import PairedCounts, p_drop_at_least, p_drop_at_most
from gates.exact import GAMMA, p_value, rejection_boundary, tango_z

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TAILS: Final = {"safe": p_drop_at_least, "violated": p_drop_at_most}
TOLERANCES: Final = (0.02, 0.1, 0.3, 0.95)
PRECISION: Final = 1e-9


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
    ways = math.lgamma(n + 1) - special.gammaln([b + 1, c + 1, n - b - c + 1]).sum(axis=0)
    rest = np.clip(1 - p_dense - p_pruned, 0, 1)
    logs = special.xlogy(b, p_dense[:, None]) + special.xlogy(c, p_pruned[:, None])
    return np.asarray(np.exp(ways + logs + special.xlogy(n - b - c, rest[:, None])))


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


def largest_chance(
    chance: Callable[[Floats, Floats], Floats], drop: float, *, discordant: int, n: int
) -> float:
    """Over plausible discordances: on a grid, refined around its largest value."""
    interval = stats.binomtest(discordant, n).proportion_ci(1 - GAMMA)
    low, high = max(interval.low, abs(drop)), max(interval.high, abs(drop))
    largest = 0.0
    for _ in range(5):
        psi = np.linspace(low, high, 101)
        chances = chance((psi + drop) / 2, np.maximum((psi - drop) / 2, 0))
        best = int(chances.argmax())
        low, high = psi[max(best - 1, 0)], psi[min(best + 1, 100)]
        largest = max(largest, float(chances[best]))
    return largest


def at_most(z: float) -> float:
    """The largest score that counts as a tie."""
    return z + 1e-9 * max(1.0, abs(z))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("tolerance", [0.0, *TOLERANCES])
@pytest.mark.parametrize(("n", "every"), [(1, 1), (9, 2), (20, 13), (60, 250)])
def test_p_values_are_the_largest_chance_and_never_less(
    n: int, every: int, tolerance: float, sign: int
) -> None:
    b, c = outcomes(n)
    drop = sign * tolerance
    z = tango_z(b, c, n, drop)
    for i in range(0, len(b), every):
        region = z <= at_most(float(z[i]))
        chance = largest_chance(
            lambda *p, region=region: probabilities(n, *p) @ region,
            drop,
            discordant=b[i] + c[i],
            n=n,
        )
        exact = min(1.0, chance + GAMMA)
        assert exact <= p_value(b[i], c[i], n=n, drop=drop) <= exact + PRECISION


@pytest.mark.parametrize(
    ("b", "c", "drop"),
    [(260, 240, 0.01), (1030, 970, 0.02), (75, 25, 0.01), (240, 260, -0.01), (9, 0, 0.002)],
)
def test_so_they_are_for_many_images(b: int, c: int, drop: float) -> None:
    n, reach = 10_000, 13 * math.isqrt(b + c)
    m = np.arange(max(0, b + c - reach), b + c + reach)
    # The smallest c in the region: the score falls when an image goes from b to c.
    c_column = np.arange(m.max() + 1)[:, None]
    is_outside = tango_z(m - c_column, c_column, n, drop) > at_most(float(tango_z(b, c, n, drop)))
    fewest = is_outside.sum(axis=0)

    def chance(p_dense: Floats, p_pruned: Floats) -> Floats:
        psi = (p_dense + p_pruned)[:, None]
        tails = stats.binom.sf(fewest - 1, m, p_pruned[:, None] / psi)
        return np.asarray(np.sum(stats.binom.pmf(m, n, psi) * tails, axis=1))

    exact = largest_chance(chance, drop, discordant=b + c, n=n) + GAMMA
    assert exact <= p_value(b, c, n=n, drop=drop) <= exact + PRECISION


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
            assert safe[b - 1, c + 1] <= p + PRECISION
            assert worse[b - 1, c + 1] >= worse[b, c] - PRECISION


@pytest.mark.parametrize("n", [30, 400])
@pytest.mark.parametrize("tolerance", [0.001, 0.02, 0.5, 0.999])
def test_extreme_samples_have_extreme_p_values(n: int, tolerance: float) -> None:
    all_lost, all_won, none = counts_of(n, 0, n), counts_of(0, n, n), counts_of(0, 0, n)
    assert p_drop_at_least(all_lost, tolerance) == 1.0
    assert p_drop_at_most(all_won, tolerance) == 1.0
    assert p_drop_at_most(none, tolerance) == 1.0
    assert p_drop_at_least(all_won, tolerance) < 0.002
    exact = ((1 + tolerance) / 2) ** n + GAMMA
    assert exact <= p_drop_at_most(all_lost, tolerance) <= exact + PRECISION


@pytest.mark.parametrize("tolerance", [0.005, 0.01, 0.03])
def test_without_any_disagreement_the_p_value_is_that_of_a_binomial(tolerance: float) -> None:
    n = round(3 / tolerance)
    exact = (1 - tolerance) ** n + GAMMA
    assert exact <= p_drop_at_least(counts_of(0, 0, n), tolerance) <= exact + PRECISION


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("tolerance", [0.02, 0.3, -0.05])
def test_the_rejection_boundary_decides_as_the_p_values(tolerance: float, alpha: float) -> None:
    n = 30
    b, c = outcomes(n)
    pairs = zip(b.tolist(), c.tolist(), strict=True)
    rejected = [p_value(*pair, n=n, drop=tolerance) <= alpha for pair in pairs]
    boundary = rejection_boundary(b + c, n=n, tolerance=tolerance, alpha=alpha)
    assert np.array_equal(b <= boundary, rejected)


@pytest.mark.parametrize(("n", "psi"), [(300, 0.02), (2_000, 0.3), (10_000, 0.05)])
def test_so_it_does_for_random_counts(n: int, psi: float) -> None:
    tolerance, alpha = 0.01, 0.05
    chances = [(psi + tolerance) / 2, (psi - tolerance) / 2, 1 - psi]
    b, c, _ = np.random.default_rng(n).multinomial(n, chances, size=60).T
    # As many as are near the boundary, where a decision can go wrong.
    b = rejection_boundary(b + c, n=n, tolerance=tolerance, alpha=alpha) + np.arange(60) % 2
    possible = (b >= 0) & (b + c <= n)
    b, c = b[possible], c[possible]
    pairs = zip(b.tolist(), c.tolist(), strict=True)
    rejected = [p_value(*pair, n=n, drop=tolerance) <= alpha for pair in pairs]
    boundary = rejection_boundary(b + c, n=n, tolerance=tolerance, alpha=alpha)
    assert np.array_equal(b <= boundary, rejected)


def test_a_boundary_has_the_shape_of_the_question() -> None:
    boundary = rejection_boundary([[0, 5, 5], [0, 9, 30]], n=30, tolerance=0.02, alpha=0.05)
    assert boundary.shape == (2, 3)
    assert boundary[0, 1] == boundary[0, 2]
    assert boundary[0, 0] == -1, "30 equal answers do not rule out a drop of 2 %"
    assert rejection_boundary(0, n=300, tolerance=0.02, alpha=0.05) == 0
