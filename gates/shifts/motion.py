"""Blur of a moving camera: every pixel drawn out along a line.

Source: Hendrycks & Dietterich 2019 (arXiv:1903.12261), whose generator calls ImageMagick's
``MotionBlurImage``: https://github.com/ImageMagick/ImageMagick6/blob/main/magick/effect.c.
"""

import numpy as np
from torch import Tensor
from torch.nn import functional

from gates.shifts.draws import Draws
from gates.shifts.tables import Parameters


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
    reach = len(weights) - 1
    slopes = np.deg2rad(angles.double().numpy())[:, None]
    steps = np.arange(reach + 1)
    rows = (np.ceil(steps * np.sin(slopes) - 0.5).astype(int) + reach).tolist()
    columns = (np.ceil(steps * np.cos(slopes) - 0.5).astype(int) + reach).tolist()
    height, width = images.shape[-2:]
    padded = functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    result = weights[0] * images
    # Image by image: a step is a whole number of pixels, so that each one adds a view.
    for streak, source, down, across in zip(result, padded, rows, columns, strict=True):
        for weight, y, x in zip(weights[1:], down[1:], across[1:], strict=True):
            streak.add_(source[:, y : y + height, x : x + width], alpha=weight)
    return result


def _half_bell(*, taps: int, sigma: float) -> list[float]:
    """The right half of a bell curve at whole pixels, summing to one."""
    weights = np.exp(-(np.arange(taps) ** 2) / (2.0 * sigma**2))
    return [float(weight) for weight in weights / weights.sum()]
