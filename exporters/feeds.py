"""Inputs for runs in which only the time counts, for files of any layout and type."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.network_file import SignatureError

_FLOATS: Final[Mapping[str, type[np.floating[Any]]]] = {
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
}
_PIXELS: Final = "tensor(uint8)"


class Source(Protocol):
    """An input as ONNX Runtime describes it: ``session.get_inputs()[0]``."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str: ...

    @property
    def shape(self) -> Sequence[int | str | None]: ...


def input_shape(source: Source, *, batch: int) -> tuple[int, ...]:
    """The input's shape with the batch filled in.

    Raises:
        SignatureError: it takes another batch only, or leaves the size of its images open.
    """
    first, *rest = source.shape
    if isinstance(first, int) and first != batch:
        raise SignatureError(f"a file takes batches of {first} only, not {batch}")
    sizes = [size for size in rest if isinstance(size, int)]
    if len(sizes) < len(rest):
        raise SignatureError(f"a file does not fix its image size: {rest}")
    return (batch, *sizes)


def random_input(
    source: Source, *, batch: int, generator: np.random.Generator | int
) -> NDArray[Any]:
    """A batch that the input takes: pixels 0..255 for uint8, else normal with deviation 1.

    Args:
        source: which input.
        batch: images.
        generator: of the values, or its seed.

    Raises:
        SignatureError: it takes another batch only, leaves its size open, or is of another type.
    """
    shape, drawn = input_shape(source, batch=batch), np.random.default_rng(generator)
    if source.type == _PIXELS:
        return drawn.integers(256, size=shape, dtype=np.uint8)
    if source.type not in _FLOATS:
        known = ", ".join([_PIXELS, *_FLOATS])
        raise SignatureError(f"the input {source.name!r} is {source.type}; images are {known}")
    return drawn.standard_normal(shape, dtype=np.float32).astype(_FLOATS[source.type])
