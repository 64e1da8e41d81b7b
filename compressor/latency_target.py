"""The smallest ratio whose file is as fast as asked for: found by cutting and measuring.

What a network computes does not decide how long it takes, so that nothing is retrained for this:
the dense network is cut to one ratio after the other, written as a file, and timed against the
dense file. A larger cut is taken to be no slower, so that halving the range finds the ratio in some
seven tries; aligned widths make this true up to the noise of a measurement.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from compressor.config import ConfigError
from compressor.config_search import LatencyTarget
from compressor.ladder import PARITY_IMAGES, StatisticsImages, examples
from compressor.pruning.allocation import UnreachableRatioError
from compressor.pruning.candidate import Method, Prunable, dense_scores, propose
from compressor.pruning.surgery import SurgeryError
from compressor.runs import RunError, planned_before
from compressor.training.batches import LabelledImages
from compressor.watch import Watch
from exporters.latency import Comparison, compare_latency
from exporters.precision import Precision

ENTRY: Final = "latency_target"
"""Of the plan."""

_STEP: Final = 0.01
_SECONDS: Final = 1.0
"""Of measuring each try; twenty blocks of runs are always finished."""

Render = Callable[[nn.Module, Tensor, Precision], bytes]
"""A network, normalised images and a precision to the bytes of a file, compared with nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The ratio for one precision."""

    ratio: float
    median_ms: float
    """Of the cut network, not retrained: the dense network's, divided by how much faster it is."""
    tried: Mapping[str, float | None]
    """Median milliseconds by ratio; None where no aligned widths come near."""


_FOUND: Final = TypeAdapter(dict[Precision, Found])


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What cutting and measuring take."""

    dense: Prunable
    method: Method
    train: LabelledImages
    render: Render
    provider: str
    device: torch.device
    seed: int


def ratios_for(
    folder: Path,
    target: LatencyTarget,
    precisions: Sequence[Precision],
    *,
    bounds: tuple[float, float],
    bench: Callable[[], Bench],
    watch: Watch,
) -> dict[Precision, Found]:
    """For each precision the smallest ratio that meets the target, if any does.

    A run in ``folder`` that goes on has the ratios with which it began.

    Raises:
        ConfigError: the dense network is fast enough already, or no ratio within ``bounds`` is.
        LatencyError: a file cannot be timed.
        RunError: the folder's plan is damaged.
    """
    known = planned_before(folder, ENTRY)
    if known is not None:
        try:
            return _FOUND.validate_python(known)
        except ValidationError as error:
            raise RunError(f"the plan's {ENTRY} is damaged: {error}") from error
    work, grid = bench(), _grid(*bounds)
    found: dict[Precision, Found] = {}
    fastest: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        dense = Path(place) / "dense.onnx"
        images = examples(work.train, count=PARITY_IMAGES)
        dense.write_bytes(work.render(work.dense.model, images, "fp32"))
        dense_ms = _dense_ms(dense, target, work)
        scores = dense_scores(
            work.dense,
            method=work.method,
            batches=StatisticsImages(data=work.train),
            seed=work.seed,
            device=work.device,
        )
        for precision in precisions:
            tried: dict[str, float | None] = {}

            def time_ms(
                ratio: float,
                precision: Precision = precision,
                tried: dict[str, float | None] = tried,
            ) -> float | None:
                times = _times_as_fast(
                    work, ratio, target, precision=precision, dense=dense, scores=scores
                )
                ms = None if times is None else dense_ms / times
                if ms is not None:  # else there may be dozens in a row
                    watch.say(f"{precision}, ratio {ratio:.2f}: {ms:.3f} ms (target {target})")
                tried[f"{ratio:.2f}"] = ms
                return ms

            best = smallest(grid, time_ms, at_most=target.ms)
            if best is not None:
                ratio, ms = best
                found[precision] = Found(ratio=ratio, median_ms=ms, tried=tried)
            fastest += [ms for ms in tried.values() if ms is not None]
    if not found:
        reached = f"the fastest took {min(fastest):.3f} ms" if fastest else "none could be cut"
        raise ConfigError(
            f"no ratio of {bounds[0]:g} to {bounds[1]:g} comes to {target}: {reached}; ask for "
            "less, allow larger ratios in the policy, or another export.precision"
        )
    return found


def plan_entry(found: Mapping[Precision, Found]) -> dict[str, Any]:
    """The same as the plan of a run has it."""
    return {ENTRY: _FOUND.dump_python(dict(found), mode="json")}


def smallest(
    grid: Sequence[float], time_ms: Callable[[float], float | None], *, at_most: float
) -> tuple[float, float] | None:
    """The first of ``grid`` whose time is at most this, and its time; None where none is.

    ``time_ms`` falls along the grid, and is None where there is nothing to measure.
    """
    best: tuple[float, float] | None = None
    low, high = 0, len(grid)
    while low < high:
        middle = (low + high) // 2
        place, ms = middle, None
        while place < high and (ms := time_ms(grid[place])) is None:
            place += 1
        if ms is None:
            high = middle
        elif ms <= at_most:
            best, high = (grid[place], ms), middle
        else:
            low = place + 1
    return best


def _grid(least: float, most: float) -> list[float]:
    first, last = round(least / _STEP), round(most / _STEP)
    steps = [round(number * _STEP, 2) for number in range(max(first, 1), min(last, 99) + 1)]
    return [ratio for ratio in steps if least <= ratio <= most]


def _dense_ms(dense: Path, target: LatencyTarget, work: Bench) -> float:
    """Milliseconds of the dense network, to which all that is tried is compared.

    Raises:
        ConfigError: it meets the target already.
    """
    ms = _compared(dense, dense, target, work).dense.median_ms
    if ms <= target.ms:
        raise ConfigError(
            f"the dense network takes {ms:.3f} ms, which meets {target} already: there is nothing "
            "to remove; ask for less time, or give search.ratios"
        )
    return ms


def _times_as_fast(
    work: Bench,
    ratio: float,
    target: LatencyTarget,
    *,
    precision: Precision,
    dense: Path,
    scores: Mapping[str, Tensor],
) -> float | None:
    """How much faster than the dense one the network cut to this ratio is; None where none is.

    Measured in turns, so that what else the machine does falls on both: two tries can be compared
    though it does more during one of them.
    """
    batches = StatisticsImages(data=work.train)
    try:
        candidate = propose(
            work.dense,
            None,
            ratio=ratio,
            method=work.method,
            batches=batches,
            seed=work.seed,
            scores=scores,
            device=work.device,
        )
    except (UnreachableRatioError, SurgeryError):
        return None
    file = dense.with_name("try.onnx")
    images = examples(work.train, count=PARITY_IMAGES)
    file.write_bytes(work.render(candidate.model, images, precision))
    return _compared(dense, file, target, work).speedup


def _compared(dense: Path, file: Path, target: LatencyTarget, work: Bench) -> Comparison:
    (found,) = compare_latency(
        dense,
        file,
        batches=[target.batch],
        provider=work.provider,
        seconds=_SECONDS,
        seed=work.seed,
    )
    return found
