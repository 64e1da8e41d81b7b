"""Fog: a random landscape of haze over the image, from the diamond-square algorithm.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``; the algorithm is
that of Fournier, Fussell & Carpenter 1982 (doi:10.1145/358523.358553) on a map that wraps around.
"""

import torch
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.tables import Parameters


def fog(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Add haze, then darken by as much as keeps all values below the image's brightest.

    Parameters: strength of the haze, factor by which its waves get flatter as they get shorter.
    """
    strength, _ = parameters
    height, width = images.shape[-2:]
    haze = draws.layers(plasma, size=(height, width), parameters=parameters).to(images)
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    hazy = torch.add(images, haze.unsqueeze(1), alpha=strength)
    return hazy.mul_(brightest / (brightest + strength))


def plasma(draws: Draws, *, size: tuple[int, int], parameters: Parameters) -> Tensor:
    """Haze in [0, 1], float32 [n h w]: the upper left part of a square map.

    The side of the map is the next power of two, and it is the whole map that spans [0, 1]. The
    uniform numbers are asked for in the generator's order.
    """
    _, decay = parameters
    height, width = size
    side = 1 << (max(size) - 1).bit_length()
    heights = torch.zeros(1, 1, 1, dtype=torch.float64)
    roughness = 1.0  # The generator starts at 100 squared; the scaling at the end undoes that.
    while heights.shape[-1] < side:
        heights = _finer(heights, draws, roughness=roughness)
        # The generator's "wibble" is divided by ``decay`` and used twice as a factor.
        roughness /= decay**2
    lowest, highest = heights.amin(dim=(1, 2), keepdim=True), heights.amax(dim=(1, 2), keepdim=True)
    return ((heights - lowest) / (highest - lowest))[:, :height, :width].to(torch.float32)


def _finer(corners: Tensor, draws: Draws, *, roughness: float) -> Tensor:
    """Maps [n 2s 2s] with three new points for each one of ``corners`` [n s s] (or [1 s s]).

    A new point is the mean of its four neighbours plus a number from [-roughness, roughness].
    """
    side = corners.shape[-1]

    def near_mean(total: Tensor) -> Tensor:
        return total / 4.0 + roughness * (2.0 * draws.uniform(side, side) - 1.0)

    vertical = corners + corners.roll(-1, dims=1)
    horizontal = corners + corners.roll(-1, dims=2)
    centres = near_mean(vertical + vertical.roll(-1, dims=2))
    finer = centres.new_empty(len(centres), 2 * side, 2 * side)
    finer[:, ::2, ::2] = corners
    finer[:, 1::2, 1::2] = centres
    finer[:, ::2, 1::2] = near_mean(centres + centres.roll(1, dims=1) + horizontal)
    finer[:, 1::2, ::2] = near_mean(centres + centres.roll(1, dims=2) + vertical)
    return finer
