"""Networks of torchvision, dense and cut in two ways, in the precisions that a device computes in.

Random weights: what is measured is time. "uniform" has half of every layer's channels, "latency"
has half of the layers' summed time gone, by the knapsack over times measured on the device.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.gpu_settings import Settings
from compressor.layer_latencies import entry, latency_table
from compressor.pruning.candidate import Method, Prunable, propose, prunable
from exporters.bench import Plan, Section, measure_on
from exporters.efficiency import efficiency, remarks
from exporters.intake import Intake, read_files
from exporters.latency import LatencyError
from exporters.layer_latency import measure_layers
from exporters.onnx import ExportError, serialise
from exporters.paired import Budget
from exporters.precision import PRECISIONS, worth_trying
from exporters.providers import Provider, probe

_ALIGN: Final = 16
_TIMED_BATCH: Final = 8
"""Images per call at which layers are timed, for the cut by latency."""
_CALIBRATION: Final = 16

Say = Callable[[str], None]


def measure(settings: Settings, *, say: Say, share: float = 0.65) -> Iterator[tuple[str, Any]]:
    """By network and provider, what ``measure_on`` finds; ends after ``share`` of the time.

    TensorRT comes last, where it works: it builds an engine for each file and batch.
    """
    until_s = settings.left_s() * (1 - share)
    providers: list[Provider] = [probe(settings.provider)]
    if settings.provider == "cuda" and (tensorrt := probe("tensorrt")).usable:
        providers.append(tensorrt)
    with tempfile.TemporaryDirectory(prefix="gpu-suite-") as folder:
        made: dict[str, Mapping[str, bytes]] = {}
        for provider in providers:
            for name in settings.networks:
                if settings.left_s() < until_s:
                    yield f"{name} on {provider.name}", {"left_out": "the time is over"}
                    continue
                if name not in made:
                    say(f"{name}: cutting and exporting")
                    made[name] = _cut(name, settings, provider=provider)
                files, without = _files(
                    made[name], Path(folder) / name / provider.name, settings, provider=provider
                )
                found = _timed(files, provider, settings, until_s=until_s, say=say)
                yield f"{name} on {provider.name}", {**found, "precisions_left_out": without}


def _cut(name: str, settings: Settings, *, provider: Provider) -> Mapping[str, bytes]:
    """The ONNX files of the dense network and its two cuts, in fp32."""
    torch.manual_seed(0)  # noqa: TID251 # torchvision draws weights from the global generator
    network: nn.Module = torchvision.models.get_model(name, weights=None).eval()
    example = torch.randn(2, 3, settings.side, settings.side)
    dense = prunable(network, example, seed=0)
    uniform = Method(allocation="uniform", align=_ALIGN, of="macs", compensate=False)
    # Half the channels read and half of them made: a quarter of the products, the first and the
    # last layer's apart.
    files = {"dense": _file(dense.model, example)}
    files["uniform"] = _file(_proposed(dense, uniform, wanted=0.73), example)
    times = measure_layers(
        dense.model,
        example,
        provider=provider.execution_provider,
        batch=1 if settings.quick else _TIMED_BATCH,
        seed=0,
    )
    by_time = Method(
        allocation="knapsack",
        align=_ALIGN,
        of="latency",
        compensate=False,
        latencies=latency_table(entry(times)),
    )
    files["latency"] = _file(_proposed(dense, by_time, wanted=0.5), example)
    return files


def _proposed(dense: Prunable, method: Method, *, wanted: float) -> nn.Module:
    made = propose(dense, None, ratio=wanted, method=method, batches=(), seed=0)
    return made.model


def _file(network: nn.Module, example: Tensor) -> bytes:
    return serialise(network, example[:1], metadata={})


def _files(
    made: Mapping[str, bytes], folder: Path, settings: Settings, *, provider: Provider
) -> tuple[tuple[Intake, ...], Mapping[str, str]]:
    """The files in every precision that can be faster there, the dense one in fp32 first."""
    tried, without = worth_trying(provider.execution_provider)
    reasons: dict[str, str] = {str(name): why for name, why in without.items()}
    folder.mkdir(parents=True)
    shape = (_CALIBRATION, 3, settings.side, settings.side)
    calibration = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    paths = []
    for precision in tried:
        for variant, content in made.items():
            path = folder / f"{variant}-{precision}.onnx"
            convert = PRECISIONS[precision]
            where = provider.execution_provider
            try:
                path.write_bytes(convert(content, calibration=calibration, provider=where))
            except ExportError as error:
                reasons[f"{variant}-{precision}"] = str(error)
                continue
            paths.append(path)
    return read_files(paths, provider=provider.execution_provider, dims={}), reasons


def _timed(
    files: tuple[Intake, ...],
    provider: Provider,
    settings: Settings,
    *,
    until_s: float,
    say: Say,
) -> dict[str, Any]:
    """All batches, each by itself, so that time that is over costs only those that are left."""
    sections: list[Section] = []
    left_out: dict[str, str] = {}
    for batch in settings.batches:
        if settings.left_s() < until_s:
            left_out[f"batch {batch}"] = "the time is over"
            continue
        plan = Plan(
            batches=(batch,),
            budget=Budget(seconds=settings.seconds, warm_up_s=min(settings.seconds / 8, 0.5)),
            every_mode=False,
            processes=0 if sections else 1,
            dims={},
        )
        try:
            sections.append(measure_on(files, provider, plan, say=say))
        except LatencyError as error:
            left_out[f"batch {batch}"] = str(error)
    rounds = [one for section in sections for one in section.rounds]
    shares = [efficiency(files, one) for one in rounds]
    return {
        "files": [asdict(file) for file in files],
        "rounds": [asdict(one) for one in rounds],
        "efficiency": shares,
        "skipped": [asdict(one) for section in sections for one in section.skipped],
        "remarks": [
            asdict(one)
            for one in remarks(files, rounds, shares, provider=provider.execution_provider)
        ],
        "footprints": {
            name: asdict(found)
            for section in sections
            for name, found in section.footprints.items()
        },
        "device": sections[0].device if sections else None,
        "runtime": sections[0].runtime if sections else None,
        "left_out": left_out,
    }
