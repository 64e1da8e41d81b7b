"""Snow against scipy's zoom, a loop over pixels and Pillow's grey."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from gates.shifts.draws import draws_for
from gates.shifts.shift import on_unit
from gates.shifts.snow import snow, snow_layer
from gates.shifts.tables import TABLES, Parameters
from tests.gates.shifts.injected import Injected

ROWS = sorted({row for table in TABLES.values() for row in table["snow"]})
SIZES = [(9, 14), (32, 32)]


def normals(count: int, size: tuple[int, int]) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(count, *size))


def middle(side: int, kept: int) -> slice:
    return slice((side - kept) // 2, (side - kept) // 2 + kept)


def flakes(
    numbers: NDArray[np.float64], parameters: Parameters, degrees: float
) -> NDArray[np.uint8]:
    """One layer [h w], from its normal numbers."""
    mean, deviation, factor, threshold, radius, sigma, _ = parameters
    noise = mean + deviation * numbers
    crop = tuple(middle(side, math.ceil(side / factor)) for side in noise.shape)
    large = ndimage.zoom(noise[crop], factor, order=1)
    layer = large[tuple(middle(*sides) for sides in zip(large.shape, noise.shape, strict=True))]
    still = (255 * np.where(layer < threshold, 0, layer).clip(0, 1)).astype(np.uint8)
    steps = np.arange(2 * int(radius) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    blown = np.zeros(still.shape)
    height, width = still.shape
    for y, x in np.ndindex(still.shape):
        for step, weight in zip(steps.tolist(), weights / weights.sum(), strict=True):
            down = math.ceil(step * math.sin(math.radians(degrees)) - 0.5)
            across = math.ceil(step * math.cos(math.radians(degrees)) - 0.5)
            row, column = min(max(y + down, 0), height - 1), min(max(x + across, 0), width - 1)
            blown[y, x] += weight * still[row, column]
    return np.floor(blown + 1e-9).astype(np.uint8)  # ImageMagick cuts off


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("parameters", ROWS[::2])
def test_a_layer_is_zoomed_noise_cut_off_below_and_blown(
    parameters: Parameters, size: tuple[int, int]
) -> None:
    numbers = normals(2, size)
    draws = Injected(numbers, [0.1, 0.8])
    layer = snow_layer(draws, size=size, parameters=parameters)
    assert draws.used_up()
    assert layer.dtype == torch.uint8
    for index, angle in enumerate((-126.0, -63.0)):
        assert np.array_equal(layer[index], flakes(numbers[index], parameters, angle))


@pytest.mark.parametrize("parameters", ROWS)
def test_snow_whitens_and_adds_the_flakes_upright_and_turned(parameters: Parameters) -> None:
    pixels = np.random.default_rng(1).random((1, 3, 9, 14))
    numbers = normals(1, (9, 14))
    layer = snow_layer(Injected(numbers, [0.3]), size=(9, 14), parameters=parameters)[0].numpy()
    result = snow(torch.from_numpy(pixels), parameters=parameters, draws=Injected(numbers, [0.3]))
    kept = parameters[-1]
    for y, x in np.ndindex(9, 14):
        red, green, blue = pixels[0, :, y, x]
        white = 1.5 * (0.299 * red + 0.587 * green + 0.114 * blue) + 0.5
        fallen = (int(layer[y, x]) + int(layer[8 - y, 13 - x])) / 255
        for channel, value in enumerate((red, green, blue)):
            expected = kept * value + (1 - kept) * max(value, white) + fallen
            assert result[0, channel, y, x].item() == pytest.approx(expected, abs=1e-12)


def test_whitening_uses_the_brightness_that_pillow_has_too() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 255.0)
    calm = (-9.0, 0.1, 1.0, 0.5, 8.0, 3.0, 0.0)
    result = snow(images, parameters=calm, draws=Injected(normals(1, (9, 14)), [0.5]))
    grey = np.asarray(Image.fromarray(pixels).convert("L")) / 255.0
    lifted = torch.maximum(images[0], torch.from_numpy(1.5 * grey + 0.5))
    np.testing.assert_allclose(result[0], lifted, atol=1.5 * 0.51 / 255)


def test_a_grey_image_is_its_own_brightness() -> None:
    grey = torch.from_numpy(np.random.default_rng(3).random((1, 1, 9, 14)))
    one, three = (
        snow(images, parameters=ROWS[0], draws=Injected(normals(1, (9, 14)), [0.5]))
        for images in (grey, grey.expand(1, 3, 9, 14))
    )
    np.testing.assert_allclose(one.expand(1, 3, 9, 14), three, atol=1e-12)


def test_flakes_fall_downwards() -> None:
    """The wind of -90 degrees looks up: what is there comes down."""
    numbers = np.full((1, 15, 9), -9.0)
    numbers[0, 5, 4] = 9.0
    layer = snow_layer(
        Injected(numbers, [0.5]), size=(15, 9), parameters=(0.0, 1.0, 1.0, 0.5, 2, 1.0, 1.0)
    )[0]
    assert layer.nonzero().tolist() == [[5, 4], [6, 4], [7, 4], [8, 4]]
    assert layer[5:9, 4].tolist() == sorted(layer[5:9, 4].tolist(), reverse=True)


def test_no_images_are_no_problem_and_bright_ones_stay_bytes() -> None:
    none = np.empty(0, dtype=np.uint64)
    nothing = torch.empty(0, 3, 8, 10, dtype=torch.uint8)
    draws = draws_for(none, shift="snow", strength="1", seed=0)
    assert on_unit(snow)(nothing, parameters=ROWS[0], draws=draws).shape == nothing.shape
    white = torch.full((1, 1, 8, 10), 255, dtype=torch.uint8)
    draws = draws_for(np.ones(1, dtype=np.uint64), shift="snow", strength="1", seed=0)
    assert torch.equal(on_unit(snow)(white, parameters=ROWS[0], draws=draws), white)


def test_draws_are_the_banks() -> None:
    images: Tensor = torch.zeros(3, 1, 8, 10, dtype=torch.uint8)
    ids = np.array([5, 6, 5], dtype=np.uint64)
    draws = draws_for(ids, shift="snow", strength="3", seed=0)
    first, second, again = on_unit(snow)(images, parameters=ROWS[-1], draws=draws)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
