"""Blur of a moving camera: every pixel drawn out along a line.

Source: Hendrycks & Dietterich 2019 (arXiv:1903.12261), whose generator calls ImageMagick's
``MotionBlurImage``: https://github.com/ImageMagick/ImageMagick6/blob/main/magick/effect.c.
"""

from typing import Final

import numpy as np
import torch
from scipy.linalg.blas import daxpy
from torch import Tensor
from torch.nn import functional

from gates.shifts.draws import Draws
from gates.shifts.tables import Parameters

_PART: Final = 2**13
"""Values that are added up at a time. From 10,000 on OpenBLAS would start threads for each sum."""


def motion_blur(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Blur along a line of random slope, 45 degrees at most.

    Parameters: radius and standard deviation of the blur, in pixels.
    """
    radius, sigma = parameters
    return streaked(images, radius=radius, sigma=sigma, angles=90.0 * draws.uniform() - 45.0)


def streaked(images: Tensor, *, radius: float, sigma: float, angles: Tensor) -> Tensor:
    """The images [n c h w], each averaged along the line of its angle [n].

    Angles are in degrees: 0 looks to the right, 90 down. The average is one-sided: the pixel itself
    weighs most, and the weights fall off as a bell curve over 2 * radius further pixels. The border
    is repeated outwards. What ImageMagick returns are bytes, cut off and not rounded; that is left
    to the caller.
    """
    weights = _half_bell(taps=2 * int(radius) + 1, sigma=sigma)
    slopes = np.deg2rad(angles.double().numpy())[:, None]
    steps = np.arange(len(weights))
    down = np.ceil(steps * np.sin(slopes) - 0.5).astype(int)
    across = np.ceil(steps * np.cos(slopes) - 0.5).astype(int)
    top, bottom, left, right = (
        int(moves.max(initial=0)) for moves in (-down, down, -across, across)
    )
    count, channels, height, width = images.shape
    lines_NHCW = images.cpu().transpose(1, 2)
    padded = functional.pad(
        lines_NHCW.unsqueeze(1), (left, right, 0, 0, top, bottom), mode="replicate"
    )
    # Laid out as a line, with the channels within a row, a whole step is a shift of the line. What
    # runs over into the next row falls on its margin, which is cut off.
    line = left + width + right
    row = channels * line
    starts = (top + down) * row + left + across
    length = height * row - left - right
    streaks = np.zeros((count, height * row))
    for streak, source, own_starts in zip(
        streaks, padded.flatten(1).numpy(), starts.tolist(), strict=True
    ):
        # BLAS adds a multiple of a part of a line in the time that a view of torch's is made in.
        for first in range(0, length, _PART):
            part = min(_PART, length - first)
            for weight, start in zip(weights, own_starts, strict=True):
                daxpy(source, streak, n=part, a=weight, offx=first + start, offy=first)
    streaked_NHCW = torch.from_numpy(streaks).reshape(count, height, channels, line)
    return streaked_NHCW[..., :width].transpose(1, 2).to(images)


def _half_bell(*, taps: int, sigma: float) -> list[float]:
    """The right half of a bell curve at whole pixels, summing to one."""
    weights = np.exp(-(np.arange(taps) ** 2) / (2.0 * sigma**2))
    return [float(weight) for weight in weights / weights.sum()]
