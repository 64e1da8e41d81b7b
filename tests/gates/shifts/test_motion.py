"""Motion blur against a loop over pixels and steps."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gates.shifts.draws import draws_for
from gates.shifts.motion import motion_blur, streaked
from gates.shifts.shift import on_unit
from gates.shifts.tables import TABLES, Parameters
from tests.gates.shifts.injected import Injected

ROWS = sorted({row for table in TABLES.values() for row in table["motion_blur"]})


def noise(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random(shape))


def walked(
    image: NDArray[np.float64], parameters: Parameters, degrees: float
) -> NDArray[np.float64]:
    """The mean over the steps of a walk from each pixel of ``image`` [c h w]."""
    radius, sigma = parameters
    steps = range(2 * int(radius) + 1)
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in steps]
    result = np.zeros_like(image)
    last = np.array(image.shape[1:]) - 1
    slope = math.radians(degrees)
    for y, x in np.ndindex(image.shape[1:]):
        for step, weight in zip(steps, weights, strict=True):
            # Half a pixel is rounded towards the start of the walk.
            down = math.ceil(step * math.sin(slope) - 0.5)
            across = math.ceil(step * math.cos(slope) - 0.5)
            row, column = np.clip((y + down, x + across), 0, last)
            result[:, y, x] += weight / sum(weights) * image[:, row, column]
    return result


@pytest.mark.parametrize("parameters", ROWS)
def test_motion_blur_is_a_weighted_walk_from_each_pixel(parameters: Parameters) -> None:
    images = noise(3, 2, 9, 14)
    uniform = np.array([0.02, 0.41, 0.93])
    result = motion_blur(images, parameters=parameters, draws=Injected(uniform))
    for image, moved, number in zip(images.numpy(), result.numpy(), uniform, strict=True):
        expected = walked(image, parameters, 90 * number - 45)
        np.testing.assert_allclose(moved, expected, atol=1e-12)


@pytest.mark.parametrize("degrees", [-135.0, -90.0, -62.0, 29.0, 180.0])
def test_streaks_may_go_any_way(degrees: float) -> None:
    images = noise(1, 1, 8, 8)
    result = streaked(images, radius=4, sigma=2.0, angles=torch.tensor([degrees]))
    np.testing.assert_allclose(result[0], walked(images[0].numpy(), (4, 2.0), degrees), atol=1e-12)


def test_a_point_is_drawn_out_to_the_left_at_no_slope() -> None:
    """Each pixel looks to its right, so that what is there comes to it."""
    point = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    point[..., 4, 4] = 1.0
    streak = streaked(point, radius=1, sigma=1.0, angles=torch.zeros(1))[0, 0]
    assert streak[4, 4] > streak[4, 3] > streak[4, 2] > 0.0
    assert streak.sum() == pytest.approx(1.0)
    assert streak[4, 2:5].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_a_flat_image_stays_as_it_is_even_where_the_walk_leaves_it(
    severity: int, table: str
) -> None:
    flat = torch.arange(256, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    ids = np.arange(256, dtype=np.uint64)
    draws = draws_for(ids, shift="motion_blur", strength=str(severity), seed=0)
    parameters = TABLES[table]["motion_blur"][severity - 1]
    assert torch.equal(on_unit(motion_blur)(flat, parameters=parameters, draws=draws), flat)


def test_angles_reach_45_degrees_to_both_sides() -> None:
    images = noise(2, 1, 8, 8)
    by_number = motion_blur(images, parameters=(3, 1.0), draws=Injected(np.array([0.0, 0.5])))
    by_angle = streaked(images, radius=3, sigma=1.0, angles=torch.tensor([-45.0, 0.0]))
    assert torch.equal(by_number, by_angle)
