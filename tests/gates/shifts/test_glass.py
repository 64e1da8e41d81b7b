"""Glass blur against a loop that visits pixel after pixel."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from gates.shifts.draws import draws_for
from gates.shifts.glass import glass_blur, shuffle_map
from gates.shifts.tables import TABLES, Parameters
from tests.gates.shifts.injected import Injected

ROWS = sorted({row for table in TABLES.values() for row in table["glass_blur"]})
SIZE = (13, 17)


def steps(parameters: Parameters, *, n: int, size: tuple[int, int] = SIZE) -> NDArray[np.int64]:
    """Random steps in the order of the visits."""
    _, reach, iterations = (int(parameter) for parameter in parameters)
    inner = tuple(side - 2 * reach for side in size)
    rng = np.random.default_rng(0)
    return rng.integers(-reach, reach, (n, iterations, *inner, 2))


def visited(
    image: NDArray[np.uint8], steps: NDArray[np.int64], parameters: Parameters
) -> NDArray[np.uint8]:
    """``image`` [h w ...] after each inner pixel took another's value, the last pixel first."""
    _, reach, iterations = (int(parameter) for parameter in parameters)
    height, width = image.shape[:2]
    image, numbers = image.copy(), iter(steps.reshape(-1, 2).tolist())
    for _ in range(iterations):
        for y in range(height - reach, reach, -1):
            for x in range(width - reach, reach, -1):
                across, down = next(numbers)
                image[y, x] = image[y + down, x + across]
    assert next(numbers, None) is None
    return image


def soft(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    blurred = ndimage.gaussian_filter(
        image / 255.0, (sigma, sigma, 0), mode="nearest", truncate=4.0
    )
    return np.floor(255.0 * blurred + 1e-8).astype(np.uint8)


def maps(parameters: Parameters, *, size: tuple[int, int]) -> Tensor:
    """Eight maps as they are drawn."""
    draws = draws_for(np.arange(8, dtype=np.uint64), shift="glass_blur", strength="1", seed=0)
    return shuffle_map(draws, size=size, parameters=parameters)


@pytest.mark.parametrize("parameters", ROWS)
def test_the_map_is_where_the_visits_take_values_from(parameters: Parameters) -> None:
    numbers = steps(parameters, n=3)
    result = shuffle_map(Injected(numbers), size=SIZE, parameters=parameters)
    places = np.arange(SIZE[0] * SIZE[1]).astype(np.uint8).reshape(SIZE)
    assert result.dtype == torch.int32
    for given, drawn in zip(result.numpy(), numbers, strict=True):
        assert np.array_equal(given, visited(places, drawn, parameters))


@pytest.mark.parametrize("parameters", ROWS)
def test_glass_blur_shuffles_between_two_blurs(parameters: Parameters) -> None:
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 3, *SIZE), np.uint8))
    numbers = steps(parameters, n=2)
    result = glass_blur(images, parameters=parameters, draws=Injected(numbers))
    for image, blurred, drawn in zip(images, result, numbers, strict=True):
        shuffled = visited(soft(image.permute(1, 2, 0).numpy(), parameters[0]), drawn, parameters)
        assert np.array_equal(blurred.permute(1, 2, 0), soft(shuffled, parameters[0]))


def test_two_pixels_are_not_exchanged() -> None:
    """In a 4 x 4 image with reach 1 the inner pixels are rows and columns 2 and 3, visited back."""
    stay, left = (0, 0), (-1, 0)
    numbers = np.array([stay, left, stay, stay]).reshape(1, 1, 2, 2, 2)
    result = shuffle_map(Injected(numbers), size=(4, 4), parameters=(0.0, 1, 1))
    expected = torch.arange(16, dtype=torch.int32).reshape(4, 4)
    expected[3, 2] = expected[3, 1]
    assert torch.equal(result[0], expected)


def test_a_value_travels_along_a_chain_of_visits() -> None:
    """Where each pixel reads the one below, which was visited before, all hold the lowest value."""
    down = np.broadcast_to((0, 1), (1, 1, 6, 6, 2))
    result = shuffle_map(Injected(down), size=(10, 10), parameters=(0.0, 2, 1))[0]
    places = torch.arange(100, dtype=torch.int32).reshape(10, 10)
    assert torch.equal(result[3:9, 3:9], places[9, 3:9].expand(6, 6))
    assert torch.equal(result[:3], places[:3])
    assert torch.equal(result[9], places[9])
    assert torch.equal(result[:, :3], places[:, :3])
    assert torch.equal(result[:, 9], places[:, 9])


@pytest.mark.parametrize("parameters", ROWS)
def test_values_get_lost(parameters: Parameters) -> None:
    """Had values been exchanged, each would be there once."""
    for places in maps(parameters, size=(32, 32)):
        assert len(places.unique()) < 0.8 * 32 * 32


@pytest.mark.parametrize("parameters", ROWS)
def test_a_flat_image_stays_as_it_is(parameters: Parameters) -> None:
    flat = torch.arange(256, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, *SIZE)
    draws = draws_for(np.arange(256, dtype=np.uint64), shift="a", strength="1", seed=0)
    assert torch.equal(glass_blur(flat, parameters=parameters, draws=draws), flat)


def test_an_image_too_small_to_have_inner_pixels_is_blurred_alone() -> None:
    image = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (1, 1, 8, 8), np.uint8))
    nothing = np.empty((1, 2, 0, 0, 2), np.int64)
    result = glass_blur(image, parameters=(1.5, 4, 2), draws=Injected(nothing))
    assert np.array_equal(
        result[0, 0], soft(soft(image[0].permute(1, 2, 0).numpy(), 1.5), 1.5)[..., 0]
    )
