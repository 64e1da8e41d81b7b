"""Which ONNX Runtime execution provider truly works on this machine.

ONNX Runtime lists providers that it cannot load, and falls back to the CPU without an error. So
each is tried: in a process of its own, with a network of one convolution that must not fall back.
"""

import contextlib
import importlib
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from pydantic import TypeAdapter

from exporters.child import last_words, run_module
from exporters.libraries import (
    DRIVER,
    TENSORRT,
    missing_in,
    missing_libraries,
    packages_of,
    provider_library,
)

Name = Literal["cpu", "cuda", "tensorrt"]

EXECUTION_PROVIDERS: Final[Mapping[Name, str]] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

_CUDA: Final = "an NVIDIA GPU with its driver and pip install 'onnxruntime-gpu[cuda,cudnn]'"
_NEEDS: Final[Mapping[Name, str]] = {
    "cpu": "pip install onnxruntime",
    "cuda": _CUDA,
    "tensorrt": f"{_CUDA} '{TENSORRT}'",
}

# A cold GPU driver can take ten seconds to start.
_TIMEOUT_S: Final = 60.0

Assignment = Mapping[str, Mapping[str, int]]
"""How many nodes of each operator type each execution provider got."""

_MISSING: Final = TypeAdapter(tuple[str, ...])
_ASSIGNMENT: Final[TypeAdapter[Assignment]] = TypeAdapter(Mapping[str, Mapping[str, int]])


class ProviderError(RuntimeError):
    """The execution provider asked for does not run here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What trying an execution provider showed."""

    name: Name
    usable: bool
    reason: str
    """Why it is usable or not, or why it was chosen; one sentence for people."""
    missing: tuple[str, ...] = ()
    """Libraries that the system's loader cannot find."""
    assignment: Assignment = field(default_factory=dict)
    """Where the nodes of a small network ran; empty if it did not."""

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
    answers = process.stdout.splitlines()
    if process.returncode == 0:
        assignment = _ASSIGNMENT.validate_json(answers[-1])
        return Provider(
            name=name,
            usable=True,
            reason=f"{EXECUTION_PROVIDERS[name]} ran {_counted(assignment)}",
            assignment=assignment,
        )
    # What the loader lacks says more than what ONNX Runtime makes of it.
    missing = _MISSING.validate_json(answers[0]) if answers else missing_in(process.stderr)
    verb = "is" if len(missing) == 1 else "are"
    why = f"{', '.join(missing)} {verb} missing" if missing else last_words(process)
    reason = f"{why}; needs {_NEEDS[name]}"
    return Provider(name=name, usable=False, reason=reason, missing=missing)


def remedy(provider: Provider) -> tuple[str, ...]:
    """What to do so that an unusable provider works, a line each; nothing for a usable one."""
    if provider.usable:
        return ()
    steps = []
    if provider.execution_provider not in onnxruntime.get_available_providers():
        steps.append(f"pip uninstall onnxruntime; pip install {_NEEDS['cuda'].split()[-1]}")
    if DRIVER in provider.missing:
        steps.append("a machine with an NVIDIA GPU and its driver: pip cannot bring libcuda.so.1")
    if packages := packages_of(provider.missing):
        steps.append(f"pip install {' '.join(repr(package) for package in packages)}")
    return tuple(steps) or (f"needs {_NEEDS[provider.name]}",)


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


def _counted(assignment: Assignment) -> str:
    """Such as "5 of 5 nodes of a small network"."""
    counts = {where: sum(kinds.values()) for where, kinds in assignment.items()}
    most = max(counts.values(), default=0)
    return f"{most} of {sum(counts.values())} nodes of a small network"


def assigned(session: onnxruntime.InferenceSession) -> Assignment:
    """Where ONNX Runtime put the nodes of a session that records it.

    Only this tells the truth: a session that asked for a GPU may list it and run on the CPU.
    """
    return counted_nodes(session.get_provider_graph_assignment_info())


def counted_nodes(parts: list[Any]) -> Assignment:
    """The same, of what a session has recorded: parts of the graph, each with its provider."""
    counts: dict[str, Counter[str]] = {}
    for part in parts:
        counts.setdefault(part.ep_name, Counter()).update(n.op_type for n in part.get_nodes())
    return counts


def _try(execution_provider: str) -> Assignment:
    """Run a small network with known logits on the provider alone.

    Raises:
        ProviderError: It is not built in, not in use, or computes something else.
    """
    if execution_provider not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"onnxruntime {onnxruntime.__version__} is built without {execution_provider}"
        )
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if execution_provider != EXECUTION_PROVIDERS["cpu"]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = onnxruntime.InferenceSession(
        _small_network(), options, providers=[execution_provider], enable_fallback=0
    )
    if session.get_providers()[0] != execution_provider:
        raise ProviderError(f"ONNX Runtime fell back to {session.get_providers()[0]}")
    assignment = assigned(session)
    if set(assignment) != {execution_provider}:
        raise ProviderError(f"ONNX Runtime placed nodes on {', '.join(assignment) or 'nothing'}")
    (logits,) = session.run(None, {"x": np.ones((1, 4, 8, 8), np.float32)})
    # Each of 8 channels sums 4 x 3 x 3 ones, and a logit sums the channels.
    if not np.array_equal(logits, np.full((1, 2), 8 * 36, np.float32)):
        raise ProviderError(f"a network of ones gives {logits.tolist()}, not 288")
    return assignment


def _small_network() -> bytes:
    """Convolution, activation, pooling and linear layer: what every classifier is made of."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small_network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [8, 4, 3, 3], np.ones(288, np.float32)),
            helper.make_tensor("v", TensorProto.FLOAT, [8, 2], np.ones(16, np.float32)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


def _missing(name: Name) -> tuple[str, ...]:
    file = provider_library(name)
    return missing_libraries(file) if file.exists() else ()


if __name__ == "__main__":
    (asked,) = (name for name in get_args(Name) if name == sys.argv[1])
    preload(EXECUTION_PROVIDERS[asked])
    # First, because what follows may end the process.
    sys.stdout.write(_MISSING.dump_json(_missing(asked)).decode() + "\n")
    sys.stdout.flush()
    found = _try(EXECUTION_PROVIDERS[asked])
    sys.stdout.write(_ASSIGNMENT.dump_json(found).decode() + "\n")
