"""The elastic transform against scipy's interpolation."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from gates.shifts.draws import draws_for
from gates.shifts.elastic import elastic_transform
from gates.shifts.shift import on_unit
from gates.shifts.tables import TABLES, Parameters
from tests.gates.shifts.injected import Injected

ROWS = sorted({row for table in TABLES.values() for row in table["elastic_transform"]})
SIZES = [(32, 32), (17, 26)]

Floats = NDArray[np.float64]


def noise(*shape: int) -> Floats:
    return np.random.default_rng(0).random(shape)


def drawn(n: int, size: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
    """The moves of the points, then the fields of both axes."""
    rng = np.random.default_rng(1)
    # The outermost tenths would fold a small image under the largest jitter of 224 pixels.
    return rng.uniform(0.4, 0.6, (n, 3, 2)), rng.random((n, *size)), rng.random((n, *size))


def mapped_back(moves: Floats, size: tuple[int, int]) -> Floats:
    """Where the pixels of the affine image [h w] come from: rows and columns [2 h w]."""
    middle, half = np.array([size[1] // 2, size[0] // 2]), min(size) // 3
    points = middle + half * np.array([(1, 1), (1, -1), (-1, -1)])
    places = points + moves
    homogeneous = np.column_stack([places, np.ones(3)])
    back = np.linalg.solve(homogeneous, points)
    rows, columns = np.indices(size)
    x, y = np.moveaxis(np.stack([columns, rows, np.ones(size)], axis=-1) @ back, -1, 0)
    return np.stack([y, x])


def displaced(numbers: tuple[Floats, Floats], factor: float, sigma: float) -> Floats:
    """Where the pixels of the displaced image [h w] come from: rows and columns [2 h w]."""
    columns, rows = (
        factor * ndimage.gaussian_filter(2.0 * field - 1.0, sigma, mode="reflect", truncate=3.0)
        for field in numbers
    )
    return np.stack([rows, columns]) + np.indices(columns.shape, dtype=np.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("parameters", ROWS)
def test_elastic_transform_is_an_affine_map_and_a_displacement(
    parameters: Parameters, size: tuple[int, int]
) -> None:
    images = noise(2, 3, *size)
    factor, sigma, jitter = parameters
    moves, *fields = drawn(2, size)
    result = elastic_transform(
        torch.from_numpy(images), parameters=parameters, draws=Injected(moves, *fields)
    )
    for index, image in enumerate(images):
        origin = mapped_back(jitter * (2.0 * moves[index] - 1.0), size)
        places = displaced((fields[0][index], fields[1][index]), factor, sigma)
        for plane, moved in zip(image, result[index], strict=True):
            affine = ndimage.map_coordinates(plane, origin, order=1, mode="mirror")
            expected = ndimage.map_coordinates(affine, places, order=1, mode="reflect")
            np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_the_points_go_where_they_are_drawn() -> None:
    """The first is the lower right one; each move is given across, then down."""
    image = np.zeros((1, 1, 24, 30))
    corners = [(20, 23), (4, 23), (4, 7)]
    for value, corner in enumerate(corners, start=1):
        image[0, 0, *corner] = value
    moves = np.array([[(2, 1), (-1, 0), (0, -3)]])
    result = elastic_transform(
        torch.from_numpy(image), parameters=(0.0, 0.0, 4.0), draws=Injected(moves / 8.0 + 0.5)
    )[0, 0]
    assert result[21, 25] == pytest.approx(1.0)
    assert result[4, 22] == pytest.approx(2.0)
    assert result[1, 7] == pytest.approx(3.0)


def test_no_displacement_needs_no_field() -> None:
    """The mildest row of CIFAR-10-C; its field has neither size nor smoothness."""
    draws = Injected(np.full((1, 3, 2), 0.5))
    image = torch.from_numpy(noise(1, 3, 32, 32))
    result = elastic_transform(image, parameters=(0.0, 0.0, 2.56), draws=draws)
    torch.testing.assert_close(result, image, atol=1e-12, rtol=0.0)
    assert draws.used_up()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_a_flat_image_stays_as_it_is(severity: int, table: str) -> None:
    flat = torch.arange(256, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    draws = draws_for(np.arange(256, dtype=np.uint64), shift="a", strength="1", seed=0)
    parameters = TABLES[table]["elastic_transform"][severity - 1]
    assert torch.equal(on_unit(elastic_transform)(flat, parameters=parameters, draws=draws), flat)


def test_threads_and_company_change_an_image_by_rounding_alone() -> None:
    images = torch.from_numpy(noise(24, 3, 32, 32))
    ids = np.arange(24, dtype=np.uint64)
    parameters = TABLES["cifar-10-c"]["elastic_transform"][2]

    def moved(part: slice) -> torch.Tensor:
        draws = draws_for(ids[part], shift="a", strength="1", seed=0)
        return elastic_transform(images[part], parameters=parameters, draws=draws)

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = torch.cat([moved(slice(index, index + 1)) for index in range(24)])
        torch.set_num_threads(2)
        together = moved(slice(None))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0.0)
