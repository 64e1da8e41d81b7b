"""Zoom blur against scipy's zoom."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from gates.shifts.shift import on_unit
from gates.shifts.tables import TABLES, Parameters
from gates.shifts.zoom import zoom_blur, zoom_operator
from tests.gates.shifts.injected import Injected

ROWS = sorted({row for table in TABLES.values() for row in table["zoom_blur"]})
FACTORS = [1.0, 1.01, 1.06, 1.25, 1.3, 1.75, 2.0, 2.5, 3.0, 4.5]
NOTHING = Injected()


def noise(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random(shape))


def middle(side: int, kept: int) -> slice:
    return slice((side - kept) // 2, (side - kept) // 2 + kept)


def zoomed(plane: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """The middle of ``plane`` [h w], drawn out by scipy and trimmed."""
    crop = tuple(middle(side, math.ceil(side / factor)) for side in plane.shape)
    large = ndimage.zoom(plane[crop], factor, order=1)
    return large[tuple(middle(*sides) for sides in zip(large.shape, plane.shape, strict=True))]


@pytest.mark.parametrize("size", [(32, 32), (12, 17)])
@pytest.mark.parametrize("parameters", ROWS)
def test_zoom_blur_is_the_mean_of_the_image_and_its_zooms(
    parameters: Parameters, size: tuple[int, int]
) -> None:
    images = noise(2, 3, *size)
    result = zoom_blur(images, parameters=parameters, draws=NOTHING)
    factors = np.arange(1, *parameters)
    for plane, blurred in zip(images.flatten(0, 1), result.flatten(0, 1), strict=True):
        zooms = [zoomed(plane.numpy(), factor) for factor in factors]
        np.testing.assert_allclose(blurred, np.mean([plane.numpy(), *zooms], axis=0), atol=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (20, 29)])
@pytest.mark.parametrize("factor", FACTORS)
def test_zoom_operators_along_both_axes_are_scipys_zoom(
    factor: float, size: tuple[int, int]
) -> None:
    plane = noise(*size)
    along_columns, along_rows = (zoom_operator(side, factor) for side in size)
    expected = zoomed(plane.numpy(), factor)
    np.testing.assert_allclose(along_columns @ plane @ along_rows.T, expected, atol=1e-12)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("side", [8, 31, 32, 64, 96, 224, 225])
def test_a_zoom_invents_no_light(side: int, factor: float) -> None:
    operator = zoom_operator(side, factor)
    assert bool((operator >= 0.0).all())
    np.testing.assert_allclose(operator.sum(dim=1), 1.0, atol=1e-15)


def test_a_zoom_by_one_is_the_identity() -> None:
    assert torch.equal(zoom_operator(32, 1.0), torch.eye(32, dtype=torch.float64))


@pytest.mark.parametrize("parameters", ROWS)
def test_a_flat_image_stays_as_it_is(parameters: Parameters) -> None:
    flat = torch.arange(256, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    assert torch.equal(on_unit(zoom_blur)(flat, parameters=parameters, draws=NOTHING), flat)
