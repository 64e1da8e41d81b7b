"""Blur of a moving lens: the mean of an image and of what a zoom shows of it.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``; the zoom is
scipy's ``ndimage.zoom`` of order 1.
"""

import math
from functools import cache, lru_cache
from typing import Final

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.tables import Parameters

_BLURS_KEPT: Final = 4
"""Enough for a mixture of three severities; one for 224 pixels weighs 20 to 40 MB."""


def zoom_blur(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """The mean of the image itself and of its zooms.

    Parameters: bound and step of the zooms; they are 1, 1 + step, ... below the bound.
    """
    del draws
    stop, step = parameters
    height, width = images.shape[-2:]
    blur = _blur(height, width, stop, step)
    lines = images.reshape(-1, height * width).cpu().numpy()
    blurred = blur @ np.ascontiguousarray(lines.T)
    return torch.from_numpy(blurred.T).reshape(images.shape).to(images)


@cache
def zoom_operator(side: int, factor: float) -> Tensor:
    """The matrix [side side] that zooms into the middle of a line of ``side`` pixels.

    The line is cropped to ceil(side / factor) pixels, drawn out to round(factor * crop) by linear
    interpolation from end to end, and trimmed to ``side``; crop and trim are centred. The factor is
    at least 1 and leaves at least two pixels.
    """
    crop = math.ceil(side / factor)
    length = round(factor * crop)
    shown = np.arange(side) + (length - side) // 2
    position = shown * ((crop - 1) / (length - 1))
    before = np.minimum(position.astype(int), crop - 2)
    after_share = position - before
    first = (side - crop) // 2
    operator = np.zeros((side, side))
    operator[np.arange(side), first + before] = 1.0 - after_share
    operator[np.arange(side), first + before + 1] = after_share
    return torch.from_numpy(operator)


@lru_cache(maxsize=_BLURS_KEPT)
def _blur(height: int, width: int, stop: float, step: float) -> "sparse.csr_array[np.float64]":
    """The blur of an image laid out as a line [height * width]: few pixels take part in each."""
    factors = np.arange(1.0, stop, step).tolist()
    total = sparse.eye_array(height * width, format="csr")
    for factor in factors:
        rows, columns = (
            sparse.csr_array(zoom_operator(side, factor).numpy()) for side in (height, width)
        )
        total = total + sparse.kron(rows, columns, format="csr")
    return total * (1.0 / (len(factors) + 1))
