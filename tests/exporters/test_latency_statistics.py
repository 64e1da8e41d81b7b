import numpy as np
import pytest

from exporters.latency_statistics import (
    Times,
    distinguishable,
    half_width,
    log_ratios,
    p95,
    ratio,
    ratio_interval,
)


def measured(median_ms: float, *, blocks: int, seed: int, mood: Times | None = None) -> Times:
    """Times [blocks 5] with noise of their own, and a mood of the machine shared by a block."""
    noise = np.random.default_rng(seed).lognormal(0, 0.05, (blocks, 5))
    return median_ms * noise * (1.0 if mood is None else mood)


def interval(dense: Times, pruned: Times) -> tuple[float, float]:
    return ratio_interval(dense, pruned, generator=np.random.default_rng(0))


def test_a_planted_ratio_is_found_though_the_machine_is_moody() -> None:
    mood = np.random.default_rng(9).lognormal(0, 0.5, (40, 1))
    dense = measured(6.0, blocks=40, seed=1, mood=mood)
    pruned = measured(4.0, blocks=40, seed=2, mood=mood)
    low, high = interval(dense, pruned)
    assert low < 1.5 < high
    assert low < ratio(dense, pruned) < high
    assert high / low < 1.05


@pytest.mark.statistical
def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    held = 0
    for trial in range(300):
        dense = measured(3.0, blocks=30, seed=2 * trial)
        low, high = interval(dense, measured(2.0, blocks=30, seed=2 * trial + 1))
        held += low <= 1.5 <= high
    # 95 % less what a percentile bootstrap loses at 30 blocks, less three standard errors.
    assert held / 300 > 0.93 - 3 * (0.93 * 0.07 / 300) ** 0.5


def test_swapping_the_networks_inverts_the_ratio() -> None:
    dense, pruned = measured(6.0, blocks=20, seed=1), measured(4.0, blocks=20, seed=2)
    assert ratio(pruned, dense) == pytest.approx(1 / ratio(dense, pruned))
    low, high = interval(dense, pruned)
    assert interval(pruned, dense) == pytest.approx((1 / high, 1 / low), rel=1e-3)


def test_a_network_is_not_distinguishable_from_itself() -> None:
    times = measured(5.0, blocks=20, seed=1)
    assert ratio(times, times) == 1.0
    assert interval(times, times) == (1.0, 1.0)
    assert not distinguishable(interval(times, times), noise=(0.99, 1.01))


@pytest.mark.parametrize(
    "found, noise, expected",
    [
        ((1.10, 1.20), (0.99, 1.01), True),
        ((0.80, 0.90), (0.99, 1.01), True),
        ((0.98, 1.20), (0.99, 1.01), False),
        ((1.02, 1.20), (0.99, 1.05), False),
        ((0.90, 0.98), (0.95, 0.99), False),
        ((1.02, 1.20), (1.05, 1.10), False),
        # Which of two equal sessions is the slower one is chance.
        ((1.02, 1.20), (0.90, 0.95), False),
        ((0.97, 1.20), (1.00, 1.00), False),
    ],
)
def test_a_difference_excludes_one_and_the_noise(
    found: tuple[float, float], noise: tuple[float, float], expected: bool
) -> None:
    assert distinguishable(found, noise=noise) is expected


def test_more_blocks_never_widen_the_interval_they_repeat() -> None:
    dense, pruned = measured(6.0, blocks=20, seed=1), measured(4.0, blocks=20, seed=2)
    assert half_width(np.tile(dense, (4, 1)), np.tile(pruned, (4, 1))) < half_width(dense, pruned)


def test_one_slow_run_in_a_block_does_not_move_its_ratio() -> None:
    dense, pruned = np.full((20, 5), 6.0), np.full((20, 5), 4.0)
    dense[:, 0] = 600.0
    np.testing.assert_allclose(log_ratios(dense, pruned), np.log(1.5))


def test_a_tail_is_given_only_where_it_was_seen() -> None:
    assert p95(np.ones((20, 4))) is None
    assert p95(np.arange(100, dtype=np.float64).reshape(20, 5)) == pytest.approx(94.05)
