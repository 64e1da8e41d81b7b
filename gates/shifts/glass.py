"""Blur of frosted glass: pixels change places with near ones between two soft blurs.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``.
"""

from typing import Final

import torch
from torch import Tensor

from gates.shifts.blur import gaussian_blur
from gates.shifts.draws import Draws
from gates.shifts.shift import OnBytes, on_unit
from gates.shifts.tables import Parameters

_softened: Final[OnBytes] = on_unit(gaussian_blur)


def glass_blur(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Blur the bytes, shuffle them locally, blur them again.

    Parameters: standard deviation of both blurs, reach of the shuffle (both in pixels), and how
    often it is done.
    """
    sigma, _, _ = parameters
    size = (images.shape[-2], images.shape[-1])
    sources = draws.layers(shuffle_map, size=size, parameters=parameters)
    index = sources.to(images.device, torch.int64).flatten(1)[:, None].expand(*images.shape[:2], -1)
    soft = _softened(images, parameters=(sigma,), draws=draws)
    shuffled = soft.flatten(2).gather(2, index).reshape(images.shape)
    return _softened(shuffled, parameters=(sigma,), draws=draws)


def shuffle_map(draws: Draws, *, size: tuple[int, int], parameters: Parameters) -> Tensor:
    """For every pixel the one whose value it takes, as int32 indices [n h w] of the flat image.

    The parameters are those of ``glass_blur``. Pixels further than the reach from the border are
    visited from the last to the first; each takes the value that a random near one has by then.
    The generator's code reads like an exchange of two values, but its operands are views of one
    array, so that nothing goes the other way: values get lost, as in the published files.
    """
    _, reach, iterations = (int(parameter) for parameter in parameters)
    height, width = size
    inner = (height - 2 * reach, width - 2 * reach)
    # The last axis is the step across, then the one down. Numbers come in the order of visits.
    steps = draws.integers(-reach, reach, iterations, *inner, 2).flip(2, 3)
    moves = steps[..., 1] * width + steps[..., 0]
    sources = torch.arange(len(moves) * height * width)
    for move in moves.unbind(1):
        sources = sources[_one_pass(move, size=size, reach=reach)]
    local = sources.remainder(height * width).to(torch.int32)
    return local.reshape(len(moves), height, width)


def _one_pass(moves: Tensor, *, size: tuple[int, int], reach: int) -> Tensor:
    """Where the value of each pixel of n images comes from in one pass, as indices [n * h * w].

    ``moves`` [n ...] are the distances from the inner pixels to those that they read.
    """
    height, width = size
    rows, columns = (slice(reach + 1, side - reach + 1) for side in size)
    pixels = torch.arange(len(moves) * height * width)
    visited = torch.zeros(len(moves), height, width, dtype=torch.bool)
    visited[:, rows, columns] = True
    read = pixels.clone().reshape(visited.shape)
    read[:, rows, columns] += moves
    source = read.flatten()
    # A pixel further on has been visited before, so that what it holds by now was read elsewhere in
    # turn. All others still hold their own; adding the count marks such an answer as final.
    source = torch.where(
        (source > pixels) & visited.flatten()[source], source, source + len(pixels)
    )
    open_ = (source < len(pixels)).nonzero()[:, 0]
    # Each round doubles the length of the chains that are followed.
    while len(open_):
        source[open_] = source[source[open_]]
        open_ = open_[source[open_] < len(pixels)]
    return source - len(pixels)
