"""Fog against diamonds and squares point by point."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gates.shifts.draws import draws_for
from gates.shifts.fog import fog, plasma
from gates.shifts.shift import on_unit
from gates.shifts.tables import TABLES, Parameters
from tests.gates.shifts.injected import Injected

ROWS = sorted({row for table in TABLES.values() for row in table["fog"]})


def noise(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random(shape))


def uniforms(count: int, *, side: int) -> list[NDArray[np.float64]]:
    """What ``count`` maps of this side draw, call by call: [n k k], three times for each k."""
    rng = np.random.default_rng(1)
    cells = [2**power for power in range(side.bit_length() - 1)]
    return [rng.random((count, k, k)) for k in cells for _ in range(3)]


def landscape(
    numbers: list[NDArray[np.float64]], *, side: int, decay: float
) -> NDArray[np.float64]:
    """One map [side side]: the middle of each square first, then the middles of its edges."""
    heights = np.zeros((side, side))
    queue = iter(numbers)
    step, wibble = side, 100.0
    while step > 1:
        half = step // 2
        for down, right in ((half, half), (0, half), (half, 0)):
            # A square's middle has its neighbours at the corners, an edge's middle in a cross.
            arms = [(0, 1), (0, -1), (1, 0), (-1, 0)]
            if down == right:
                arms = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
            for (row, column), number in np.ndenumerate(next(queue)):
                y, x = row * step + down, column * step + right
                near = [heights[(y + half * i) % side, (x + half * j) % side] for i, j in arms]
                heights[y, x] = np.mean(near) + wibble * (2 * wibble * number - wibble)
        step, wibble = half, wibble / decay
    spanned: NDArray[np.float64] = (heights - heights.min()) / np.ptp(heights)
    return spanned


@pytest.mark.parametrize(("size", "side"), [((8, 8), 8), ((12, 9), 16), ((9, 17), 32)])
@pytest.mark.parametrize("decay", sorted({decay for _, decay in ROWS}))
def test_plasma_is_a_part_of_a_landscape_of_diamonds_and_squares(
    decay: float, size: tuple[int, int], side: int
) -> None:
    numbers = uniforms(2, side=side)
    draws = Injected(*numbers)
    haze = plasma(draws, size=size, parameters=(1.0, decay))
    assert draws.used_up()
    assert haze.dtype == torch.float32
    for index in range(2):
        expected = landscape([entry[index] for entry in numbers], side=side, decay=decay)
        part = expected[: size[0], : size[1]]
        np.testing.assert_allclose(haze[index].numpy(), part, atol=1e-6)


def test_a_whole_map_spans_zero_to_one() -> None:
    draws = draws_for(np.arange(5, dtype=np.uint64), shift="fog", strength="3", seed=0)
    haze = plasma(draws, size=(32, 32), parameters=(1.0, 2.5))
    assert haze.amin(dim=(1, 2)).tolist() == [0.0] * 5
    assert haze.amax(dim=(1, 2)).tolist() == [1.0] * 5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("parameters", ROWS)
def test_fog_adds_the_haze_and_darkens_each_image_for_its_own_brightest_value(
    parameters: Parameters, channels: int
) -> None:
    images = noise(2, channels, 12, 9) * torch.tensor([1.0, 0.4]).reshape(2, 1, 1, 1)
    numbers = uniforms(2, side=16)
    haze = plasma(Injected(*numbers), size=(12, 9), parameters=parameters).numpy()
    result = fog(images, parameters=parameters, draws=Injected(*numbers))
    strength, _ = parameters
    for image, layer, moved in zip(images.numpy(), haze, result.numpy(), strict=True):
        brightest = image.max()
        expected = (image + strength * layer) * brightest / (brightest + strength)
        np.testing.assert_allclose(moved, expected, atol=1e-7)
        assert moved.max() <= brightest + 1e-12


def test_a_black_image_has_no_light_for_fog() -> None:
    black = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    draws = Injected(*uniforms(1, side=8))
    assert torch.equal(on_unit(fog)(black, parameters=(1.5, 2.0), draws=draws), black)


def test_no_images_are_no_problem() -> None:
    draws = draws_for(np.empty(0, dtype=np.uint64), shift="fog", strength="1", seed=0)
    nothing = torch.empty(0, 3, 8, 10, dtype=torch.float64)
    assert fog(nothing, parameters=ROWS[0], draws=draws).shape == nothing.shape
