"""Draws that are given instead of drawn, so that a test knows every number of a shift."""

from collections import deque

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gates.shifts.draws import Layer


class Injected:
    """Hands out the given numbers [n ...], one entry per call, in the order of the calls.

    A layer is made from them directly, without a bank.
    """

    def __init__(self, *numbers: ArrayLike) -> None:
        self._numbers = deque(np.asarray(entry) for entry in numbers)

    def normal(self, *shape: int) -> Tensor:
        return self._next(shape, torch.float64)

    def uniform(self, *shape: int) -> Tensor:
        return self._next(shape, torch.float64)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        numbers = self._next(shape, torch.int64)
        assert bool(((numbers >= low) & (numbers < high)).all()), f"not in [{low}, {high})"
        return numbers

    def layers(
        self, make: Layer, *, size: tuple[int, int], parameters: tuple[float, ...]
    ) -> Tensor:
        return make(self, size=size, parameters=parameters)

    def used_up(self) -> bool:
        """Whether every number was asked for."""
        return not self._numbers

    def _next(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        entry = self._numbers.popleft()
        assert entry.shape[1:] == shape, f"asked for [n *{shape}], given {entry.shape}"
        return torch.from_numpy(entry.copy()).to(dtype)
