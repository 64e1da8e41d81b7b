"""``compress bench``: files of any origin against the first of them, on what works here."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter

from compressor.config import PruneProject
from compressor.torch_times import TorchRequest, TorchRound, time_in_torch
from compressor.watch import Watch
from exporters.bench import Plan, Section, measure_on, thread_counts
from exporters.intake import Intake, batches_for, read_files
from exporters.paired import Budget
from exporters.providers import Provider, choose, probe
from exporters.sessions import CPU

Asked = Literal["auto", "cpu", "cuda", "tensorrt"]

_BATCHES: Final = (1, 8)
_PACKAGES: Final = (
    "compressor",
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt-cu13",
    "numpy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchModel:
    """A network whose file is the first of those that are compared."""

    path: Path
    project: PruneProject
    root: Path
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchJob:
    """What the user asked for."""

    files: tuple[Path, ...]
    providers: tuple[Asked, ...] = ("auto",)
    batches: tuple[int, ...] = ()
    seconds: float | None = None
    quick: bool = False
    threads: int | None = None
    dims: Mapping[str, int]
    torch: TorchModel | None = None
    seed: int = 0
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that a benchmark found."""

    schema_version: int = 1
    asked: tuple[str, ...]
    files: tuple[Intake, ...]
    """The first is what the others are compared with."""
    sections: tuple[Section, ...]
    torch: tuple[TorchRound, ...]
    versions: Mapping[str, str]
    quick: bool
    seed: int
    command: str
    seconds: float


BENCH: Final = TypeAdapter(Bench)


def bench(job: BenchJob, watch: Watch) -> Bench:
    """Read, check and time the files.

    Raises:
        SignatureError: a file cannot be read, loaded or run.
        IncomparableError: the files take different images, or not the batches that were asked for.
        ProviderError: a provider that was asked for does not work.
        LatencyError: a file does not run there.
        ModelError: the network of ``--torch`` cannot be loaded.
    """
    began = time.perf_counter()
    providers = _providers(job)
    for provider in providers:
        watch.say(f"{provider.name}: {provider.reason}")
    files = read_files(job.files, provider=providers[0].execution_provider, dims=job.dims)
    plan = _plan(job, batches_for(files, job.batches, default=_BATCHES))
    sections = tuple(measure_on(files, provider, plan, say=watch.say) for provider in providers)
    return Bench(
        asked=job.providers,
        files=files,
        sections=sections,
        torch=tuple(_torch_rounds(job, plan, providers, watch)),
        versions=_versions(),
        quick=job.quick,
        seed=job.seed,
        command=job.command,
        seconds=time.perf_counter() - began,
    )


def _providers(job: BenchJob) -> tuple[Provider, ...]:
    """Each that was asked for; "auto" is the better of cuda and cpu, and TensorRT where it works.

    TensorRT builds an engine for minutes, so that a quick benchmark leaves it out of "auto".
    """
    found: dict[str, Provider] = {}
    for name in job.providers:
        chosen = choose(name)
        found[chosen.name] = chosen
        if name == "auto" and chosen.name == "cuda" and not job.quick:
            tensorrt = probe("tensorrt")
            if tensorrt.usable:
                found[tensorrt.name] = tensorrt
    return tuple(found.values())


def _plan(job: BenchJob, batches: tuple[int, ...]) -> Plan:
    seconds = job.seconds or (6.0 if job.quick else 30.0)
    warm_up_s = min(seconds / 12, 1.0)
    return Plan(
        batches=batches,
        budget=Budget(seconds=seconds, warm_up_s=warm_up_s),
        every_mode=not job.quick,
        processes=1 if job.quick else 3,
        threads=job.threads,
        dims=job.dims,
        seed=job.seed,
    )


def _torch_rounds(
    job: BenchJob, plan: Plan, providers: Sequence[Provider], watch: Watch
) -> list[TorchRound]:
    if job.torch is None:
        return []
    model = job.torch.project.model
    names = [provider.execution_provider for provider in providers]
    found = []
    for batch in plan.batches:
        watch.say(f"PyTorch, batch {batch}")
        request = TorchRequest(
            model=job.torch.path.absolute(),
            root=job.torch.root.absolute(),
            factory=model.factory,
            kwargs=model.kwargs,
            trusted=(*model.trust, *job.torch.trusted),
            input=job.torch.project.input,
            onnx=job.files[0].absolute(),
            batch=batch,
            provider=names[0] if CPU in names else "CUDAExecutionProvider",
            threads=thread_counts(job.threads)[0],
            budget=plan.budget,
            seed=job.seed,
            compile=not job.quick,
        )
        found.append(time_in_torch(request))
    return found


def _versions() -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "system": f"{os.uname().sysname} {os.uname().machine}",
    }
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
