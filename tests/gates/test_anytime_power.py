"""What bets that hold at any time cost, and what others make of the same images."""

import math
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from ville import BettingTest

from gates import PairedCounts, statistics
from gates.anytime import LOSSES, WEIGHTS, images_needed, p_drop_at_least, p_drop_at_most

Floats = NDArray[np.float64]

ALPHA: Final = 0.05


def paired_of(lost: int, won: int, n: int) -> PairedCounts:
    return PairedCounts(both_right=n - lost - won, only_dense=lost, only_pruned=won, both_wrong=0)


def counted(d: Floats) -> PairedCounts:
    return paired_of(int((d == 1).sum()), int((d == -1).sum()), len(d))


def chances(drop: float, discordance: float) -> list[float]:
    """Of an image that only the dense model gets right, only the pruned one, both or neither."""
    return [(discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance]


def power_by(paths: NDArray[np.int64], bets: Floats, weights: Floats, tolerance: float) -> float:
    """Share of the paths [i batch (lost won rest)] on which E reaches 1 / ALPHA."""
    logs = np.log1p(bets * (tolerance - np.array([[1.0], [-1.0], [0.0]])))
    e = np.logaddexp.reduce(paths @ logs + np.log(weights), axis=2)
    return float((e >= -math.log(ALPHA)).any(axis=1).mean())


@pytest.mark.statistical
@pytest.mark.parametrize(("images", "power", "cost"), [(4400, 0.631, 0.05), (8800, 0.934, 0.02)])
def test_not_knowing_the_discordance_costs_little_power(
    images: int, power: float, cost: float
) -> None:
    """The numbers of docs/gate.md, so that they stay true."""
    tolerance, discordance = 0.01, 0.05
    sizes = [256] * (images // 256) + [images % 256]
    rng, at = np.random.default_rng(7), chances(0.0, discordance)
    paths = np.stack([rng.multinomial(m, at, size=10_000) for m in sizes], axis=1).cumsum(axis=1)
    ours = power_by(paths, np.array(LOSSES) / (1 - tolerance), np.array(WEIGHTS), tolerance)
    tuned = np.array([0.35, 0.6, 1.0, 1.6]) * tolerance / discordance
    known = power_by(paths, tuned, np.full(4, 0.25), tolerance)
    assert ours == pytest.approx(power, abs=0.015)
    assert 0 < known - ours < cost


@pytest.mark.parametrize(
    ("tolerance", "discordance", "drop", "once", "anytime"),
    [
        (0.01, 0.02, 0.0, 1708, 3790),
        (0.01, 0.05, 0.0, 4278, 8871),
        (0.01, 0.05, 0.005, 17105, 38964),
        (0.01, 0.1, 0.0, 8560, 19355),
        (0.02, 0.05, 0.0, 1066, 2236),
        (0.02, 0.1, 0.0, 2137, 4428),
        (0.02, 0.1, 0.01, 8541, 19473),
    ],
)
def test_to_be_sure_of_enough_images_one_must_have_about_twice_those_of_a_single_look(
    tolerance: float, discordance: float, drop: float, once: int, anytime: int
) -> None:
    """The numbers of docs/gate.md, so that they stay true."""
    lost, won, _ = (round(share * 10**7) for share in chances(drop, discordance))
    observed = paired_of(lost, won, 10**7)
    assert images_needed(observed, tolerance=tolerance, alpha=ALPHA, power=0.9) == anytime
    assert once == statistics.images_needed(
        tolerance=tolerance, discordance=discordance, drop=drop, alpha=ALPHA, power=0.9
    )


@pytest.mark.statistical
@pytest.mark.parametrize(("drop", "discordance"), [(0.0, 0.05), (0.0, 0.1), (0.01, 0.05)])
def test_the_advised_number_of_images_has_the_power_that_it_says_or_a_little_more(
    drop: float, discordance: float
) -> None:
    tolerance, power, trials = 0.02, 0.9, 4000
    at = chances(drop, discordance)
    lost, won, _ = (round(share * 10**6) for share in at)
    n = images_needed(paired_of(lost, won, 10**6), tolerance=tolerance, alpha=ALPHA, power=power)
    assert n is not None
    sizes = [256] * (n // 256) + [n % 256]
    rng = np.random.default_rng(13)
    paths = np.stack([rng.multinomial(m, at, size=trials) for m in sizes], axis=1).cumsum(axis=1)
    bets = (np.array(LOSSES) / (1 - tolerance), np.array(WEIGHTS), tolerance)
    assert power_by(paths[:, -1:], *bets) == pytest.approx(power, abs=0.02)
    assert power <= power_by(paths, *bets) <= power + 0.06


def test_a_drop_that_is_not_below_the_tolerance_is_promised_nothing() -> None:
    counts = paired_of(4, 0, 200)
    assert images_needed(counts, tolerance=0.02, alpha=ALPHA, power=0.9) is None
    assert images_needed(counts, tolerance=0.02 + 1e-12, alpha=ALPHA, power=0.9) is None
    assert images_needed(counts, tolerance=0.021, alpha=ALPHA, power=0.9) is not None


@pytest.mark.parametrize("tolerance", [0.01, 0.1])
def test_a_package_for_sequential_tests_finds_the_same_wealth(tolerance: float) -> None:
    """At so small an alpha its bets are all at their cap, which is a loss that one may choose."""
    d = np.random.default_rng(11).choice([-1.0, 0.0, 1.0], p=[0.02, 0.96, 0.02], size=300)
    assert 0 < counted(d).only_dense != counted(d).only_pruned > 0
    for alternative, test in (("less", p_drop_at_least), ("greater", p_drop_at_most)):
        found = [
            BettingTest(m0=tolerance, bounds=(-1, 1), alternative=alternative, alpha=1e-300, c=loss)
            .fit(d)
            .e_values_
            for loss in LOSSES
        ]
        p = 1 / (np.array(WEIGHTS) @ np.array(found))
        for n in range(1, 301):
            assert test(counted(d[:n]), tolerance) == pytest.approx(min(1.0, p[n - 1]))


@pytest.mark.parametrize("drop", [-0.03, 0.0, 0.02])
def test_the_bets_of_that_package_which_learn_from_the_images_decide_alike(drop: float) -> None:
    tolerance, n = 0.02, 6000
    p = [(0.04 - drop) / 2, 0.96, (0.04 + drop) / 2]
    for seed in range(5):
        d = np.random.default_rng(seed).choice([-1.0, 0.0, 1.0], p=p, size=n)
        theirs = BettingTest(m0=tolerance, bounds=(-1, 1), alternative="less", alpha=ALPHA).fit(d)
        assert (
            theirs.rejected_ == (p_drop_at_least(counted(d), tolerance) <= ALPHA) == (drop < 0.02)
        )
