"""Spatter against its definition pixel by pixel, and against bytes that OpenCV made."""

import hashlib
import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from gates.shifts import drops
from gates.shifts.draws import draws_for
from gates.shifts.shift import on_unit
from gates.shifts.spatter import spatter, spatter_layer
from gates.shifts.tables import TABLES, Parameters
from tests.gates.shifts.injected import Injected

ROWS = sorted({row for table in TABLES.values() for row in table["spatter"]})
WATER = [row for row in ROWS if row[-1] == 0]
MUD = [row for row in ROWS if row[-1] == 1]
SIZE = (12, 17)


def normals(count: int = 1, size: tuple[int, int] = SIZE) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(count, *size))


def blotches(height: int, width: int) -> NDArray[np.uint8]:
    """A layer of bytes with drops of several sizes, the same with every numpy."""
    raw = np.random.Philox(key=height).random_raw(height * width).reshape(height, width)
    layer = (raw >> np.uint64(56)).astype(np.int64)
    for _, axis in itertools.product(range(3), (0, 1)):
        layer = (np.roll(layer, 1, axis) + 2 * layer + np.roll(layer, -1, axis)) // 4
    layer = 6 * layer - 628
    return np.where(layer < 160, 0, layer.clip(0, 255)).astype(np.uint8)


# ------------------------------------------------ the steps of OpenCV


# ``cv2.blur(cv2.filter2D(cv2.equalizeHist(...)))`` of ``blotches``, from OpenCV 5.0.
RELIEF_OF_8 = [
    [85, 85, 0, 0, 0, 0, 0, 0],
    [85, 85, 0, 0, 0, 0, 0, 0],
    [57, 57, 0, 0, 0, 0, 0, 0],
    [28, 28, 0, 0, 0, 28, 57, 85],
    [0, 0, 0, 0, 28, 85, 142, 170],
    [85, 57, 28, 0, 57, 142, 227, 255],
    [113, 85, 28, 0, 85, 170, 255, 255],
    [198, 142, 57, 0, 85, 170, 255, 255],
]
RELIEFS = {
    32: "6518f6b6ac3008b84ea46a90a2b53a7896dde12e9ca20df8bc4db32382bc1aec",
    64: "f5f4cf74c7c9dc338ba6084c2e916a975bb0dff61aa9bcc5c2a007892159786a",
}


def test_the_relief_is_opencvs_to_the_byte() -> None:
    assert drops.relief(blotches(8, 8)[None])[0].tolist() == RELIEF_OF_8
    for side, digest in RELIEFS.items():
        relief = drops.relief(blotches(side, side)[None])
        assert hashlib.sha256(relief.tobytes()).hexdigest() == digest


def test_a_layer_is_not_touched_by_those_beside_it() -> None:
    layers = np.stack([blotches(20, 30), np.zeros((20, 30), np.uint8), blotches(20, 30)[::-1]])
    together = drops.relief(layers)
    for layer, relief in zip(layers, together, strict=True):
        assert np.array_equal(drops.relief(layer[None])[0], relief)


def canny(layer: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Edges of one layer, pixel by pixel."""
    padded = np.pad(layer.astype(int), 1, mode="edge")
    height, width = layer.shape
    strength, slope = {}, {}
    for y, x in np.ndindex(layer.shape):
        (a, b, c), (d, _, e), (f, g, h) = padded[y : y + 3, x : x + 3].tolist()
        right, down = c + 2 * e + h - a - 2 * d - f, f + 2 * g + h - a - 2 * b - c
        strength[y, x] = abs(right) + abs(down)
        slope[y, x] = math.degrees(math.atan2(down, right)) % 180
    thin = set()
    for (y, x), here in strength.items():
        angle = slope[y, x]
        if angle < 22.5 or angle > 157.5:
            ahead, equal_counts = (0, 1), True
        elif 67.5 < angle < 112.5:
            ahead, equal_counts = (1, 0), True
        else:
            ahead, equal_counts = ((1, 1) if angle < 90 else (1, -1)), False
        before = strength.get((y - ahead[0], x - ahead[1]), 0)
        after = strength.get((y + ahead[0], x + ahead[1]), 0)
        if here > 50 and here > before and here >= after and (equal_counts or here > after):
            thin.add((y, x))
    seen, queue = set(), [pixel for pixel in thin if strength[pixel] > 150]
    while queue:
        y, x = queue.pop()
        if (y, x) in thin and (y, x) not in seen:
            seen.add((y, x))
            queue += [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return np.array([[(y, x) in seen for x in range(width)] for y in range(height)])


@pytest.mark.parametrize("size", [(8, 8), (20, 31), (40, 25)])
def test_edges_are_ridges_of_the_gradient_with_a_strong_pixel(size: tuple[int, int]) -> None:
    layers = np.stack([blotches(*size), blotches(*size[::-1]).T, 255 - blotches(*size)])
    for layer, edges in zip(layers, drops._edges(layers), strict=True):
        assert np.array_equal(edges, canny(layer))


@pytest.mark.parametrize("density", [0.0, 0.002, 0.02, 0.3])
def test_distances_are_of_the_shortest_way_by_steps_corners_and_knights_moves(
    density: float,
) -> None:
    edges = np.random.default_rng(0).random((3, 30, 45)) < density
    distances = drops._distances(edges)
    assert distances.dtype == np.float32
    for layer, found in zip(edges, distances, strict=True):
        sources = np.argwhere(layer)
        for pixel in np.ndindex(layer.shape):
            low, high = np.sort(np.abs(sources - pixel), axis=1).T
            lengths = np.where(
                high >= 2 * low,
                high - 2 * low + 2.1969 * low,
                2.1969 * (high - low) + 1.4 * (2 * low - high),
            )
            assert found[pixel] == pytest.approx(min([20.0, *lengths]), abs=1e-5)


def test_equalised_values_are_the_shares_of_brighter_pixels() -> None:
    layers = np.stack([blotches(9, 11) // 13, np.full((9, 11), 7, np.uint8)])
    bright, flat = drops._equalised(layers)
    assert (flat == 7).all()
    darkest = layers[0].min()
    rest = (layers[0] > darkest).sum()
    for value, result in zip(layers[0].flat, bright.flat, strict=True):
        share = ((layers[0] > darkest) & (layers[0] <= value)).sum() / rest
        assert result == pytest.approx(255 * share, abs=0.501)


def test_emboss_and_mean_are_rounded_correlations_with_a_mirrored_border() -> None:
    layers = blotches(9, 11)[None]
    weights = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    embossed = ndimage.correlate(layers[0].astype(int), weights, mode="mirror").clip(0, 255)
    assert np.array_equal(drops._embossed(layers)[0], embossed)
    mean = ndimage.correlate(layers[0].astype(float), np.full((3, 3), 1 / 9), mode="mirror")
    assert np.array_equal(drops._rounded_mean(layers)[0], np.rint(mean))


# ------------------------------------------------ layers


def blurred(plane: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """A plain correlation with a two-dimensional bell, the border repeated."""
    reach = int(4 * sigma + 0.5)
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    bell = np.outer(line, line)
    smooth: NDArray[np.float64] = ndimage.correlate(plane, bell / bell.sum(), mode="nearest")
    return smooth


@pytest.mark.parametrize("parameters", WATER)
def test_water_is_thickness_times_relief_up_to_its_strength(parameters: Parameters) -> None:
    mean, deviation, sigma, threshold, strength, _ = parameters
    # So that there are drops in so small a layer.
    numbers = normals(2) + 0.5
    layers = spatter_layer(Injected(numbers), size=SIZE, parameters=parameters)
    assert layers.dtype == torch.float32
    for plane, layer in zip(numbers, layers, strict=True):
        liquid = blurred(mean + deviation * plane, sigma)
        thickness = (255 * np.where(liquid < threshold, 0, liquid)).astype(int).astype(np.uint8)
        light = thickness * drops.relief(thickness[None])[0].astype(float)
        assert light.max() > 0
        np.testing.assert_allclose(layer, strength * light / light.max(), rtol=1e-6)


@pytest.mark.parametrize("parameters", MUD)
def test_mud_is_where_a_blurred_layer_is_nearly_all_wet(parameters: Parameters) -> None:
    mean, deviation, sigma, threshold, edge, _ = parameters
    numbers = normals(2) + 0.5
    layers = spatter_layer(Injected(numbers), size=SIZE, parameters=parameters)
    assert layers.dtype == torch.float32
    for plane, layer in zip(numbers, layers, strict=True):
        wet = blurred(mean + deviation * plane, sigma) > threshold
        cover = blurred(wet.astype(float), edge)
        assert (cover >= 0.8).any()
        np.testing.assert_allclose(layer, np.where(cover < 0.8, 0, cover), atol=1e-6)


@pytest.mark.parametrize("parameters", [WATER[0], MUD[0]])
def test_a_layer_without_drops_is_empty_and_leaves_the_image_alone(
    parameters: Parameters,
) -> None:
    """Where the generator divides by zero."""
    dry = np.full((1, *SIZE), -9.0)
    layer = spatter_layer(Injected(dry), size=SIZE, parameters=parameters)
    assert not layer.any()
    images = torch.arange(204, dtype=torch.uint8).reshape(1, 1, *SIZE)
    moved = on_unit(spatter)(images, parameters=parameters, draws=Injected(dry))
    assert torch.equal(moved, images)


def test_thickness_wraps_around_as_the_generators_bytes_do() -> None:
    still = (0.0, 1.0, 1e-20, 0.5, 1.0, 0.0)
    numbers = np.zeros((1, *SIZE))
    numbers[0, 3:9, 4:12] = 0.9
    numbers[0, 5:7, 6:9] = 257.5 / 255
    layer = spatter_layer(Injected(numbers), size=SIZE, parameters=still)[0].numpy()
    thickness = np.where(numbers[0] == 0.9, 229, np.where(numbers[0] > 0.9, 1, 0)).astype(np.uint8)
    light = thickness * drops.relief(thickness[None])[0].astype(float)
    np.testing.assert_allclose(layer, light / light.max(), rtol=1e-6)


# ------------------------------------------------ images


@pytest.mark.parametrize("parameters", [*WATER, *MUD])
def test_spatter_adds_the_light_of_water_and_covers_with_mud(parameters: Parameters) -> None:
    images = torch.from_numpy(np.random.default_rng(1).random((1, 3, *SIZE)))
    numbers = normals() + 0.5
    (layer,) = spatter_layer(Injected(numbers), size=SIZE, parameters=parameters).numpy()
    result = spatter(images, parameters=parameters, draws=Injected(numbers))
    colour = (63, 42, 20) if parameters[-1] else (175, 238, 238)
    for channel, before, after in zip(colour, images[0].numpy(), result[0], strict=True):
        kept = (1 - layer) * before if parameters[-1] else before
        np.testing.assert_allclose(after, kept + layer * channel / 255, atol=1e-7)


@pytest.mark.parametrize("parameters", [WATER[0], MUD[0]])
def test_grey_images_get_the_brightness_of_the_colour(parameters: Parameters) -> None:
    grey = torch.from_numpy(np.random.default_rng(1).random((1, 1, *SIZE)))

    def moved(images: Tensor) -> Tensor:
        return spatter(images, parameters=parameters, draws=Injected(normals() + 0.5))

    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).reshape(1, 3, 1, 1)
    bright = (weights * moved(grey.expand(1, 3, *SIZE))).sum(1, keepdim=True)
    np.testing.assert_allclose(moved(grey), bright, atol=1e-9)


def test_no_images_are_no_problem() -> None:
    nothing = torch.empty(0, 3, 8, 10, dtype=torch.float64)
    draws = draws_for(np.empty(0, dtype=np.uint64), shift="spatter", strength="1", seed=0)
    assert spatter(nothing, parameters=WATER[0], draws=draws).shape == nothing.shape
