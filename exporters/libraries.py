"""Which shared libraries an execution provider lacks, asked of the system's loader itself."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnxruntime

DRIVER: Final = "libcuda.so.1"
"""Comes with NVIDIA's driver, never from pip."""

TENSORRT: Final = "tensorrt-cu13>=10.13,<11"
"""What onnxruntime-gpu 1.31 links, read in its libraries; the newest on PyPI is 11."""

# Which package on PyPI holds which library of CUDA 13, to which onnxruntime-gpu 1.31 is linked.
_PACKAGES: Final[Mapping[str, str]] = {
    "libcublas.so.13": "nvidia-cublas>=13,<14",
    "libcublasLt.so.13": "nvidia-cublas>=13,<14",
    "libcudart.so.13": "nvidia-cuda-runtime>=13,<14",
    "libcudnn.so.9": "nvidia-cudnn-cu13>=9",
    "libcufft.so.12": "nvidia-cufft>=12,<13",
    "libcurand.so.10": "nvidia-curand>=10,<11",
    "libnvinfer.so.10": TENSORRT,
    "libnvonnxparser.so.10": TENSORRT,
    "libnvrtc.so.13": "nvidia-cuda-nvrtc>=13,<14",
}

_NOT_FOUND: Final = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
_CANNOT_OPEN: Final = re.compile(r"([\w.+-]+\.so[.\d]*): cannot open shared object file")


def missing_in(message: str) -> tuple[str, ...]:
    """The libraries that an error of the loader names, in the order in which it does."""
    return tuple(dict.fromkeys(_CANNOT_OPEN.findall(message)))


def missing_libraries(file: Path) -> tuple[str, ...]:
    """What ``file`` is linked to and this process cannot load, all of it and in order.

    The loader gives up at the first one; ldd lists them, but does not see what this process has
    already loaded from pip's packages, so each is tried.
    """
    return tuple(name for name in _wanted(file) if not _loads(name))


def provider_library(name: str) -> Path:
    """The library of ONNX Runtime that is loaded for "cuda" or "tensorrt"; it may not be there."""
    return Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{name}.so"


def packages_of(missing: Sequence[str]) -> tuple[str, ...]:
    """What to give to pip for these libraries; the driver and unknown ones are left out."""
    return tuple(sorted({_PACKAGES[name] for name in missing if name in _PACKAGES}))


def _wanted(file: Path) -> Iterator[str]:
    ldd = shutil.which("ldd")
    if ldd is not None:
        listed = subprocess.run(  # noqa: S603 - the system's own tool, a file of the runtime
            [ldd, str(file)], capture_output=True, text=True, check=False, timeout=30
        )
        yield from dict.fromkeys(_NOT_FOUND.findall(listed.stdout))
        return
    try:
        ctypes.CDLL(str(file))
    except OSError as error:
        yield from missing_in(str(error))


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
