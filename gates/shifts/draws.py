"""Random numbers that belong to an image, not to its place in a batch.

Every draw has a counter-based stream of its own (Philox), keyed by what identifies it: seed, shift,
severity, image id, number of the draw and, within the shift, number of the call. So batch size,
order, device and threads cannot change what an image sees, and no number serves twice.

Where a draw is dear (a plasma of fog, a layer of snow) a *bank* of ``BANK_SIZE`` of them is drawn
once, from the same seed, and an image takes the one that its key points to. The distribution is
then defined with the bank: given the bank, its images are still independent of each other.

numpy keeps Philox stable between versions, but not how a normal is made from it (NEP 19): a record
that must be reproduced bit by bit names the numpy version.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BANK_SIZE: Final = 256
"""Layers in a bank. Part of what a banked shift means: another number is another distribution."""

_BANKS_KEPT: Final = 12
"""Enough for three severities of four banked shifts; at 224 pixels a bank weighs 13 to 51 MB."""

_BANK_CHUNK: Final = 16
"""Layers drawn at a time, so that making them needs little more memory than keeping them."""


Numbers = NDArray[Any]
"""The numbers of one image [k], to be filled."""


class Draws(Protocol):
    """All randomness of a shift: one stream per image of the batch, n images in all.

    Each call draws anew. Tensors are float64 or int64 and lie on the CPU: a device computes with
    the numbers of the CPU, so that it can differ only in rounding.
    """

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers [n *shape]."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from [0, 1), [n *shape]."""
        ...

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high - 1, [n *shape]."""
        ...

    def layers(
        self, make: "Layer", *, size: tuple[int, int], parameters: tuple[float, ...]
    ) -> Tensor:
        """One of the bank's layers for each image, [n ...]."""
        ...


class Layer(Protocol):
    """What a bank is made of: draws for n layers in, n layers [n ...] for ``size`` (h, w) out."""

    def __call__(
        self, draws: Draws, *, size: tuple[int, int], parameters: tuple[float, ...]
    ) -> Tensor: ...

    def __hash__(self) -> int: ...


def draws_for(
    ids: NDArray[np.uint64], *, shift: str, strength: str, seed: int, draw: int = 0
) -> Draws:
    """The draws of the images with these ids [n], each stream at its beginning.

    ``strength`` is the severity, or whatever else says how strong the shift is.
    """
    return _Streams(f"{seed}/{shift}/{strength}", [f"{image}/{draw}" for image in ids.tolist()])


class _Streams:
    def __init__(self, purpose: str, names: Sequence[str]) -> None:
        self._purpose = purpose
        self._keys = [_key(f"{purpose}/{name}") for name in names]
        self._calls = 0
        self._philox = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._philox)
        self._state: Any = self._philox.state

    def normal(self, *shape: int) -> Tensor:
        return self._filled(shape, lambda rng, out: rng.standard_normal(out=out))

    def uniform(self, *shape: int) -> Tensor:
        return self._filled(shape, lambda rng, out: rng.random(out=out))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        def fill(rng: np.random.Generator, out: Numbers) -> None:
            out[:] = rng.integers(low, high, size=len(out))

        return self._filled(shape, fill, dtype=np.int64)

    def layers(
        self, make: Layer, *, size: tuple[int, int], parameters: tuple[float, ...]
    ) -> Tensor:
        def made(numbers: Sequence[int]) -> Tensor:
            streams = _Streams(self._purpose, [f"bank/{number}" for number in numbers])
            return make(streams, size=size, parameters=parameters)

        chosen = [low % BANK_SIZE for low, _ in self._keys]
        if not chosen:
            return made(())  # none, but of the right shape and type
        bank = _bank(make, self._purpose, size, parameters)
        missing = sorted(set(chosen) - bank.keys())
        for start in range(0, len(missing), _BANK_CHUNK):
            part = missing[start : start + _BANK_CHUNK]
            bank.update(zip(part, made(part), strict=True))
        return torch.stack([bank[number] for number in chosen])

    def _filled(
        self,
        shape: tuple[int, ...],
        fill: Callable[[np.random.Generator, Numbers], object],
        *,
        dtype: type[np.float64 | np.int64] = np.float64,
    ) -> Tensor:
        """Numbers [n *shape], image by image from the streams of this call."""
        numbers = np.empty((len(self._keys), math.prod(shape)), dtype=dtype)
        self._calls += 1
        for key, own in zip(self._keys, numbers, strict=True):
            fill(self._rewound(key), own)
        return torch.from_numpy(numbers.reshape(len(self._keys), *shape))

    def _rewound(self, key: tuple[int, int]) -> np.random.Generator:
        """The generator at the beginning of the stream of ``key`` and this call.

        To set the state of one generator takes a sixth of the time of making a new one.
        """
        state = self._state
        state["state"]["key"][:] = key
        # The low words count the numbers of a stream; the highest one tells the calls apart.
        state["state"]["counter"][:] = (0, 0, 0, self._calls)
        state["buffer_pos"], state["has_uint32"] = len(state["buffer"]), 0
        self._philox.state = state
        return self._generator


def _key(name: str) -> tuple[int, int]:
    """The two words of Philox's key."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


@lru_cache(maxsize=_BANKS_KEPT)
def _bank(
    make: Layer, purpose: str, size: tuple[int, int], parameters: tuple[float, ...]
) -> dict[int, Tensor]:
    """The layers made so far of one bank, by their numbers: it fills as images ask for them."""
    del make, purpose, size, parameters
    return {}
