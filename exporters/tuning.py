"""The few options that a careful user would try, the same few for every file of a benchmark.

A network is compared as it runs at its best: options that suit the dense one may not suit the
pruned one, and comparing both under the dense one's would bias the ratio.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from exporters.modes import Mode
from exporters.providers import EXECUTION_PROVIDERS
from exporters.sessions import CPU, Tuning

_CUDA: Final = EXECUTION_PROVIDERS["cuda"]
_LEVELS: Final[Sequence[Literal["all", "extended"]]] = ("all", "extended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to set up a session, with a name for people."""

    name: str
    threads: int
    tuning: Tuning


def choices(
    provider: str,
    *,
    mode: Mode,
    threads: Sequence[int],
    dims: Mapping[str, int],
    batch: Mapping[str, int],
    precision: str,
    cache: Path,
) -> tuple[Choice, ...]:
    """All that are tried on a provider; the first is what one gets without choosing.

    Args:
        provider: ONNX Runtime's name of it.
        mode: How the session will be run.
        threads: Numbers of CPU threads to try.
        dims: Named dimensions that the user has fixed.
        batch: The batch's, by its name in the file; it is fixed on GPUs alone, where kernels and
            graphs are made for one size.
        precision: Of the file's weights.
        cache: Folder for TensorRT's engines of this file.
    """
    if provider == CPU:
        return tuple(
            Choice(
                name=f"{count} thread{'s' if count > 1 else ''}"
                + ("" if level == "all" else f", optimisation {level}"),
                threads=count,
                tuning=Tuning(optimisation=level, dims=dims, deterministic=False),
            )
            for count, level in itertools.product(threads, _LEVELS)
        )
    options = _CUDA_OPTIONS if provider == _CUDA else _tensorrt(precision, cache)
    graph = {"enable_cuda_graph" if provider == _CUDA else "trt_cuda_graph_enable": mode.graphs}
    fixed = {**dims, **batch}
    return tuple(
        Choice(
            name=name,
            threads=max(threads),
            tuning=Tuning(
                provider={**values, **{key: "1" if on else "0" for key, on in graph.items()}},
                dims=fixed,
                deterministic=False,
            ),
        )
        for name, values in options.items()
    )


# HEURISTIC asks cuDNN's other heuristic since ONNX Runtime 1.20; DEFAULT falls back to whatever
# runs, several times slower (pull request 22705 of ONNX Runtime).
_CUDA_OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "nchw": {"prefer_nhwc": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"},
    "nhwc": {"prefer_nhwc": "1", "cudnn_conv_algo_search": "EXHAUSTIVE"},
    "nchw, heuristic": {"prefer_nhwc": "0", "cudnn_conv_algo_search": "HEURISTIC"},
    "nhwc, heuristic": {"prefer_nhwc": "1", "cudnn_conv_algo_search": "HEURISTIC"},
}


def _tensorrt(precision: str, cache: Path) -> Mapping[str, Mapping[str, str]]:
    """TensorRT tries kernels by itself; it must be told which types the file's numbers may have."""
    values = {
        "trt_fp16_enable": str(int(precision in {"fp16", "mixed"})),
        "trt_int8_enable": str(int(precision in {"int8", "mixed"})),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
    }
    return {"TensorRT": values}
