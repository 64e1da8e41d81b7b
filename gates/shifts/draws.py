"""Random numbers that belong to an image, not to its place in a batch.

Every image has its own counter-based stream (Philox), keyed by what identifies the draw: seed,
shift, severity and image id. So batch size, order and threads cannot change what it sees, and
no draw is shared between two images, two shifts or two severities.

numpy keeps Philox stable between versions, but not how a normal is made from it (NEP 19): a
record that must be reproduced bit by bit names the numpy version.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Draws = Sequence[np.random.Generator]
"""One stream per image of a batch. Drawing advances it: the next draw is independent."""


def draws_for(
    ids: NDArray[np.uint64], *, shift: str, severity: int | None, seed: int
) -> tuple[np.random.Generator, ...]:
    """The streams of the images with these ids [n], each at its beginning."""
    return tuple(_stream(f"{seed}/{shift}/{severity}/{image}") for image in ids.tolist())


def normal(draws: Draws, like: Tensor) -> Tensor:
    """Standard normal numbers [n ...] with the shape, type and device of ``like``."""
    return _stacked([stream.standard_normal(like.shape[1:]) for stream in draws], like)


def uniform(draws: Draws, like: Tensor) -> Tensor:
    """Numbers from [0, 1), [n ...] with the shape, type and device of ``like``."""
    return _stacked([stream.random(like.shape[1:]) for stream in draws], like)


def _stream(key: str) -> np.random.Generator:
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def _stacked(arrays: list[NDArray[np.float64]], like: Tensor) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(like)
