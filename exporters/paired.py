"""Runs timed in turns: warm-up until stable, blocks in random order, an end when it is known.

Works on any runs, whatever executes them. Nothing is thrown away: what never became stable is told.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from exporters.latency_statistics import Times, half_width
from exporters.timing import Run, timed_ms

# Blocks that are always finished: with fewer, an interval by resampling them is too narrow.
LEAST_BLOCKS: Final = 20
_WANTED_BLOCKS: Final = 40
_MOST_RUNS: Final = 20
"""Per block, so that a machine's mood has no time to change within one."""

# The run that brings a network back into the caches is not timed, unless it takes so long that
# caches do not matter.
_LONG_S: Final = 0.5

_WARM_RUNS: Final = 10
_WINDOW_S: Final = 0.1
_WINDOWS: Final = 3
_STABLE: Final = 1.05
"""Three windows whose medians differ by no more than this factor are stable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long to look, and how exactly."""

    seconds: float
    """After which timing ends even if the ratios are not known as well as asked."""
    half_width: float = 0.02
    """Of the log ratio's 95 % interval, at which a ratio is known well enough."""
    least_runs: int = 100
    """Of each variant, unless the time ends first."""
    warm_up_s: float = 1.0
    """At least; and at most ten times as long, if it does not become stable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmth:
    """How a variant behaved before it was timed."""

    once_s: float
    """Seconds of one run at the end."""
    stable: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What was timed."""

    times: Mapping[str, Times]
    """Wall time of every variant in ms, [blocks runs]."""
    cpu_times: Mapping[str, Times]
    """Processor time of the calling thread, likewise: what neighbours do not add to."""
    warmth: Mapping[str, Warmth]
    precise: bool
    """Whether all ratios to the first variant became known to the asked half-width."""


def measure(
    runs: Mapping[str, Run],
    *,
    budget: Budget,
    generator: np.random.Generator,
    look: Callable[[], None] = lambda: None,
) -> Series:
    """Time variants against the first of them.

    Args:
        runs: By name; the first is what the others are compared with.
        budget: Time and precision.
        generator: Of the order within blocks.
        look: Called between blocks.
    """
    warmth = {name: warmed(run, least_s=budget.warm_up_s) for name, run in runs.items()}
    once_s = sum(found.once_s for found in warmth.values())
    per_block = int(budget.seconds / _WANTED_BLOCKS / once_s) - 1
    per_block = min(max(per_block, 1), _MOST_RUNS)
    blocks: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in runs}
    end = time.perf_counter() + budget.seconds
    while True:
        for name in generator.permutation(list(runs)):
            if warmth[name].once_s < _LONG_S:
                runs[name]()
            blocks[name].append([_timed(runs[name]) for _ in range(per_block)])
        look()
        done = len(next(iter(blocks.values())))
        if done < LEAST_BLOCKS:
            continue
        times = {name: np.array(rows)[..., 0] for name, rows in blocks.items()}
        precise = _precise(times, half_width_=budget.half_width)
        enough = precise and done * per_block >= budget.least_runs
        if enough or time.perf_counter() > end:
            cpu_times = {name: np.array(rows)[..., 1] for name, rows in blocks.items()}
            return Series(times=times, cpu_times=cpu_times, warmth=warmth, precise=precise)


def warmed(run: Run, *, least_s: float) -> Warmth:
    """Run until three windows agree: memory is allocated, kernels are chosen, clocks are up."""
    began = time.perf_counter()
    runs = 0
    windows: list[float] = []
    while True:
        window: list[float] = []
        end = time.perf_counter() + _WINDOW_S
        while not window or time.perf_counter() < end:
            window.append(timed_ms(run))
        runs += len(window)
        windows.append(float(np.median(window)))
        seconds = time.perf_counter() - began
        stable = _stable(windows)
        # Ten runs of a slow network are not worth waiting for once they agree.
        enough = runs >= _WARM_RUNS or seconds > 2 * least_s
        if (stable and enough and seconds >= least_s) or seconds > 10 * least_s:
            return Warmth(once_s=windows[-1] / 1e3, stable=stable, seconds=seconds)


def fastest(runs: Mapping[str, Run], *, seconds: float, generator: np.random.Generator) -> Times:
    """A quick look at several ways to run one network: ms, [runs ways], in turns.

    Each way has been run before; what comes out is good for choosing, not for telling.
    """
    once_s = sum(timed_ms(run) for run in runs.values()) / 1e3
    rounds = int(np.clip(seconds / once_s, 5, 100))
    names = list(runs)
    times = np.empty((rounds, len(names)))
    for row in times:
        for number in generator.permutation(len(names)):
            runs[names[number]]()
            row[number] = timed_ms(runs[names[number]])
    return times


def _stable(windows: Sequence[float]) -> bool:
    last = windows[-_WINDOWS:]
    return len(last) == _WINDOWS and max(last) <= _STABLE * min(last)


def _precise(times: Mapping[str, Times], *, half_width_: float) -> bool:
    first, *others = times.values()
    return all(half_width(first, other) <= half_width_ for other in others)


def _timed(run: Run) -> tuple[float, float]:
    """Milliseconds of one run by the wall's clock and of this thread's processor time."""
    thread = time.thread_time_ns()
    start = time.perf_counter_ns()
    run()
    wall = time.perf_counter_ns() - start
    return wall / 1e6, (time.thread_time_ns() - thread) / 1e6
