"""What this machine can run networks on, asked of the machine and not of what is installed."""

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import onnxruntime

from exporters.device import Cpu, cpu
from exporters.nvml import Gpus, gpus
from exporters.providers import Name, Provider, probe, remedy

_PACKAGES: Final = (
    "compressor", "torch", "torchvision", "torch-pruning", "numpy", "onnx", "onnxscript",
    "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-cu13", "tensorrt-cu12", "nvidia-ml-py",
    "nvidia-cublas", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime", "nvidia-cudnn-cu13",
    "nvidia-cufft", "nvidia-curand",
)  # fmt: skip

_TENSORRTS: Final = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One execution provider, and what would make it work."""

    provider: Provider
    remedy: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All that a run on this machine depends on."""

    platform: str
    versions: Mapping[str, str]
    """Of Python, of what is installed of the packages that matter, and of CUDA in ONNX Runtime."""
    cpu: Cpu
    gpus: Gpus
    providers: tuple[Diagnosis, ...]
    chosen: Name | None
    """What "auto" stands for here; None if nothing works."""
    remarks: tuple[str, ...]


def examine(names: Sequence[Name] = get_args(Name)) -> Health:
    """Look at versions and devices and try each provider; takes a second or two without a GPU."""
    versions = _versions()
    tried = [probe(name) for name in names]
    usable = [provider.name for provider in tried if provider.usable]
    diagnoses = [Diagnosis(provider=one, remedy=_steps(one, usable)) for one in tried]
    processor = cpu()
    return Health(
        platform=f"{platform.system()} {platform.machine()}",
        versions=versions,
        cpu=processor,
        gpus=gpus(),
        providers=tuple(diagnoses),
        chosen="cuda" if "cuda" in usable else "cpu" if "cpu" in usable else None,
        remarks=tuple(_remarks(versions, processor, usable)),
    )


def _steps(provider: Provider, usable: Sequence[Name]) -> tuple[str, ...]:
    steps = remedy(provider)
    also = provider.name == "tensorrt" and steps and "cuda" not in usable
    return (*steps, "all that cuda needs: TensorRT runs beside it") if also else steps


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    cuda = getattr(onnxruntime, "cuda_version", "")  # only wheels for GPUs have it
    return {**found, **({"cuda of onnxruntime": cuda} if cuda else {})}


def _remarks(versions: Mapping[str, str], processor: Cpu, usable: Sequence[Name]) -> Iterator[str]:
    if {"onnxruntime", "onnxruntime-gpu"} <= versions.keys():
        yield (
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: "
            "pip uninstall both, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    for name in _TENSORRTS:
        version = versions.get(name, "10.")
        if not version.startswith("10."):
            yield (
                f"{name} {version} is installed; ONNX Runtime {onnxruntime.__version__} is linked "
                f"to TensorRT 10: pip install '{name}>=10.13,<11'"
            )
    if not processor.multiplies_bytes:
        yield (
            "this processor has no instructions for products of eight-bit integers (VNNI, AMX, "
            "dot products): expect little of int8 here"
        )
    if "cuda" not in usable and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        yield (
            "onnxruntime lists CUDAExecutionProvider, which says how it was built; a program that "
            "asks for it here gets the CPU, without an error"
        )
