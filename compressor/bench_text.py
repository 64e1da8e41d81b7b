"""What ``compress bench`` found, in words: milliseconds beside every ratio."""

from collections.abc import Iterator, Mapping, Sequence

from compressor.bench_job import Bench
from compressor.tables import table
from compressor.torch_times import TorchRound
from exporters.bench import Section
from exporters.clocks import Conditions
from exporters.contest import Against, Round, Timing
from exporters.efficiency import macs_ratio
from exporters.footprint import Footprint
from exporters.intake import Intake
from exporters.lint import Finding


def as_text(found: Bench) -> str:
    """Files, times by provider and way, memory, PyTorch, and what keeps files from being fast."""
    return "\n".join(_lines(found))


def findings_text(findings: Sequence[Finding]) -> list[str]:
    """What was found in a file and what to do, two lines each."""
    lines = []
    for finding in findings:
        where = f" ({', '.join(finding.nodes)})" if finding.nodes else ""
        lines += [f"{finding.rule}: {finding.what}{where}", f"  do: {finding.remedy}"]
    return lines


def _lines(found: Bench) -> Iterator[str]:
    yield from _files(found.files)
    for section in found.sections:
        yield ""
        yield from _section(found.files, section)
    for one in found.torch:
        yield ""
        yield from _in_torch(one)
    for file in found.files:
        for line in findings_text(file.lint.findings):
            yield f"{file.name}: {line}"
    yield ""
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    yield f"{versions}; {found.seconds:.0f} s"


def _files(files: Sequence[Intake]) -> Iterator[str]:
    rows = [
        [
            file.name,
            file.precision,
            f"{file.size_bytes / 1e6:.2f}",
            f"{file.params:,}",
            "-" if file.macs is None else f"{file.macs / 1e6:.1f}",
            "-" if (fewer := macs_ratio(files[0], file)) is None else f"{fewer:.2f}",
            str(file.lint.convolutions)
            if file.lint.fast is None
            else f"{file.lint.fast} of {file.lint.convolutions}",
        ]
        for file in files
    ]
    header = ["file", "precision", "MB", "parameters", "MMACs", "fewer, times", "fast convs"]
    yield from table(header, rows)


def _section(files: Sequence[Intake], section: Section) -> Iterator[str]:
    provider = section.provider
    yield f"{provider.execution_provider} ({section.runtime}), {section.device}"
    grouped: dict[str, list[tuple[Round, Mapping[str, float | None]]]] = {}
    for one, shares in zip(section.rounds, section.efficiency, strict=True):
        grouped.setdefault(one.mode.name, []).append((one, shares))
    for mode, rounds in grouped.items():
        rows = [row for one, shares in rounds for row in _rows(files, one, shares)]
        header = [
            "batch", "file", "median ms", "p95 ms", "speed-up [95 %]", "of fewer MACs", "cpu time",
            "set up with",
        ]  # fmt: skip
        yield ""
        yield f"{mode}:"
        yield from table(header, rows)
        for one, _ in rounds:
            yield _circumstances(one)
    for skipped in section.skipped:
        yield f"not timed: {skipped.mode.name}, batch {skipped.batch}: {skipped.reason}"
    for remark in section.remarks:
        yield f"{remark.file}, batch {remark.batch}, {remark.mode}: {remark.text}"
    if section.footprints:
        yield ""
        yield from _footprints(section.footprints)


def _rows(
    files: Sequence[Intake], one: Round, shares: Mapping[str, float | None]
) -> Iterator[list[str]]:
    against = {found.name: found for found in one.against}
    for timing in one.timings:
        found = against.get(timing.name)
        share = shares.get(timing.name)
        yield [
            str(one.batch),
            timing.name,
            f"{timing.median_ms:.3f}{'' if timing.stable else ' (unstable)'}",
            _p95(timing),
            "1" if timing.name == files[0].name else _speedup(found),
            "-" if share is None else f"{share:.2f}",
            "-" if found is None or found.cpu is None else _ratio(found.cpu[0], found.cpu[1]),
            timing.choice,
        ]


def _speedup(found: Against | None) -> str:
    if found is None:
        return "-"
    if found.verdict == "not distinguishable":
        low, high = found.interval
        return f"not distinguishable [{low:.2f}, {high:.2f}]"
    return _ratio(found.ratio, found.interval)


def _ratio(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _p95(timing: Timing) -> str:
    found = timing.percentiles.get(95)
    return "-" if found is None else f"{found.ms:.3f}"


def _circumstances(one: Round) -> str:
    low, high = one.noise
    told = [
        f"batch {one.batch}: the first file against itself [{low:.3f}, {high:.3f}]",
        f"{one.timings[0].blocks} blocks, {one.timings[0].runs} runs each",
        *_machine(one.conditions),
    ]
    if not one.precise:
        told.append(
            f"not every ratio became known to {100 * one.half_width:.0f} %: more --seconds, or a "
            "machine that does nothing else"
        )
    return "; ".join(told)


def _machine(conditions: Conditions) -> Iterator[str]:
    if conditions.load is not None:
        yield f"load {conditions.load[1]:.1f}"
    if conditions.stolen is not None and conditions.stolen > 0.01:
        yield f"{conditions.stolen:.0%} of the processors taken by the host"
    for name, values, unit in (
        ("cpu", conditions.cpu_mhz, "MHz"),
        ("gpu", conditions.gpu_sm_mhz, "MHz"),
        ("gpu", conditions.gpu_celsius, "C"),
        ("gpu", conditions.gpu_watts, "W"),
    ):
        if values is not None:
            low, high = values
            span = f"{low:.0f}" if high - low < 0.5 else f"{low:.0f} to {high:.0f}"
            yield f"{name} {span} {unit}"
    for reason, share in (conditions.throttled or {}).items():
        yield f"clocks held down by {reason} at {share:.0%} of the looks"


def _footprints(held: Mapping[str, Footprint]) -> list[str]:
    def megabytes(value: int | None) -> str:
        return "-" if value is None else f"{value / 1e6:.0f}"

    rows = [
        [
            name,
            f"{found.create_ms:.0f}",
            f"{found.cold.create_ms:.0f}",
            f"{found.first_run_ms:.1f}",
            megabytes(found.resident_bytes),
            megabytes(found.gpu_bytes),
            str(found.processes),
        ]
        for name, found in held.items()
    ]
    header = [
        "file", "load ms", "first load ms", "first run ms", "memory MB", "GPU MB", "processes",
    ]  # fmt: skip
    return table(header, rows)


def _in_torch(one: TorchRound) -> Iterator[str]:
    yield f"The first file's network in PyTorch, batch {one.batch}, {one.device}:"
    rows = [
        [
            timing.runtime,
            f"{timing.median_ms:.3f}{'' if timing.stable else ' (unstable)'}",
            "1"
            if timing.ratio is None or timing.interval is None
            else "not distinguishable"
            if timing.verdict == "not distinguishable"
            else _ratio(timing.ratio, timing.interval),
            str(timing.runs),
        ]
        for timing in one.timings
    ]
    yield from table(["runtime", "median ms", "speed-up [95 %]", "runs"], rows)
    for name, why in one.left_out.items():
        yield f"not timed: {name}: {why}"
