"""How fast ONNX files run against the first of them: every provider, way and batch size asked for.

Each measurement is a process of its own (``contest``), one after the other: two at a time would
measure each other.
"""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnxruntime

from compressor.files import digest
from exporters.child import last_words, run_module
from exporters.contest import REQUEST, ROUND, Entry, Request, Round
from exporters.device import device_name
from exporters.efficiency import Remark, efficiency, remarks
from exporters.footprint import Footprint, FootprintError, footprint
from exporters.intake import Intake
from exporters.latency import LatencyError
from exporters.modes import RESIDENT, Mode
from exporters.paired import Budget
from exporters.providers import Provider, probe
from exporters.sessions import CPU, cpu_threads
from exporters.tuning import Choice, choices

Say = Callable[[str], None]

_GRACE_S: Final = 1800.0
"""For loading, warming up, choosing and the least number of blocks of slow networks, and for the
engines that TensorRT builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, of files that were read before."""

    batches: tuple[int, ...]
    budget: Budget
    tune: bool = True
    """Whether each file is set up as it runs best; else all as one gets them without choosing."""
    every_mode: bool = True
    """End to end too, not only with inputs and outputs on the device."""
    processes: int = 3
    """That load each file for its memory and load time; 0 to leave that out."""
    threads: int | None = None
    """CPU threads; None to choose between one and all."""
    dims: Mapping[str, int]
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """What was asked for and could not be measured, and why."""

    batch: int
    mode: Mode
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One provider."""

    provider: Provider
    device: str
    runtime: str
    rounds: tuple[Round, ...]
    skipped: tuple[Skipped, ...]
    efficiency: tuple[Mapping[str, float | None], ...]
    """Per round: by file, latency ratio / ratio of multiply-adds."""
    remarks: tuple[Remark, ...]
    footprints: Mapping[str, Footprint]
    seconds: float


def measure_on(
    files: Sequence[Intake], provider: Provider, plan: Plan, *, say: Say = lambda _: None
) -> Section:
    """Time ``files`` on one provider that works.

    Raises:
        LatencyError: A file does not run there, or the provider stopped working.
    """
    began = time.perf_counter()
    name = provider.execution_provider
    rounds: list[Round] = []
    skipped: list[Skipped] = []
    with tempfile.TemporaryDirectory(prefix="compress-bench-") as folder:
        cache = Path(folder)
        # First, so that what is built for them is not counted as the later rounds' start.
        held = _footprints(files, name, plan, cache=cache, say=say)
        for mode in modes(name, every=plan.every_mode):
            for batch in plan.batches:
                say(f"{provider.name}, {mode.name}, batch {batch}")
                found = _round(files, provider, plan, mode=mode, batch=batch, cache=cache)
                if isinstance(found, Round):
                    rounds.append(found)
                else:
                    skipped.append(found)
    shares = tuple(efficiency(files, one) for one in rounds)
    return Section(
        provider=provider,
        device=device_name(name, threads=plan.threads or cpu_threads()),
        runtime=f"onnxruntime {onnxruntime.__version__}",
        rounds=tuple(rounds),
        skipped=tuple(skipped),
        efficiency=shares,
        remarks=tuple(remarks(files, rounds, shares, provider=name)),
        footprints=held,
        seconds=time.perf_counter() - began,
    )


def modes(provider: str, *, every: bool) -> tuple[Mode, ...]:
    """The ways that are measured on a provider (ONNX Runtime's name)."""
    if provider == CPU:
        return (RESIDENT, Mode(end_to_end=True)) if every else (RESIDENT,)
    resident = (RESIDENT, Mode(end_to_end=False, graphs=True))
    whole = (Mode(end_to_end=True), Mode(end_to_end=True, graphs=True))
    return (*resident, *whole) if every else resident


def thread_counts(given: int | None) -> tuple[int, ...]:
    """Numbers of CPU threads that are tried: as many as there are, and one."""
    if given is not None:
        return (given,)
    return tuple(dict.fromkeys((cpu_threads(), 1)))


def _round(
    files: Sequence[Intake],
    provider: Provider,
    plan: Plan,
    *,
    mode: Mode,
    batch: int,
    cache: Path,
) -> Round | Skipped:
    request = Request(
        entries=tuple(
            Entry(
                name=file.name,
                path=file.path.absolute(),
                precision=file.precision,
                batch_name=file.batch_name,
                cache=_engines(file, cache),
            )
            for file in files
        ),
        batch=batch,
        provider=provider.execution_provider,
        mode=mode,
        threads=thread_counts(plan.threads),
        tune=plan.tune,
        dims=plan.dims,
        budget=plan.budget,
        seed=plan.seed,
    )
    limit_s = _GRACE_S + 4 * plan.budget.seconds
    try:
        process = run_module(
            "exporters.contest", stdin=REQUEST.dump_json(request).decode(), timeout_s=limit_s
        )
    except subprocess.TimeoutExpired as error:
        raise LatencyError(
            f"timing batch {batch} took longer than {limit_s:.0f} s; time a smaller batch"
        ) from error
    if process.returncode == 0:
        return ROUND.validate_json(process.stdout)
    told = _told(process)
    if mode.graphs:  # which not every network can be captured as; without them it was timed
        return Skipped(batch=batch, mode=mode, reason=told)
    raise LatencyError(_explained(provider, told, batch=batch))


def _told(process: subprocess.CompletedProcess[str]) -> str:
    """Why a measurement ended early."""
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        full = ": perhaps for want of memory" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{full}"
    return last_words(process)


def _explained(provider: Provider, told: str, *, batch: int) -> str:
    """The reason, and whether it is the files or the provider that has gone."""
    now = probe(provider.name)
    if provider.usable and not now.usable:
        return (
            f"{provider.name} worked when the benchmark began and stopped at batch {batch}: "
            f"{now.reason}; what was running said: {told}"
        )
    return f"cannot time batch {batch} on {provider.name}: {told}"


def _footprints(
    files: Sequence[Intake], provider: str, plan: Plan, *, cache: Path, say: Say
) -> dict[str, Footprint]:
    found: dict[str, Footprint] = {}
    for file in files if plan.processes else ():
        say(f"loading {file.name}")
        (choice, *_) = _choices(file, provider, plan, cache=cache)
        try:
            found[file.name] = footprint(
                file.path,
                provider=provider,
                threads=choice.threads,
                tuning=choice.tuning,
                batch=plan.batches[0],
                processes=plan.processes,
            )
        except FootprintError as error:
            raise LatencyError(str(error)) from error
    return found


def _choices(file: Intake, provider: str, plan: Plan, *, cache: Path) -> tuple[Choice, ...]:
    return choices(
        provider,
        mode=RESIDENT,
        threads=thread_counts(plan.threads),
        dims=plan.dims,
        batch={file.batch_name: plan.batches[0]} if file.batch_name else {},
        precision=file.precision,
        cache=_engines(file, cache),
    )


def _engines(file: Intake, cache: Path) -> Path:
    """A folder for the engines of this file, by what it is called and what it holds."""
    folder = cache / digest(file.name, file.sha256)[:16]
    folder.mkdir(exist_ok=True)
    return folder
