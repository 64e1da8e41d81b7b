"""The bets keep their promise for every distribution and every way of stopping."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from gates import Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from gates.anytime import (
    LOSSES,
    WEIGHTS,
    drop_interval,
    images_needed,
    p_drop_at_least,
    p_drop_at_most,
)

Floats = NDArray[np.float64]

ALPHA: Final = 0.05
TAILS: Final = {"safe": p_drop_at_least, "violated": p_drop_at_most}
TOLERANCES: Final = (0.02, 0.1, 0.5)


def paired_of(lost: int, won: int, n: int) -> PairedCounts:
    return PairedCounts(both_right=n - lost - won, only_dense=lost, only_pruned=won, both_wrong=0)


def draws_of(differences: Sequence[int]) -> DrawCounts:
    """Images with these nets of two draws, of which none cancel and none are right together."""
    dense = sum(max(net, 0) * count for net, count in zip(range(-2, 3), differences, strict=True))
    pruned = sum(max(-net, 0) * count for net, count in zip(range(-2, 3), differences, strict=True))
    return DrawCounts(
        draws=2,
        differences=tuple(differences),
        dense_right=dense,
        pruned_right=pruned,
        discordant=dense + pruned,
    )


def scores_of(images: Sequence[int]) -> ScoreCounts:
    steps = (-4096, -700, 0, 1, 4096)
    return ScoreCounts(growths=tuple(zip(steps, images, strict=True)), dense_steps=0)


FEW: Final = st.integers(0, 200)
COUNTS: Final = st.one_of(
    st.builds(lambda b, c, same: paired_of(b, c, b + c + same), FEW, FEW, FEW),
    st.lists(FEW, min_size=5, max_size=5).map(draws_of),
    st.builds(FlipCounts, same=FEW, flipped=FEW),
    st.lists(FEW, min_size=5, max_size=5).map(scores_of),
).filter(lambda counts: counts.n > 0)


def log_e(d: Sequence[float], tolerance: float) -> float:
    """By the formula, factor for factor and image for image."""
    total = 0.0
    for loss, weight in zip(LOSSES, WEIGHTS, strict=True):
        product = weight
        for value in d:
            product *= 1 + loss / (1 - tolerance) * (tolerance - value)
        total += product
    return math.log(total)


def outcomes(n: int, kinds: int) -> Iterator[tuple[int, ...]]:
    """All ways in which ``n`` images can be of so many kinds."""
    if kinds == 1:
        yield (n,)
        return
    for first in range(n + 1):
        yield from ((first, *rest) for rest in outcomes(n - first, kinds - 1))


def chances(drop: float, discordance: float) -> list[float]:
    """Of an image that only the dense model gets right, only the pruned one, both or neither."""
    return [(discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance]


def test_the_bets_start_with_one_in_all_and_none_can_be_ruined() -> None:
    assert len(LOSSES) == len(WEIGHTS)
    assert sum(WEIGHTS) == 1
    assert min(WEIGHTS) > 0
    assert all(0 < loss < 1 for loss in LOSSES)


@pytest.mark.parametrize(
    ("counts", "d"),
    [
        pytest.param(paired_of(1, 2, 10), [1, -1, -1] + 7 * [0], id="one-draw"),
        pytest.param(draws_of((1, 2, 9, 1, 1)), [-1, -0.5, -0.5] + 9 * [0] + [0.5, 1], id="draws"),
        pytest.param(FlipCounts(same=40, flipped=2), [0] * 40 + [1] * 2, id="flips"),
        pytest.param(
            scores_of((1, 2, 30, 4, 0)),
            [-1, -700 / 4096, -700 / 4096] + 30 * [0] + 4 * [1 / 4096],
            id="scores",
        ),
    ],
)
def test_the_p_value_is_what_its_formula_says(counts: Counts, d: list[float]) -> None:
    for tolerance in (-0.1, 0.02, 0.1, 0.5):
        expected = min(1.0, math.exp(-log_e(d, tolerance)))
        assert p_drop_at_least(counts, tolerance) == pytest.approx(expected)


def test_a_worked_example_stays_as_it_is() -> None:
    """The one of docs/gate.md."""
    counts = paired_of(100, 95, 5000)
    bets = np.array(LOSSES) / 0.99
    assert bets == pytest.approx([0.909, 0.455, 0.227, 0.114, 0.057, 0.028, 0.014], abs=5e-4)
    each = np.exp(
        100 * np.log1p(-0.99 * bets) + 95 * np.log1p(1.01 * bets) + 4805 * np.log1p(0.01 * bets)
    )
    assert each == pytest.approx([0, 0.12, 156, 46.7, 9.40, 3.32, 1.86], rel=2e-3, abs=3e-3)
    assert p_drop_at_least(counts, 0.01) == pytest.approx(1 / (each @ WEIGHTS))
    assert p_drop_at_least(counts, 0.01) == pytest.approx(0.01916, abs=5e-6)
    assert p_drop_at_most(counts, -0.01) == pytest.approx(0.002309, abs=5e-7)
    assert drop_interval(counts, confidence=0.95) == pytest.approx((-0.00770, 0.00973), abs=5e-6)


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("discordance", [0.5, 0.7, 1.0])
def test_at_the_tolerance_nothing_is_won_on_average_and_beyond_it_less(
    discordance: float, tolerance: float
) -> None:
    for n in (1, 2, 7):
        every = list(outcomes(n, 3))
        e = np.exp([log_e([1] * b + [-1] * c + [0] * rest, tolerance) for b, c, rest in every])
        for drop in (tolerance, (tolerance + discordance) / 2):
            mean = stats.multinomial.pmf(every, n, chances(drop, discordance)) @ e
            if drop == tolerance:
                assert mean == pytest.approx(1)
            else:
                assert mean < 1


def chance_ever(claims: NDArray[np.bool_], probability: Sequence[float]) -> float:
    """Of a claim after one image or another, claims [lost won rest] after every one of them."""
    n = len(claims) - 1
    alive, ever = np.zeros((n + 1, n + 1)), 0.0
    alive[0, 0] = 1.0
    for seen in range(1, n + 1):
        grown = probability[2] * alive
        grown[1:] += probability[0] * alive[:-1]
        grown[:, 1:] += probability[1] * alive[:, :-1]
        rest = seen - np.add.outer(np.arange(n + 1), np.arange(n + 1))
        here = np.take_along_axis(claims, np.maximum(rest, 0)[..., None], axis=2)[..., 0]
        ever += float(grown[here].sum())
        alive = np.where(here, 0.0, grown)
    return ever


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("tolerance", [0.1, 0.5])
def test_who_looks_after_every_image_claims_falsely_with_a_chance_of_at_most_alpha(
    tolerance: float, tail: str
) -> None:
    """Exact, over all orders of 40 images."""
    n, alpha = 40, 0.2
    claims = np.zeros((n + 1,) * 3, dtype=bool)
    for lost, won in np.ndindex(n + 1, n + 1):
        for rest in range(lost + won == 0, n + 1 - lost - won):
            counts = paired_of(lost, won, lost + won + rest)
            claims[lost, won, rest] = TAILS[tail](counts, tolerance) <= alpha
    found = [chance_ever(claims, chances(tolerance, psi)) for psi in (tolerance, 0.6, 0.8, 1.0)]
    assert max(found) <= alpha
    assert max(found) > alpha / 10, "so timid a test would be of no use"


@pytest.mark.statistical
def test_peeking_after_every_batch_is_paid_for_here_and_not_with_the_test_for_a_fixed_number() -> (
    None
):
    tolerance, trials = 0.02, 2000
    n = 100 * np.arange(1, 31)
    flipped = np.random.default_rng(3).binomial(100, tolerance, size=(trials, 30)).cumsum(axis=1)
    p_fixed = np.asarray(stats.binom.cdf(flipped, n, tolerance))
    fixed = (p_fixed <= ALPHA).any(axis=1).mean()
    ours = [
        any(
            p_drop_at_least(FlipCounts(same=m - f, flipped=f), tolerance) <= ALPHA
            for m, f in zip(n.tolist(), row, strict=True)
        )
        for row in flipped.tolist()
    ]
    slack = 3 * math.sqrt(ALPHA * (1 - ALPHA) / trials)
    assert 0.005 < np.mean(ours) <= ALPHA + slack
    assert fixed > 3 * ALPHA


@pytest.mark.statistical
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("discordance", [0.02, 0.05, 0.2])
def test_with_a_drop_of_the_tolerance_a_false_claim_at_any_batch_is_as_rare_as_promised(
    discordance: float, tail: str
) -> None:
    tolerance, trials, batches = 0.01, 500, 35
    each = np.random.default_rng(5).multinomial(
        256, chances(tolerance, discordance), size=(trials, batches)
    )
    claimed = [
        any(TAILS[tail](paired_of(b, c, b + c + rest), tolerance) <= ALPHA for b, c, rest in seen)
        for seen in each.cumsum(axis=1).tolist()
    ]
    assert np.mean(claimed) <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / trials)


@given(COUNTS, st.floats(-0.98, 0.97), st.floats(0.0, 0.02))
def test_a_larger_tolerance_is_easier_to_keep(
    counts: Counts, tolerance: float, more: float
) -> None:
    assert p_drop_at_least(counts, tolerance + more) <= p_drop_at_least(counts, tolerance) * (
        1 + 1e-9
    )
    assert p_drop_at_most(counts, tolerance) <= p_drop_at_most(counts, tolerance + more) * (
        1 + 1e-9
    )


@given(COUNTS, st.floats(-0.99, 0.99))
def test_only_one_of_two_opposite_claims_can_be_shown(counts: Counts, tolerance: float) -> None:
    claims = [test(counts, tolerance) for test in TAILS.values()]
    assert max(claims) == pytest.approx(1)
    assert min(claims) > 0


@given(FEW, FEW, FEW, st.floats(-0.99, 0.99))
def test_exchanging_the_models_exchanges_the_tests(
    lost: int, won: int, same: int, tolerance: float
) -> None:
    n = lost + won + same + 1
    there, back = paired_of(lost, won, n), paired_of(won, lost, n)
    assert p_drop_at_least(there, tolerance) == pytest.approx(p_drop_at_most(back, -tolerance))
    low, high = drop_interval(there, confidence=0.95)
    assert drop_interval(back, confidence=0.95) == pytest.approx((-high, -low))


@given(COUNTS, st.sampled_from([0.5, 0.95, 0.999]))
def test_the_interval_holds_the_drop_and_ends_where_a_test_rejects(
    counts: Counts, confidence: float
) -> None:
    error = (1 - confidence) / 2
    low, high = drop_interval(counts, confidence=confidence)
    lowest = 0 if isinstance(counts, FlipCounts) else -1
    assert lowest <= low <= counts.drop <= high <= 1
    if high < 1:
        assert p_drop_at_least(counts, high) == pytest.approx(error, rel=1e-6)
    if low > lowest:
        assert p_drop_at_most(counts, low) == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize("n", [1, 100, 10**6])
@pytest.mark.parametrize("tolerance", [-0.999, -0.02, 0.02, 0.999])
def test_images_that_are_all_alike_are_no_exception(tolerance: float, n: int) -> None:
    alike = {1: paired_of(n, 0, n), -1: paired_of(0, n, n), 0: paired_of(0, 0, n)}
    for d, counts in alike.items():
        claims = [test(counts, tolerance) for test in TAILS.values()]
        assert all(0 < p <= 1 for p in claims)
        assert claims[0 if d > tolerance else 1] == 1


@pytest.mark.parametrize("tolerance", [-1.0, 1.0])
def test_a_tolerance_that_every_model_keeps_or_none_is_refused(tolerance: float) -> None:
    for test in TAILS.values():
        with pytest.raises(ValueError, match="a tolerance lies in"):
            test(paired_of(1, 1, 9), tolerance)


def test_without_images_or_without_a_chance_of_error_nothing_is_said() -> None:
    for test in TAILS.values():
        with pytest.raises(ValueError, match="no images were counted"):
            test(FlipCounts(same=0, flipped=0), 0.02)
    with pytest.raises(ValueError, match="a confidence lies in"):
        drop_interval(paired_of(1, 1, 9), confidence=1.0)
    with pytest.raises(ValueError, match="an alpha lies in"):
        images_needed(paired_of(0, 1, 9), tolerance=0.02, alpha=0.0, power=0.9)
