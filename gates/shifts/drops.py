"""How light falls through a layer of water: a relief from the edges of its drops.

Every step is one of OpenCV's on bytes, computed for many layers at a time: Canny's edges
(``Canny``), the distance to them (``distanceTransform`` with its 5 x 5 mask), a mean, a histogram's
equalisation, an emboss, a mean. Roundings and borders are OpenCV's too, since a byte more in one
step is another drop after the next.
"""

from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_Number = TypeVar("_Number", np.int32, np.float64)

Bytes = NDArray[np.uint8]
"""Layers [n h w]."""

Flags = NDArray[np.bool_]
"""The same size."""

Whole = NDArray[np.int32]
"""The same size."""

Singles = NDArray[np.float32]
"""The same size; or layers last, [h w n] or a line [w n]."""

# An edge is made of gradients above the first, at least one of which is above the second.
_WEAK: Final = 50
_STRONG: Final = 150

# tan(22.5 degrees), which tells level gradients from slanted ones; tan(67.5 degrees) is 2 more.
_FRACTION_BITS: Final = 15
_TANGENT: Final = 13573

# Lengths, in pixels, of the chamfer distance's steps: to a neighbour, to a corner, a knight's move.
# Borgefors 1986 (doi:10.1016/S0734-189X(86)80047-0), with OpenCV's numbers.
_STEP: Final = np.float32(1.0)
_CORNER: Final = np.float32(1.4)
_KNIGHT: Final = np.float32(2.1969)

_FARTHEST: Final = np.float32(20.0)
"""Where the generator cuts distances off, in pixels."""

_EMBOSS: Final = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))

_NEIGHBOURS_IN_A_LAYER: Final = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


def relief(liquid: Bytes) -> Bytes:
    """How bright each pixel of the layers [n h w] is, as the generator of spatter has it."""
    distance = _distances(_edges(liquid)).astype(np.float64)
    near = (_box_sum(distance) * (1.0 / 9.0)).astype(np.float32)
    return _rounded_mean(_embossed(_equalised(near.astype(np.uint8))))


def _edges(layers: Bytes) -> Flags:
    """OpenCV's ``Canny(layer, 50, 150)``: ridges of the gradient, linked by hysteresis."""
    gradient_y, gradient_x = _gradients(layers)
    strength = np.abs(gradient_y) + np.abs(gradient_x)
    candidates = _is_ridge(strength, gradient_y, gradient_x) & (strength > _WEAK)
    numbered: Any = ndimage.label(candidates, structure=_NEIGHBOURS_IN_A_LAYER)
    labels, count = numbered
    kept = np.zeros(count + 1, dtype=np.bool_)
    kept[labels[candidates & (strength > _STRONG)]] = True
    edges: Flags = kept[labels]
    return edges


def _gradients(layers: Bytes) -> tuple[Whole, Whole]:
    """Sobel's derivatives downwards and to the right, the border repeated outwards."""
    framed = np.pad(layers.astype(np.int32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    downwards = framed[:, 2:] - framed[:, :-2]
    rightwards = framed[:, :, 2:] - framed[:, :, :-2]
    return (
        downwards[:, :, :-2] + 2 * downwards[:, :, 1:-1] + downwards[:, :, 2:],
        rightwards[:, :-2] + 2 * rightwards[:, 1:-1] + rightwards[:, 2:],
    )


def _is_ridge(strength: Whole, gradient_y: Whole, gradient_x: Whole) -> Flags:
    """Whether the gradient is greatest along its direction, of which there are four.

    Of two equals the first counts, except along the diagonals. Beyond the border there is nothing.
    """
    framed = np.pad(strength, ((0, 0), (1, 1), (1, 1)))

    def neighbour(down: int, right: int) -> Whole:
        height, width = strength.shape[1:]
        return framed[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    steep = np.abs(gradient_y) << _FRACTION_BITS
    low = np.abs(gradient_x) * _TANGENT
    high = low + (np.abs(gradient_x) << (_FRACTION_BITS + 1))
    level = (strength > neighbour(0, -1)) & (strength >= neighbour(0, 1))
    upright = (strength > neighbour(-1, 0)) & (strength >= neighbour(1, 0))
    falling = (strength > neighbour(-1, -1)) & (strength > neighbour(1, 1))
    rising = (strength > neighbour(-1, 1)) & (strength > neighbour(1, -1))
    slanted = np.where((gradient_x < 0) == (gradient_y < 0), falling, rising)
    return np.where(steep < low, level, np.where(steep > high, upright, slanted))


def _distances(edges: Flags) -> Singles:
    """Chamfer distance to the nearest edge of the layer, in pixels, 20 at most.

    Added up in float32 in two sweeps, pixel by pixel, as OpenCV's builds for x86 do: a last digit
    more or less is another byte where a mean is close to a whole number, which is often.
    """
    # Layers last: all of them take a step at once, on numbers that lie side by side.
    start = np.where(edges, np.float32(0.0), _FARTHEST).transpose(1, 2, 0)
    swept = _swept_down(start)
    return _swept_down(swept[::-1, ::-1])[::-1, ::-1].transpose(2, 0, 1)


def _swept_down(start: Singles) -> Singles:
    """Distances [h w n] by ways that lead down, or to the right, from where they start."""
    height, width, count = start.shape
    swept = np.full((height + 2, width + 4, count), _FARTHEST)
    for row in range(height):
        above, higher = swept[row + 1], swept[row]
        by_knight = np.minimum(above[:-4], above[4:])
        np.minimum(by_knight, higher[1:-3], out=by_knight)
        np.minimum(by_knight, higher[3:-1], out=by_knight)
        by_corner = np.minimum(above[1:-3], above[3:-1])
        best = np.minimum(start[row], above[2:-2] + _STEP)
        np.minimum(best, by_corner + _CORNER, out=best)
        np.minimum(best, by_knight + _KNIGHT, out=best)
        swept[row + 2, 2:-2] = _swept_right(best)
    return swept[2:, 2:-2]


def _swept_right(line: Singles) -> Singles:
    """The line [w n], where a pixel costs at most a step more than the one on its left.

    At most 20 rounds, since no distance is greater. Each step is rounded on its own; a cumulative
    minimum would round only once.
    """
    while True:
        stepped = np.minimum(line[1:], line[:-1] + _STEP)
        if (stepped == line[1:]).all():
            return line
        line[1:] = stepped


def _equalised(layers: Bytes) -> Bytes:
    """Spread the values of each layer over all bytes, by rank; a flat layer stays as it is."""
    count, height, width = layers.shape
    pixels = height * width
    own_values = 256 * np.arange(count)[:, None, None] + layers
    histograms = np.bincount(own_values.ravel(), minlength=256 * count).reshape(count, 256)
    darkest = (histograms > 0).argmax(axis=1)[:, None]
    in_darkest = np.take_along_axis(histograms, darkest, axis=1)
    brighter = np.maximum(pixels - in_darkest, 1).astype(np.float32)
    ranks = (histograms.cumsum(axis=1) - in_darkest).astype(np.float32)
    spread = np.rint(ranks * (np.float32(255.0) / brighter))
    table = np.where(in_darkest == pixels, darkest, spread).astype(np.uint8)
    equalised: Bytes = table.ravel()[own_values]
    return equalised


def _embossed(layers: Bytes) -> Bytes:
    """Brighter where it rises to the lower right, cut off at black and white."""
    height, width = layers.shape[1:]
    framed = _framed(layers.astype(np.int32))
    total = np.zeros(layers.shape, dtype=np.int32)
    for down, weights in enumerate(_EMBOSS):
        for right, weight in enumerate(weights):
            total += weight * framed[:, down : down + height, right : right + width]
    return total.clip(0, 255).astype(np.uint8)


def _rounded_mean(layers: Bytes) -> Bytes:
    """The mean of 3 x 3 pixels; a ninth is never half way between two bytes."""
    return ((_box_sum(layers.astype(np.int32)) + 4) // 9).astype(np.uint8)


def _box_sum(layers: NDArray[_Number]) -> NDArray[_Number]:
    """The sum of 3 x 3 pixels."""
    framed = _framed(layers)
    rows: NDArray[_Number] = framed[:, :-2] + framed[:, 1:-1] + framed[:, 2:]
    total: NDArray[_Number] = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    return total


def _framed(layers: NDArray[_Number]) -> NDArray[_Number]:
    """The layers with one more pixel on each side, mirrored without repeating the edge."""
    return np.pad(layers, ((0, 0), (1, 1), (1, 1)), mode="reflect")
