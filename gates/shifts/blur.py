"""Blur of the lens: linear maps of each channel, computed as matrix products and spectra.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``, and what
scikit-image and OpenCV compute for it.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.tables import Parameters


def gaussian_blur(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Blur along rows and columns, the border repeated outwards.

    Parameter: standard deviation in pixels.
    """
    del draws
    (sigma,) = parameters
    height, width = images.shape[-2:]
    along_columns = _gaussian_operator(height, sigma).to(images)
    along_rows = _gaussian_operator(width, sigma).to(images)
    return along_columns @ images @ along_rows.T


def defocus_blur(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Spread every pixel over a disk, the border mirrored without repeating the edge.

    Parameters: radius of the disk, standard deviation of its soft edge; both in pixels.
    """
    del draws
    radius, softness = parameters
    kernel = _disk(radius, softness).to(images)
    reach = kernel.shape[-1] // 2
    rows, columns = (_mirrored(side, reach) for side in images.shape[-2:])
    padded = images[..., rows[:, None], columns]
    # The disk is its own mirror image, so convolution and correlation agree. The spectrum wraps
    # around; only the first 2 * reach rows and columns feel that, and they are cut off.
    size = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, s=size)
    blurred: Tensor = torch.fft.irfft2(spectrum, s=size)
    return blurred[..., 2 * reach :, 2 * reach :]


@cache
def _gaussian_operator(side: int, sigma: float) -> Tensor:
    """The matrix [side side] that blurs a line of ``side`` pixels: the blur of each unit vector."""
    blurred = ndimage.gaussian_filter1d(np.eye(side), sigma, axis=0, mode="nearest", truncate=4.0)
    return torch.from_numpy(blurred)


@cache
def _disk(radius: float, softness: float) -> Tensor:
    """The generator's defocus kernel [k k], k odd, without its margin of zeros.

    The edge is softened after normalisation and with a mirrored border. Where a disk touches its
    grid (radius 8 and 10) that adds about one per cent of light; kept, since the published
    severities include it.
    """
    half, taps = (8, 3) if radius <= 8 else (int(radius), 5)
    grid = np.arange(-half, half + 1)
    disk = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(np.float64)
    disk /= disk.sum()
    softener = _gaussian_taps(taps, softness)
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, softener, axis=axis, mode="mirror")
    margin = int(np.flatnonzero(disk[half])[0])
    return torch.from_numpy(disk[margin : 2 * half + 1 - margin, margin : 2 * half + 1 - margin])


def _gaussian_taps(count: int, sigma: float) -> NDArray[np.float64]:
    """OpenCV's ``getGaussianKernel``: the bell curve at ``count`` whole pixels, summing to one."""
    offsets = np.arange(count) - count // 2
    weights: NDArray[np.float64] = np.exp(-(offsets**2) / (2.0 * sigma**2))
    weights /= weights.sum()
    return weights


def _mirrored(side: int, reach: int) -> Tensor:
    """Indices of a line and ``reach`` pixels past both ends: ... 2 1 0 1 2 ... (REFLECT_101)."""
    period = 2 * (side - 1)
    index = torch.arange(-reach, side + reach).remainder(period)
    return torch.minimum(index, period - index)
