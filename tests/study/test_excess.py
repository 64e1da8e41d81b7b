import numpy as np
import pytest
from scipy import stats

from compressor.study.analyses.excess import Excess, excess, lines, slope_through_origin
from tests.study.rows_of import cell


def test_excess_error_is_the_error_beyond_that_of_training_and_pruning_adds_to_it() -> None:
    rows = [
        cell(10, ratio=0.5, dense_wrong=100),
        cell(40, ratio=0.5, dense_wrong=300, shift="fog-3", group="held_out"),
        cell(20, ratio=0.5, dense_wrong=200, shift="snow-3", group="held_out"),
        cell(500, ratio=0.5, dense_wrong=400, shift="noise 0.5", group="noise"),
    ]
    (found,) = excess(rows)
    # Dense: (.3 + .2) / 2 - .1; pruned: (.34 + .22) / 2 - .11.
    assert found.dense == pytest.approx(0.15)
    assert found.pruned == pytest.approx(0.17)
    assert found.difference == pytest.approx(0.02)


def test_a_network_that_was_asked_in_one_group_alone_has_no_excess_error() -> None:
    assert excess([cell(1, ratio=0.5)]) == []


def test_the_slope_is_least_squares_without_an_intercept() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random(20), rng.normal(size=20)
    expected = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
    assert slope_through_origin(x, y) == pytest.approx(expected)


def points(count: int, *, method: str = "l2", noise: float = 0.01) -> list[Excess]:
    rng = np.random.default_rng(count)
    return [
        Excess(
            method=method, seed=0, ratio=ratio, dense=0.1, pruned=0.1,
            difference=0.02 * ratio + rng.normal() * noise,
        )
        for ratio in np.linspace(0.1, 0.9, count).tolist()
    ]  # fmt: skip


def test_the_interval_is_near_the_one_of_bootstrapped_pairs_by_scipy() -> None:
    given = points(30)
    (line,) = lines(given)
    x = np.array([each.ratio for each in given])
    y = np.array([each.difference for each in given])
    reference = stats.bootstrap(
        (x, y), lambda a, b: (a * b).sum(-1) / (a * a).sum(-1), paired=True, vectorized=False,
        n_resamples=2000, method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert line.low == pytest.approx(reference.low, abs=1e-3)
    assert line.high == pytest.approx(reference.high, abs=1e-3)


def test_fewer_than_three_points_have_a_slope_and_no_interval() -> None:
    (line,) = lines(points(2))
    assert line.points == 2
    assert line.low is line.high is None


def test_several_methods_have_a_line_each_and_one_together() -> None:
    found = lines([*points(5), *points(7, method="wt")])
    assert [(line.method, line.points) for line in found] == [("l2", 5), ("wt", 7), ("*", 12)]
