"""ONNX Runtime sessions that run where they were asked to."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _errors

from exporters.providers import EXECUTION_PROVIDERS, ProviderError, preload

CPU: Final = EXECUTION_PROVIDERS["cpu"]

SESSION_ERRORS: Final = (
    RuntimeError,
    _errors.EPFail,
    _errors.Fail,
    _errors.InvalidArgument,
    _errors.InvalidGraph,
    _errors.InvalidProtobuf,
    _errors.NotImplemented,
    _errors.RuntimeException,
)
"""What ONNX Runtime raises when a file does not load or run; it has no common class."""

# Where each provider hands what it does not implement; shape arithmetic often ends on the CPU.
_CHAINS: Final = {
    CPU: [CPU],
    EXECUTION_PROVIDERS["cuda"]: [EXECUTION_PROVIDERS["cuda"], CPU],
    EXECUTION_PROVIDERS["tensorrt"]: [
        EXECUTION_PROVIDERS["tensorrt"],
        EXECUTION_PROVIDERS["cuda"],
        CPU,
    ],
}

# The operators that are the work of a network: none may be left to the CPU.
_HEAVY: Final = frozenset(
    {"Conv", "FusedConv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv", "QLinearMatMul"}
    | {"QGemm", "ConvInteger", "MatMulInteger"}
)

_SILENT: Final = 4


def cpu_threads() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_LEVELS: Final = {
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How a session runs what it runs: it changes the time, and the logits by rounding alone."""

    optimisation: Literal["all", "extended"] = "all"
    """What ONNX Runtime may make of the graph; only "all" has layouts of this processor's own."""
    provider: Mapping[str, str] = field(default_factory=dict)
    """Options of the execution provider."""
    dims: Mapping[str, int] = field(default_factory=dict)
    """Named dimensions that the session takes as fixed, such as the batch."""
    deterministic: bool = True
    """Only with kernels that give the same bytes each time."""


_AS_GATED: Final = Tuning()


def session(
    model: Path | bytes,
    *,
    provider: str = CPU,
    threads: int,
    tuning: Tuning = _AS_GATED,
    optimised: Path | None = None,
    profile: Path | None = None,
) -> onnxruntime.InferenceSession:
    """A session of an ONNX file or its bytes, on ``provider`` (ONNX Runtime's name).

    The same input, batch size and threads give the same bytes on a CPU. Nothing is printed:
    ONNX Runtime's own log is switched off, its errors are exceptions. The graph that it makes of
    the file is written to ``optimised``, if that is given. With ``profile``, what every node takes
    in every run is written to a file whose name begins so; ``end_profiling()`` ends and names it.

    Raises:
        ProviderError: The network would not run on ``provider``.
        SESSION_ERRORS: The file cannot be loaded.
    """
    if provider not in _CHAINS:
        raise ProviderError(f"no execution provider {provider!r}; known: {', '.join(_CHAINS)}")
    if provider not in onnxruntime.get_available_providers():
        raise ProviderError(f"this onnxruntime is built without {provider}")
    preload(provider)
    # What a provider says while it fails to load goes to the process's log, not the session's.
    onnxruntime.set_default_logger_severity(_SILENT)
    first, *others = _CHAINS[provider]
    options = _options(threads, tuning)
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    try:
        opened = onnxruntime.InferenceSession(
            model,
            options,
            providers=[(first, dict(tuning.provider)), *others],
            enable_fallback=0,
        )
    except RuntimeError as error:  # TensorRT fails so where CUDA falls back.
        raise ProviderError(f"{provider} does not start: {error}") from error
    _check_provider(opened, provider)
    return opened


def _options(threads: int, tuning: Tuning) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    options.use_deterministic_compute = tuning.deterministic
    options.graph_optimization_level = _LEVELS[tuning.optimisation]
    for name, size in tuning.dims.items():
        options.add_free_dimension_override_by_name(name, size)
    # Idle threads that spin take the processor from the next session: two live sessions would
    # halve each other's speed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _check_provider(opened: onnxruntime.InferenceSession, provider: str) -> None:
    if opened.get_providers()[0] != provider:
        raise ProviderError(f"asked for {provider}, ONNX Runtime uses {opened.get_providers()[0]}")
    if provider == CPU:
        return
    left = heavy_on_cpu(opened.get_provider_graph_assignment_info())
    if left:
        operators = ", ".join(f"{count} {kind}" for kind, count in sorted(left.items()))
        raise ProviderError(f"{provider} leaves to the CPU: {operators}")


def heavy_on_cpu(assignment: list[Any]) -> Counter[str]:
    """How many nodes of each heavy operator type ONNX Runtime placed on the CPU."""
    return Counter(
        node.op_type
        for part in assignment
        if part.ep_name == CPU
        for node in part.get_nodes()
        if node.op_type in _HEAVY
    )
