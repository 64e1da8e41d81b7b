"""Ways to run a session that people mean by "latency", each as one call that ends when it is done.

ONNX Runtime waits for the device at the end of a run (IOBinding included, unless told otherwise),
so that a clock around the call is right. Not run on a GPU yet: all that is for one is written after
ONNX Runtime's documentation of its CUDA and TensorRT providers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from exporters.sessions import CPU
from exporters.timing import Run

Feeds = Mapping[str, NDArray[Any]]
"""Arrays by the names of a session's inputs."""

_DTYPES: Final[Mapping[str, type[np.generic]]] = {
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
}


class ModeError(RuntimeError):
    """A session cannot be run in this way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What one run comprises."""

    end_to_end: bool
    """From arrays of the program to arrays of the program; else inputs and outputs stay on the
    device, as between two networks."""
    graphs: bool = False
    """Launched as one CUDA graph, captured before."""

    @property
    def name(self) -> str:
        """For tables."""
        where = "end to end" if self.end_to_end else "on the device"
        return f"{where}, CUDA graph" if self.graphs else where


RESIDENT: Final = Mode(end_to_end=False)


def run_of(
    opened: onnxruntime.InferenceSession, feeds: Feeds, *, provider: str, mode: Mode, batch: int
) -> Run:
    """One run in this way, having been run once.

    ``feeds`` must live as long as the run: on a CPU they are read where they lie.

    Raises:
        ModeError: CUDA graphs are wanted, and the sizes of the outputs depend on more than the
            batch.
        SESSION_ERRORS: The network fails on such inputs.
    """
    if mode.end_to_end and not mode.graphs:
        return _called(opened, feeds)
    device = "cpu" if provider == CPU else "cuda"
    inputs = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(values, device, 0)
        for name, values in feeds.items()
    }
    binding = opened.io_binding()
    for name, source in inputs.items():
        binding.bind_ortvalue_input(name, source)
    outputs = _outputs(opened, binding, device=device, batch=batch, must_know=mode.graphs)

    def resident() -> None:
        opened.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def end_to_end() -> None:
        # Into the memory that the graph was captured with, and out of it.
        for name, source in inputs.items():
            source.update_inplace(feeds[name])
        resident()
        for output in outputs:
            output.numpy()

    run = end_to_end if mode.end_to_end else resident
    run()
    return run


def _called(opened: onnxruntime.InferenceSession, feeds: Feeds) -> Run:
    fed = dict(feeds)

    def run() -> None:
        opened.run(None, fed)

    run()
    return run


def _outputs(
    opened: onnxruntime.InferenceSession,
    binding: onnxruntime.IOBinding,
    *,
    device: str,
    batch: int,
    must_know: bool,
) -> list[onnxruntime.OrtValue]:
    """Outputs bound to memory that stays: a graph captures addresses, and fresh pages cost time."""
    batches = {source.shape[0]: batch for source in opened.get_inputs() if source.shape}
    made = []
    for output in opened.get_outputs():
        shape = _shape(output, batches)
        if shape is None or output.type not in _DTYPES:
            break
        made.append(
            onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                shape, _DTYPES[output.type], device, 0
            )
        )
    else:
        for output, value in zip(opened.get_outputs(), made, strict=True):
            binding.bind_ortvalue_output(output.name, value)
        return made
    if must_know:
        raise ModeError(f"the size of {output.name!r}, {output.shape}, is not known beforehand")
    # The size is what it is for these images, which stay the same.
    for output in opened.get_outputs():
        binding.bind_output(output.name, device, 0)
    opened.run_with_iobinding(binding)
    made = list(binding.get_outputs())
    binding.clear_binding_outputs()
    for output, value in zip(opened.get_outputs(), made, strict=True):
        binding.bind_ortvalue_output(output.name, value)
    return made


def _shape(
    output: onnxruntime.NodeArg, batches: Mapping[int | str | None, int]
) -> list[int] | None:
    """The output's shape, if only its first dimension is open and has the name of an input's."""
    if not output.shape:
        return None
    first, *rest = output.shape
    known = first if isinstance(first, int) else batches.get(first) if first else None
    sizes = [size for size in rest if isinstance(size, int)]
    return None if known is None or len(sizes) < len(rest) else [known, *sizes]
