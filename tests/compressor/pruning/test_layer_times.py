import numpy as np
import pytest

from compressor.pruning.layer_times import LayerTimes, interpolated, monotone

# us = 10 * reads + makes at (8, 32) x (8, 24).
PLANE = LayerTimes(dims=(1, 0), widths=((8, 32), (8, 24)), us=(88.0, 104.0, 328.0, 344.0))


@pytest.mark.parametrize("reads", [8, 16, 24, 32])
@pytest.mark.parametrize("makes", [8, 16, 24])
def test_between_measured_widths_times_are_linear(reads: int, makes: int) -> None:
    assert interpolated(PLANE, monotone(PLANE), (reads, makes)) == pytest.approx(10 * reads + makes)


@pytest.mark.parametrize(("width", "counts_as"), [(9, 16), (12, 16), (16, 16), (17, 24), (31, 32)])
def test_a_width_that_was_not_measured_counts_as_the_next_eight(width: int, counts_as: int) -> None:
    grid = monotone(PLANE)
    assert interpolated(PLANE, grid, (width, 8)) == interpolated(PLANE, grid, (counts_as, 8))


@pytest.mark.parametrize(("width", "us"), [(1, 1.0), (2, 3.0), (3, 3.0), (4, 4.0), (5, 7.0)])
def test_no_width_counts_as_more_than_the_next_measured_one(width: int, us: float) -> None:
    times = LayerTimes(dims=(0,), widths=((1, 3, 4, 7, 20),), us=(1.0, 3.0, 4.0, 7.0, 20.0))
    assert interpolated(times, monotone(times), (width,)) == us


def test_beyond_the_measured_widths_the_nearest_counts() -> None:
    grid = monotone(PLANE)
    assert interpolated(PLANE, grid, (4, 4)) == 88.0
    assert interpolated(PLANE, grid, (64, 64)) == 344.0


def test_a_width_that_never_changes_needs_one_measurement() -> None:
    times = LayerTimes(dims=(1, 0), widths=((3,), (8, 16)), us=(2.0, 4.0))
    assert interpolated(times, monotone(times), (3, 12)) == 4.0


def test_a_layer_without_widths_has_one_time() -> None:
    times = LayerTimes(dims=(), widths=(), us=(7.0,))
    assert interpolated(times, monotone(times), ()) == 7.0


def test_times_that_rise_are_taken_as_measured() -> None:
    assert monotone(PLANE).ravel().tolist() == list(PLANE.us)


def test_a_dip_becomes_level_half_way() -> None:
    times = LayerTimes(dims=(0,), widths=((8, 16, 24, 32),), us=(1.0, 4.0, 2.0, 5.0))
    assert monotone(times).tolist() == [1.0, 3.0, 3.0, 5.0]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_was_measured_times_never_fall_with_a_width(seed: int) -> None:
    us = tuple(np.random.default_rng(seed).random(20).tolist())
    times = LayerTimes(dims=(1, 0), widths=((8, 16, 32, 64), (8, 16, 24, 32, 40)), us=us)
    grid = monotone(times)
    at = [
        [interpolated(times, grid, (reads, makes)) for makes in range(4, 44)]
        for reads in range(4, 70)
    ]
    assert (np.diff(at, axis=0) >= -1e-12).all()
    assert (np.diff(at, axis=1) >= -1e-12).all()


def test_a_grid_with_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="3 times for 2 dimensions with 2 x 2 widths"):
        LayerTimes(dims=(1, 0), widths=((8, 16), (8, 24)), us=(1.0, 2.0, 3.0))
