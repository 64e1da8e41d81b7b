"""ONNX files against the first of them, at one batch size and in one way, in one process.

The process holds a session of every file, each set up as it runs best, and a second one of the
first file: what that differs from itself is what this machine calls a difference when there is
none. They are timed in turns (``paired``).
"""

import gc
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnxruntime
from pydantic import TypeAdapter

from exporters.clocks import Conditions, watcher
from exporters.feeds import random_input
from exporters.latency_statistics import (
    Interval,
    Percentile,
    Times,
    distinguishable,
    p95_ratio,
    percentiles,
    ratio,
    ratio_interval,
)
from exporters.modes import Mode, run_of
from exporters.paired import Budget, Series, fastest, measure
from exporters.providers import Assignment, assigned
from exporters.sessions import CPU, session
from exporters.timing import Run
from exporters.tuning import Choice, choices

AGAIN: Final = "\0again"
"""The first file's second session: a name that no file has."""

_TRIAL_SHARE: Final = 0.25
"""Of the time for timing, what choosing the options may take for each file."""

Word = Literal["faster", "slower", "not distinguishable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file."""

    name: str
    path: Path
    precision: str
    batch_name: str | None
    cache: Path
    """Folder of this file alone for TensorRT's engines: it knows them by names that two files may
    share, and would run one file's engine as the other's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to time."""

    entries: tuple[Entry, ...]
    """The first is what the others are compared with."""
    batch: int
    provider: str
    mode: Mode
    threads: tuple[int, ...]
    """Numbers of CPU threads to choose from."""
    tune: bool
    dims: Mapping[str, int]
    budget: Budget
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One file's time for a batch, over single runs."""

    name: str
    choice: str
    tried_ms: Mapping[str, float]
    """Median of a quick look at each choice."""
    median_ms: float
    percentiles: Mapping[int, Percentile]
    """Those that the runs are enough for."""
    cpu_ms: float | None
    """Median processor time, which neighbours do not add to; None with several threads."""
    runs: int
    blocks: int
    stable: bool
    """Whether its time had settled before it was timed."""
    warm_up_s: float
    nodes: Assignment
    """Where ONNX Runtime put its nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """One file against the first: ratios above 1 say that it is faster."""

    name: str
    ratio: float
    interval: Interval
    """95 %, bootstrap over blocks."""
    verdict: Word
    """Beyond the noise band, or not."""
    p95: tuple[float, Interval] | None
    cpu: tuple[float, Interval] | None
    """Of processor times, where both run in one thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """All files at one batch size, in one way."""

    batch: int
    mode: Mode
    timings: tuple[Timing, ...]
    noise: Interval
    """Interval of the first file's ratio with itself."""
    against: tuple[Against, ...]
    precise: bool
    """Whether all intervals became as narrow as asked."""
    half_width: float
    """That was asked for, of the logarithm."""
    conditions: Conditions


REQUEST: Final = TypeAdapter(Request)
ROUND: Final = TypeAdapter(Round)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """A file set up as it runs best."""

    choice: Choice
    tried_ms: Mapping[str, float]
    opened: onnxruntime.InferenceSession
    run: Run


def hold(request: Request) -> Round:
    """Set up, time and compare.

    Raises:
        ProviderError, ModeError, SignatureError, SESSION_ERRORS: A file does not run so.
    """
    generator = np.random.default_rng([request.seed, request.batch])
    ready = {entry.name: _ready(entry, request, generator) for entry in request.entries}
    reference = request.entries[0]
    runs = {name: found.run for name, found in ready.items()}
    _, runs[AGAIN] = _set_up(reference, ready[reference.name].choice, request)
    machine = watcher(gpu=request.provider != CPU)
    series = measure(runs, budget=request.budget, generator=generator, look=machine.look)
    noise = ratio_interval(series.times[reference.name], series.times[AGAIN], generator=generator)
    match = _Match(reference=reference.name, ready=ready, series=series, noise=noise)
    return Round(
        batch=request.batch,
        mode=request.mode,
        timings=tuple(_timing(name, found, series) for name, found in ready.items()),
        noise=noise,
        against=tuple(
            _against(entry.name, match, generator=generator) for entry in request.entries[1:]
        ),
        precise=series.precise,
        half_width=request.budget.half_width,
        conditions=machine.conditions(),
    )


def _ready(entry: Entry, request: Request, generator: np.random.Generator) -> _Set:
    """The file under the fastest of the choices."""
    options = choices(
        request.provider,
        mode=request.mode,
        threads=request.threads,
        dims=request.dims,
        batch={entry.batch_name: request.batch} if entry.batch_name else {},
        precision=entry.precision,
        cache=entry.cache,
    )
    options = options if request.tune else options[:1]
    tries = {choice.name: _set_up(entry, choice, request) for choice in options}
    if len(tries) == 1:
        ((opened, run),) = tries.values()
        return _Set(choice=options[0], tried_ms={}, opened=opened, run=run)
    runs = {name: run for name, (_, run) in tries.items()}
    times = fastest(runs, seconds=_TRIAL_SHARE * request.budget.seconds, generator=generator)
    medians = dict(zip(runs, np.median(times, axis=0).tolist(), strict=True))
    best = min(options, key=lambda choice: medians[choice.name])
    opened, run = tries[best.name]
    return _Set(choice=best, tried_ms=medians, opened=opened, run=run)


def _set_up(
    entry: Entry, choice: Choice, request: Request
) -> tuple[onnxruntime.InferenceSession, Run]:
    opened = session(
        entry.path, provider=request.provider, threads=choice.threads, tuning=choice.tuning
    )
    feeds = {
        # The same for every file, and large enough to be no special case.
        source.name: random_input(source, batch=request.batch, generator=request.seed)
        for source in opened.get_inputs()
    }
    run = run_of(opened, feeds, provider=request.provider, mode=request.mode, batch=request.batch)
    return opened, run


def _timing(name: str, found: _Set, series: Series) -> Timing:
    times = series.times[name]
    alone = found.choice.threads == 1
    return Timing(
        name=name,
        choice=found.choice.name,
        tried_ms=found.tried_ms,
        median_ms=float(np.median(times)),
        percentiles=percentiles(times),
        cpu_ms=float(np.median(series.cpu_times[name])) if alone else None,
        runs=times.size,
        blocks=len(times),
        stable=series.warmth[name].stable,
        warm_up_s=series.warmth[name].seconds,
        nodes=assigned(found.opened),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """All that one comparison is read from."""

    reference: str
    ready: Mapping[str, _Set]
    series: Series
    noise: Interval


def _against(name: str, match: _Match, *, generator: np.random.Generator) -> Against:
    first, second = match.series.times[match.reference], match.series.times[name]
    interval = ratio_interval(first, second, generator=generator)
    pair = [match.ready[match.reference], match.ready[name]]
    # With several threads, this thread's processor time is a part of the work only.
    whole = all(one.choice.threads == 1 and CPU in one.opened.get_providers()[:1] for one in pair)
    return Against(
        name=name,
        ratio=ratio(first, second),
        interval=interval,
        verdict=verdict(interval, noise=match.noise),
        p95=p95_ratio(first, second, generator=generator),
        cpu=_cpu_ratio(match, name, generator=generator) if whole else None,
    )


def verdict(interval: Interval, *, noise: Interval) -> Word:
    """What may be said of a ratio."""
    if not distinguishable(interval, noise=noise):
        return "not distinguishable"
    return "faster" if interval[0] > 1 else "slower"


def _cpu_ratio(
    match: _Match, name: str, *, generator: np.random.Generator
) -> tuple[float, Interval] | None:
    first, second = match.series.cpu_times[match.reference], match.series.cpu_times[name]
    if not min(_smallest(first), _smallest(second)):
        return None  # the clock of this thread is too coarse for runs so short
    return ratio(first, second), ratio_interval(first, second, generator=generator)


def _smallest(times: Times) -> float:
    return float(np.median(times, axis=1).min())


if __name__ == "__main__":
    gc.disable()  # A collection during a run would be counted as the network's time.
    sys.stdout.buffer.write(ROUND.dump_json(hold(REQUEST.validate_json(sys.stdin.read()))))
