"""How much of what was saved arrives as time: the latency ratio over that of the multiply-adds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporters.contest import Against, Round
from exporters.intake import Intake
from exporters.sessions import CPU

_POOR: Final = 0.7
"""Below this share, what holds a network back is worth a sentence."""
_SMALLER: Final = 1.2
"""Files whose multiply-adds differ by less than this factor owe each other no time."""

_GROWTH: Final = 0.5
"""A network that takes less than half as much longer as it has more work waits for something else
than its work."""

# What starting one kernel costs, about; NVIDIA gives 2 to 5 us for the driver alone (CUDA Graphs
# blog of 2019-09-05), ONNX Runtime's own share comes on top.
_LAUNCH_US: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One sentence about a file at a batch size."""

    file: str
    batch: int
    mode: str
    text: str


def macs_ratio(first: Intake, other: Intake) -> float | None:
    """How many times fewer multiply-adds the other has; None where either is unknown."""
    return first.macs / other.macs if first.macs and other.macs else None


def efficiency(files: Sequence[Intake], found: Round) -> Mapping[str, float | None]:
    """By file: latency ratio / ratio of multiply-adds; None where the ratio cannot be told.

    It is that of the same precision; eight-bit products may be cheaper and exceed 1.
    """
    first, *others = files
    against = {one.name: one for one in found.against}
    return {file.name: _share(macs_ratio(first, file), against[file.name]) for file in others}


def _share(fewer: float | None, found: Against) -> float | None:
    if fewer is None or found.verdict == "not distinguishable":
        return None
    return found.ratio / fewer


def remarks(
    files: Sequence[Intake],
    rounds: Sequence[Round],
    shares: Sequence[Mapping[str, float | None]],
    *,
    provider: str,
) -> Iterator[Remark]:
    """Where a smaller network is hardly faster, what it waits for, as far as the times tell."""
    first, *others = files
    for found, share in zip(rounds, shares, strict=True):
        for file in others:
            fewer = macs_ratio(first, file)
            if fewer is None or fewer < _SMALLER:
                continue
            got = share[file.name]
            if got is not None and got >= _POOR:
                continue
            why = _why(file, found, rounds, provider=provider)
            against = next(one for one in found.against if one.name == file.name)
            arrives = (
                "no difference in time that this measurement could tell"
                if got is None
                else f"{against.ratio:.2f} times the speed"
            )
            text = f"{fewer:.2f} times fewer multiply-adds bring {arrives}: {why}"
            yield Remark(file=file.name, batch=found.batch, mode=found.mode.name, text=text)


def _why(file: Intake, found: Round, rounds: Sequence[Round], *, provider: str) -> str:
    if reason := _launch_bound(file, found, rounds, provider=provider):
        return reason
    slow = [finding for finding in file.lint.findings if finding.rule == "slow-convolution"]
    if slow:
        return f"{slow[0].what}; {slow[0].remedy}"
    if not found.precise and found.noise[1] - found.noise[0] > 4 * found.half_width:
        return (
            f"the first file differs from itself by [{found.noise[0]:.2f}, {found.noise[1]:.2f}] "
            "here; measure on a machine that does nothing else"
        )
    return (
        "what is left is reading and writing rather than multiplying, or layers that were not cut; "
        "ratios of latency (search.of: latency) remove what takes time"
    )


def _launch_bound(
    file: Intake, found: Round, rounds: Sequence[Round], *, provider: str
) -> str | None:
    """A sentence, if the device mostly waits to be told what to do."""
    graph = _at(rounds, file.name, batch=found.batch, like=found, graphs=True)
    plain = _at(rounds, file.name, batch=found.batch, like=found, graphs=False)
    if not found.mode.graphs and graph and plain and plain > 2 * graph:
        return (
            f"launch-bound at batch {found.batch}: one CUDA graph takes {graph:.3f} ms instead of "
            f"{plain:.3f} ms; pruning cannot help before launching in one does"
        )
    larger = min((one.batch for one in rounds if one.batch > found.batch), default=None)
    if larger is not None:
        few = _at(rounds, file.name, batch=found.batch, like=found, graphs=found.mode.graphs)
        many = _at(rounds, file.name, batch=larger, like=found, graphs=found.mode.graphs)
        if few and many and many / few < _GROWTH * larger / found.batch:
            return (
                f"launch-bound at batch {found.batch}: batch {larger} has "
                f"{larger / found.batch:.0f} times the work and takes {many / few:.1f} times as "
                "long; pruning cannot help at a batch this small"
            )
    once = _at(rounds, file.name, batch=found.batch, like=found, graphs=found.mode.graphs)
    if provider != CPU and not found.mode.graphs and once:
        each_us = 1e3 * once / file.nodes
        if each_us < _LAUNCH_US:
            return (
                f"launch-bound at batch {found.batch}: its {file.nodes} nodes take "
                f"{each_us:.1f} us each, about what starting a kernel takes; pruning cannot help"
            )
    return None


def _at(
    rounds: Sequence[Round], name: str, *, batch: int, like: Round, graphs: bool
) -> float | None:
    """A file's median in ms at another batch or with CUDA graphs; None if that was not timed."""
    for one in rounds:
        same = one.mode.end_to_end == like.mode.end_to_end and one.mode.graphs == graphs
        if one.batch == batch and same:
            return next(timing.median_ms for timing in one.timings if timing.name == name)
    return None
