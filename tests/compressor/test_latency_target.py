"""The smallest of rising ratios that is fast enough is found in few tries."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.cli import _shorthands
from compressor.config_search import LatencyTarget, parse_target
from compressor.latency_target import smallest

GRID = [number / 100 for number in range(5, 96)]


@given(
    reachable=st.lists(st.booleans(), min_size=91, max_size=91),
    limit=st.floats(0.0, 1.1),
)
def test_it_is_the_first_that_can_be_reached_and_is_fast_enough(
    reachable: Sequence[bool], limit: float
) -> None:
    can = dict(zip(GRID, reachable, strict=True))

    def time_ms(ratio: float) -> float | None:
        return 1.0 - ratio if can[ratio] else None

    wanted = next((ratio for ratio in GRID if can[ratio] and 1.0 - ratio <= limit), None)
    found = smallest(GRID, time_ms, at_most=limit)
    assert (None if found is None else found[0]) == wanted


def test_it_takes_seven_tries() -> None:
    tried: list[float] = []

    def time_ms(ratio: float) -> float:
        tried.append(ratio)
        return 1.0 - ratio

    assert smallest(GRID, time_ms, at_most=0.5) == (0.5, 0.5)
    assert len(tried) <= 7


@pytest.mark.parametrize("text", ["2.0ms@batch=8", "2.0 ms@batch=8"])
def test_a_target_reads_as_it_is_written(text: str) -> None:
    assert parse_target(text) == LatencyTarget(ms=2.0, batch=8)
    assert str(parse_target(text)) == "2ms@batch=8"


@pytest.mark.parametrize(
    "text", ["2.0", "2.0ms", "ms@batch=1", "0ms@batch=1", "2ms@batch=0", "-1ms@batch=1"]
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write milliseconds and batch as 2\.0ms@batch=8"):
        parse_target(text)


def test_the_options_of_the_command_line_are_settings_of_the_project() -> None:
    assert list(_shorthands("int8", "2.0ms@batch=8")) == [
        "export.precision=int8",
        "search.target_latency=2.0ms@batch=8",
        "search.of=latency",
        "search.latency_batch=8",
    ]
    assert not list(_shorthands(None, None))
