"""Linear maps of the lines of an image: one matrix for its columns and one for its rows."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BLOCK: Final = 32
"""Lines that are made at a time. Fewer would skip more zeros, in products too small to be fast."""

Block = tuple[slice, slice, NDArray[np.float64]]
"""The lines that are made, those that they are made from, and the matrix between them."""


class LineMap:
    """A matrix [side side] of which only the part around its diagonal may differ from zero.

    A blur reaches a few pixels far. To multiply block by block what is not zero takes, for 224
    pixels, a third of the time of the whole matrix (EPYC, one thread).
    """

    def __init__(self, matrix: NDArray[np.float64]) -> None:
        self._blocks: Sequence[Block] = [
            _block(matrix, start) for start in range(0, len(matrix), _BLOCK)
        ]
        self._matrix = torch.from_numpy(matrix)

    def on_columns(self, images: Tensor) -> Tensor:
        """The matrix times each image [... side w]."""
        if images.device.type != "cpu":
            return self._matrix.to(images) @ images
        # numpy's products of matrices this small are two to four times as fast as torch's.
        lines = images.numpy()
        result = np.empty_like(lines)
        for made, used, part in self._blocks:
            np.matmul(part, lines[..., used, :], out=result[..., made, :])
        return torch.from_numpy(result)

    def on_rows(self, images: Tensor) -> Tensor:
        """Each image [... h side] times the matrix's transpose."""
        if images.device.type != "cpu":
            return images @ self._matrix.to(images).T
        lines = images.numpy()
        result = np.empty_like(lines)
        for made, used, part in self._blocks:
            np.matmul(lines[..., used], part.T, out=result[..., made])
        return torch.from_numpy(result)


def _block(matrix: NDArray[np.float64], start: int) -> Block:
    made = slice(start, min(start + _BLOCK, len(matrix)))
    columns = np.flatnonzero(matrix[made].any(axis=0))
    used = slice(int(columns[0]), int(columns[-1]) + 1)
    return made, used, np.ascontiguousarray(matrix[made, used])
