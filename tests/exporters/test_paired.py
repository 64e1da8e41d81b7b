import itertools
import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from exporters import paired, timing
from exporters.latency_statistics import p95_ratio, percentiles, ratio
from exporters.paired import LEAST_BLOCKS, Budget, fastest, measure, warmed


class Clock:
    """Stands still but while a variant runs: what the machine does meanwhile has no part in it."""

    def __init__(self) -> None:
        self.ns = 0
        self.noise = np.random.default_rng(1)

    def perf_counter_ns(self) -> int:
        return self.ns

    def perf_counter(self) -> float:
        return self.ns / 1e9

    def thread_time_ns(self) -> int:
        """Half of the time on the wall: the thread waits as long as it works."""
        return self.ns // 2

    def busy(self, ms: float, *, noise: float = 0.0) -> Callable[[], None]:
        def run() -> None:
            self.ns += int(ms * 1e6 * np.exp(noise * self.noise.standard_normal()))

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    for module in (paired, timing):
        monkeypatch.setattr(module, "time", found)
    return found


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_planted_ratio_is_measured(clock: Clock) -> None:
    runs = {"a": clock.busy(1.0, noise=0.3), "b": clock.busy(0.5, noise=0.3)}
    series = measure(runs, budget=Budget(seconds=30), generator=generator())
    assert series.precise
    assert series.times["a"].shape == series.times["b"].shape == series.cpu_times["a"].shape
    assert len(series.times["a"]) >= LEAST_BLOCKS
    assert ratio(series.times["a"], series.times["b"]) == pytest.approx(2.0, rel=0.04)
    assert series.cpu_times["a"] == pytest.approx(series.times["a"] / 2, abs=1e-5)


def test_a_run_takes_the_time_that_the_wall_shows() -> None:
    series = measure(
        {"a": lambda: time.sleep(0.002)},
        budget=Budget(seconds=0.2, warm_up_s=0.05),
        generator=generator(),
    )
    assert series.times["a"].min() >= 2.0
    assert series.cpu_times["a"].mean() < series.times["a"].mean()


def test_it_ends_when_the_ratio_is_known_and_not_before_the_runs_asked(clock: Clock) -> None:
    budget = Budget(seconds=60, half_width=10.0, least_runs=450, warm_up_s=0.05)
    runs = {"a": clock.busy(0.2), "b": clock.busy(0.2)}
    series = measure(runs, budget=budget, generator=generator())
    assert series.precise
    assert 450 <= series.times["a"].size < 500
    assert clock.perf_counter() < 2


def test_a_width_that_is_out_of_reach_is_said_to_be(clock: Clock) -> None:
    budget = Budget(seconds=0.1, half_width=1e-9, warm_up_s=0.05)
    runs = {"a": clock.busy(0.2, noise=0.1), "b": clock.busy(0.2, noise=0.1)}
    series = measure(runs, budget=budget, generator=generator())
    assert not series.precise
    assert len(series.times["a"]) >= LEAST_BLOCKS, "these are always finished"


def test_every_variant_has_its_turn_in_every_block_and_the_machine_is_looked_at() -> None:
    order: list[str] = []
    looks: list[int] = []
    runs = {name: lambda name=name: order.append(name) for name in ("a", "b", "c")}
    measure(
        runs,
        budget=Budget(seconds=0.05, warm_up_s=0.01),
        generator=generator(),
        look=lambda: looks.append(len(order)),
    )
    assert len(looks) >= LEAST_BLOCKS
    turns = [order[start:end] for start, end in itertools.pairwise(looks)]
    first = {turn[0] for turn in turns}
    assert all(set(turn) == {"a", "b", "c"} for turn in turns)
    assert all(turn.count("a") == turn.count("b") == turn.count("c") for turn in turns)
    assert first == {"a", "b", "c"}, "the order is drawn anew for each block"


def test_what_never_settles_is_told_as_unstable(clock: Clock) -> None:
    def ever_slower() -> None:
        clock.busy(0.1 * 2 ** (10 * clock.perf_counter()))()

    warmth = warmed(ever_slower, least_s=0.1)
    assert not warmth.stable
    assert 1 < warmth.seconds < 10


def test_what_is_steady_is_warm_soon(clock: Clock) -> None:
    warmth = warmed(clock.busy(20.0, noise=0.01), least_s=0.5)
    assert warmth.stable
    assert warmth.once_s == pytest.approx(0.02, rel=0.03)
    assert warmth.seconds < 0.7


def test_the_faster_way_is_seen_at_a_glance(clock: Clock) -> None:
    runs = {"slow": clock.busy(1.0, noise=0.1), "fast": clock.busy(0.3, noise=0.1)}
    times = fastest(runs, seconds=0.1, generator=generator())
    slow, fast = np.median(times, axis=0)
    assert slow == pytest.approx(1.0, rel=0.1)
    assert fast == pytest.approx(0.3, rel=0.1)


def test_percentiles_are_given_where_the_runs_are_enough() -> None:
    def known(runs: int) -> list[int]:
        return list(percentiles(np.random.default_rng(0).random((1, runs))))

    assert known(5) == []
    assert known(40) == [50]
    assert known(100) == [50, 90, 95]
    assert known(300) == [50, 90, 95], "the interval of the 99th has no upper end yet"
    assert known(500) == [50, 90, 95, 99]


@pytest.mark.parametrize("runs", [10, 57, 100, 399, 500, 4_999, 100_001])
def test_a_percentiles_interval_ends_at_the_runs_that_the_binomial_distribution_names(
    runs: int,
) -> None:
    found = percentiles(np.arange(runs, dtype=np.float64)[:, None])
    assert found
    for rank, percentile in found.items():
        low, high = (int(stats.binom.ppf(p, runs, rank / 100)) for p in (0.025, 0.975))
        assert percentile.interval == (low - 1, high)


@pytest.mark.statistical
def test_a_percentiles_interval_holds_the_true_one_as_often_as_it_says() -> None:
    draws = np.random.default_rng(3).random((400, 1, 200))
    held = 0
    for times in draws:
        low, high = percentiles(times)[90].interval
        held += low <= 0.9 <= high
    assert held / 400 >= 0.95 - 3 * (0.95 * 0.05 / 400) ** 0.5


def test_tails_are_compared_only_where_they_were_seen() -> None:
    draws = np.random.default_rng(0)
    first, second = draws.lognormal(0, 0.3, (30, 5)), draws.lognormal(-0.7, 0.3, (30, 5))
    assert p95_ratio(first[:3], second[:3], generator=draws) is None
    found = p95_ratio(first, second, generator=draws)
    assert found is not None
    value, (low, high) = found
    assert low < value < high
    assert low < np.exp(0.7) < high
