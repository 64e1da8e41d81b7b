"""Which packages the GPU suite needs and this Python lacks, and how to bring them. Imports none."""

import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Final

_PACKAGES: Final[Mapping[str, str]] = {
    "contourpy": "contourpy",
    "cycler": "cycler",
    "dateutil": "python-dateutil",
    "fontTools": "fonttools",
    "jinja2": "Jinja2",
    "kiwisolver": "kiwisolver",
    "markupsafe": "MarkupSafe",
    "matplotlib": "matplotlib",
    "packaging": "packaging",
    "pyparsing": "pyparsing",
    "six": "six",
    "click": "click",
    "google.protobuf": "protobuf",
    "ml_dtypes": "ml-dtypes",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnx_ir": "onnx-ir",
    "onnxruntime": "onnxruntime-gpu==1.31.1",
    "onnxscript": "onnxscript",
    "PIL": "Pillow",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic-core",
    "annotated_types": "annotated-types",
    "typing_inspection": "typing-inspection",
    "pygments": "Pygments",
    "markdown_it": "markdown-it-py",
    "mdurl": "mdurl",
    "rich": "rich",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "torch": "torch",
    "torch_pruning": "torch-pruning==1.6.1",
    "torchvision": "torchvision",
    "yaml": "PyYAML",
}
"""By the module that is imported."""

_OPTIONAL: Final[Mapping[str, str]] = {
    "pynvml": "nvidia-ml-py",
    "tensorrt_libs": "tensorrt-cu13-libs>=10.13,<11",
}
"""Clocks and throttling, and TensorRT's rows; the suite runs without."""

_PYTHON: Final = (3, 11)

_CUDA: Final = ("nvidia-curand>=10,<11", "nvidia-cufft>=12,<13", "nvidia-cudnn-cu13>=9")
"""What onnxruntime-gpu 1.31 links besides what comes with torch for CUDA 13, which lacks curand."""


def missing() -> tuple[str, ...]:
    """Packages without which nothing runs, as pip calls them."""
    return _absent(_PACKAGES)


def useful() -> tuple[str, ...]:
    """Packages that are missing and would add to what is measured."""
    return _absent(_OPTIONAL)


def how_to_bring(packages: Sequence[str]) -> str:
    """What to type where there is a network, for this machine's Python."""
    version = ".".join(platform.python_version_tuple()[:2])
    quoted = " ".join(f"'{package}'" for package in packages)
    return (
        f"missing here: {', '.join(packages)}\n"
        "bring them: where there is a network,\n"
        f"  python -m pip download --no-deps --only-binary=:all: --python-version {version} \\\n"
        f"    --implementation cp --platform manylinux_2_28_{platform.machine()} \\\n"
        f"    --platform manylinux_2_17_{platform.machine()} \\\n"
        f"    --platform manylinux2014_{platform.machine()} -d wheels {quoted}\n"
        "copy the folder here, and\n"
        "  benchmarks/gpu.sh --wheels wheels ...\n"
        f"For the CUDA provider these belong to them where the system has no CUDA 13 toolkit: "
        f"{', '.join(_CUDA)}"
    )


def wrong() -> tuple[str, ...]:
    """Installations that would measure something else than they seem to."""
    found = []
    if sys.version_info[:2] < _PYTHON:  # this file is read by whatever Python there is
        found.append(f"Python {platform.python_version()}; the toolkit needs 3.11 or newer")
    names = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    if {"onnxruntime", "onnxruntime-gpu"} <= names:
        found.append("onnxruntime and onnxruntime-gpu overwrite each other: uninstall both, then "
                     "install onnxruntime-gpu")  # fmt: skip
    return tuple(found)


def _absent(wanted: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(package for module, package in wanted.items() if not _there(module))


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
