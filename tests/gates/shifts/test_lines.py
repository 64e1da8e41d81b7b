"""Maps of lines against the products of whole matrices."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gates.shifts.lines import LineMap

SIDES = [8, 31, 32, 33, 70]


def banded(side: int, *, reach: int) -> NDArray[np.float64]:
    """Numbers up to ``reach`` from the diagonal, zeros beyond."""
    offsets = np.arange(side)[:, None] - np.arange(side)
    numbers = np.random.default_rng(side).normal(size=(side, side))
    return np.where(np.abs(offsets) <= reach, numbers, 0.0)


@pytest.mark.parametrize("reach", [0, 3, 40, 100])
@pytest.mark.parametrize("side", SIDES)
def test_a_line_map_is_its_matrix_along_either_axis(side: int, reach: int) -> None:
    matrix = banded(side, reach=reach)
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, side, 9)))
    expected = torch.from_numpy(matrix) @ images
    lines = LineMap(matrix)
    np.testing.assert_allclose(lines.on_columns(images), expected, atol=1e-12)
    np.testing.assert_allclose(lines.on_rows(images.mT), expected.mT, atol=1e-12)


def test_no_images_are_no_problem_and_given_ones_are_left_alone() -> None:
    lines = LineMap(banded(8, reach=2))
    assert lines.on_columns(torch.zeros(0, 1, 8, 9, dtype=torch.float64)).shape == (0, 1, 8, 9)
    images = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    lines.on_rows(lines.on_columns(images))
    assert bool((images == 1.0).all())
