"""Which ONNX Runtime execution provider truly works on this machine.

ONNX Runtime lists providers that it cannot load, and falls back to the CPU without an error. So
each is tried: in a process of its own, with a network of one convolution that must not fall back.
"""

import contextlib
import importlib
import io
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from exporters.child import last_words, run_module

Name = Literal["cpu", "cuda", "tensorrt"]

EXECUTION_PROVIDERS: Final[Mapping[Name, str]] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

_CUDA: Final = "an NVIDIA GPU with its driver and pip install 'onnxruntime-gpu[cuda,cudnn]'"
# onnxruntime-gpu links TensorRT 10; the newest wheel on PyPI is 11.
_NEEDS: Final[Mapping[Name, str]] = {
    "cpu": "pip install onnxruntime",
    "cuda": _CUDA,
    "tensorrt": f"{_CUDA} 'tensorrt-cu13>=10.13,<11'",
}

# A cold GPU driver can take ten seconds to start.
_TIMEOUT_S: Final = 60.0

_MISSING_LIBRARY: Final = re.compile(r"([\w.+-]+\.so[.\d]*): cannot open shared object file")


class ProviderError(RuntimeError):
    """The execution provider asked for does not run here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What trying an execution provider showed."""

    name: Name
    usable: bool
    reason: str
    """Why it is usable or not, or why it was chosen; one sentence for people."""

    @property
    def execution_provider(self) -> str:
        """ONNX Runtime's name for it."""
        return EXECUTION_PROVIDERS[self.name]


def choose(requested: Literal["auto", "cpu", "cuda", "tensorrt"]) -> Provider:
    """The provider asked for, or the better usable one of cuda and cpu for "auto".

    TensorRT is used on request only: it compiles each network for minutes.

    Raises:
        ProviderError: The provider asked for is unusable; says what is missing.
    """
    if requested != "auto":
        return _usable(probe(requested))
    cuda = probe("cuda")
    if cuda.usable:
        return cuda
    cpu = _usable(probe("cpu"))
    return Provider(name="cpu", usable=True, reason=f"{cpu.reason}; cuda is not: {cuda.reason}")


def probe(name: Name) -> Provider:
    """Try one provider; takes half a second on a CPU."""
    try:
        process = run_module("exporters.providers", name, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        reason = f"it did not answer within {_TIMEOUT_S:.0f} s; needs {_NEEDS[name]}"
        return Provider(name=name, usable=False, reason=reason)
    if process.returncode == 0:
        return Provider(name=name, usable=True, reason=f"{EXECUTION_PROVIDERS[name]} ran a network")
    missing = _MISSING_LIBRARY.search(process.stderr)
    why = f"{missing[1]} is missing" if missing else last_words(process)
    return Provider(name=name, usable=False, reason=f"{why}; needs {_NEEDS[name]}")


def preload(execution_provider: str) -> None:
    """Load the CUDA libraries of pip packages, which the system's loader does not find."""
    if execution_provider == EXECUTION_PROVIDERS["cpu"]:
        return
    # It prints what it cannot find; a session that then fails says it better.
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    if execution_provider == EXECUTION_PROVIDERS["tensorrt"]:
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt_libs")  # importing it loads its libraries


def _usable(provider: Provider) -> Provider:
    if not provider.usable:
        raise ProviderError(f"cannot run on {provider.name}: {provider.reason}")
    return provider


def _convolve(execution_provider: str) -> None:
    """Run one convolution on the provider and nowhere else.

    Raises:
        ProviderError: It is not built in, not in use, or computes something else.
    """
    if execution_provider not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"onnxruntime {onnxruntime.__version__} is built without {execution_provider}"
        )
    preload(execution_provider)
    options = onnxruntime.SessionOptions()
    if execution_provider != EXECUTION_PROVIDERS["cpu"]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = onnxruntime.InferenceSession(
        _one_convolution(), options, providers=[execution_provider], enable_fallback=0
    )
    if session.get_providers()[0] != execution_provider:
        raise ProviderError(f"ONNX Runtime fell back to {session.get_providers()[0]}")
    (sums,) = session.run(None, {"x": np.ones((1, 4, 8, 8), np.float32)})
    if not np.array_equal(sums, np.full((1, 8, 6, 6), 36, np.float32)):
        raise ProviderError("a convolution of ones gives a wrong sum")


def _one_convolution() -> bytes:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [8, 4, 3, 3], np.ones(288, np.float32))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "one_convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 6, 6])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


if __name__ == "__main__":
    (asked,) = (name for name in get_args(Name) if name == sys.argv[1])
    _convolve(EXECUTION_PROVIDERS[asked])
