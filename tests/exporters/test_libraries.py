import shutil
from pathlib import Path

import pytest

from exporters import libraries
from exporters.child import run_module
from exporters.libraries import missing_in, missing_libraries, packages_of, provider_library

CUDA = provider_library("cuda")
NO_CUDA = "this onnxruntime is built without CUDA (macOS, ARM): it has no such library to look into"


def test_a_loaders_error_names_the_library() -> None:
    told = "libcurand.so.10: cannot open shared object file: No such file or directory"
    assert missing_in(f"Failed to load x with error: {told}") == ("libcurand.so.10",)
    assert missing_in("no kernel image is available") == ()


def test_each_library_of_cuda_comes_from_its_package_and_the_driver_from_none() -> None:
    missing = ("libcurand.so.10", "libcublas.so.13", "libcublasLt.so.13", "libcuda.so.1")
    assert packages_of(missing) == ("nvidia-cublas>=13,<14", "nvidia-curand>=10,<11")
    assert packages_of(("libnvinfer.so.10",)) == ("tensorrt-cu13>=10.13,<11",)


@pytest.mark.skipif(not CUDA.exists(), reason=NO_CUDA)
@pytest.mark.skipif(shutil.which("ldd") is None, reason="no ldd here; without it is the next test")
def test_all_that_the_loader_cannot_find_is_missing() -> None:
    missing = missing_libraries(CUDA)
    assert ("libcuda.so.1" in missing) != libraries._loads("libcuda.so.1")
    assert not any(libraries._loads(name) for name in missing)


@pytest.mark.skipif(not CUDA.exists(), reason=NO_CUDA)
def test_without_ldd_the_loaders_first_complaint_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = missing_libraries(CUDA)
    monkeypatch.setenv("PATH", "")
    assert missing_libraries(CUDA) == everything[:1]


def test_a_library_that_needs_nothing_lacks_nothing() -> None:
    ours = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    libc = next(Path(name) for name in ours if "/libc.so" in name or "/libc-" in name)
    assert missing_libraries(libc) == ()


@pytest.mark.skipif(not CUDA.exists(), reason=NO_CUDA)
def test_a_probe_says_what_is_missing_before_it_tries() -> None:
    """So that a provider which ends the process has still been explained."""
    process = run_module("exporters.providers", "cuda", timeout_s=60)
    first, *_ = process.stdout.splitlines()
    assert first.startswith("[") and first.endswith("]")
    assert (process.returncode == 0) == ("CUDAExecutionProvider" in process.stdout)
