"""Rubber: an affine map of the image, then a smooth random displacement of every pixel.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``.

The generator's affine map is OpenCV's ``warpAffine``. OpenCV 5 interpolates between pixels exactly,
and so does this module. Before, positions were rounded to 1/32 pixel: in photographs that changed
bytes by up to 0.2 in the mean, and none by more than 4.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from gates.shifts.draws import Draws
from gates.shifts.lines import LineMap
from gates.shifts.tables import Parameters

_SMOOTHERS_KEPT: Final = 8
"""Enough for a mixture of three severities, two sides each; one for 224 pixels weighs 0.4 MB."""


def elastic_transform(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Move three points and the image with them, then displace every pixel.

    Parameters: factor of the displacements, standard deviation of what smooths them, and how far
    the points may move along each axis; the last two in pixels.
    """
    factor, sigma, jitter = parameters
    height, width = images.shape[-2:]
    moves = jitter * (2.0 * draws.uniform(3, 2) - 1.0)
    columns, rows = _affine(moves.to(images), height=height, width=width)
    images = _sampled(images, columns, rows, margin=0.0)
    if factor == 0.0:
        return images
    # The columns' displacements are drawn first.
    columns, rows = (
        torch.arange(side).to(images).view(shape)
        + factor * _smooth(draws.uniform(height, width).to(images), sigma=sigma)
        for side, shape in ((width, (1, -1)), (height, (-1, 1)))
    )
    return _sampled(images, columns, rows, margin=0.5)


def _affine(moves: Tensor, *, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where every pixel comes from, as columns and rows [n h w].

    ``moves`` [n 3 2], x before y, are those of three corners of a square around the middle: lower
    right, upper right, upper left. The square's half side is a third of the image's shorter side.
    """
    half = min(height, width) // 3
    x, y = width // 2 + half, height // 2 - half
    lower, upper, left = moves[..., None, None].unbind(1)
    # How the image of a point moves per pixel to the right, and per pixel down.
    right_x, right_y = ((upper - left) / (2.0 * half)).unbind(1)
    down_x, down_y = ((lower - upper) / (2.0 * half)).unbind(1)
    right_x, down_y = right_x + 1.0, down_y + 1.0
    across = torch.arange(width).to(moves) - (x + upper[:, 0])
    along = torch.arange(height).to(moves)[:, None] - (y + upper[:, 1])
    area = right_x * down_y - right_y * down_x
    columns = x + (down_y * across - down_x * along) / area
    rows = y + (right_x * along - right_y * across) / area
    return columns, rows


def _sampled(images: Tensor, columns: Tensor, rows: Tensor, *, margin: float) -> Tensor:
    """The images [n c h w] at the given positions [n h w] in pixels, bilinear.

    Beyond the border the image is mirrored, ``margin`` pixels (0 or 1/2) outside its outermost
    pixels' middles.
    """
    height, width = images.shape[-2:]
    across, along = (
        2.0 * (position + margin) / (side - 1.0 + 2.0 * margin) - 1.0
        for position, side in ((columns, width), (rows, height))
    )
    return functional.grid_sample(
        images,
        torch.stack((across, along), dim=-1),
        padding_mode="reflection",
        align_corners=margin == 0.0,
    )


def _smooth(numbers: Tensor, *, sigma: float) -> Tensor:
    """Numbers from [0, 1) as a smooth field of displacements [n h w] around zero."""
    along_columns, along_rows = (_smoother(side, sigma) for side in numbers.shape[1:])
    return along_rows.on_rows(along_columns.on_columns(2.0 * numbers - 1.0))


@lru_cache(maxsize=_SMOOTHERS_KEPT)
def _smoother(side: int, sigma: float) -> LineMap:
    """Smooths a line of ``side`` numbers; its matrix is the smoothing of each unit vector."""
    return LineMap(
        ndimage.gaussian_filter1d(np.eye(side), sigma, axis=0, mode="reflect", truncate=3.0)
    )
