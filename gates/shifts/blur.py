"""Blur of the lens: linear maps of each channel, computed as matrix products and spectra.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``, and what
scikit-image and OpenCV compute for it.
"""

from functools import cache, lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.lines import LineMap
from gates.shifts.tables import Parameters

_SPECTRA_KEPT: Final = 8
"""Enough for a mixture of five severities; one for 224 pixels weighs 0.5 MB."""


def gaussian_blur(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Blur along rows and columns, the border repeated outwards.

    Parameter: standard deviation in pixels.
    """
    del draws
    (sigma,) = parameters
    along_columns, along_rows = (_gaussian_map(side, sigma) for side in images.shape[-2:])
    return along_rows.on_rows(along_columns.on_columns(images))


def defocus_blur(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Spread every pixel over a disk, the border mirrored without repeating the edge.

    Parameters: radius of the disk, standard deviation of its soft edge; both in pixels.
    """
    del draws
    radius, softness = parameters
    height, width = images.shape[-2:]
    reach = _disk(radius, softness).shape[-1] // 2
    margins = ((0, 0), (0, 0), (reach, reach), (reach, reach))
    # numpy's, for torch's mirror ends where the image does.
    padded = torch.from_numpy(np.pad(images.cpu().numpy(), margins, mode="reflect"))
    # The disk is its own mirror image, so convolution and correlation agree. The spectrum wraps
    # around; only the first 2 * reach rows and columns feel that, and they are cut off.
    size = (_fast_length(height + 2 * reach), _fast_length(width + 2 * reach))
    spectrum = torch.fft.rfft2(padded.to(images.device), s=size)
    spectrum *= _disk_spectrum(radius, softness, size).to(images.device)
    blurred: Tensor = torch.fft.irfft2(spectrum, s=size)
    return blurred[..., 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


@cache
def _gaussian_map(side: int, sigma: float) -> LineMap:
    """Blurs a line of ``side`` pixels; its matrix is the blur of each unit vector."""
    return LineMap(
        ndimage.gaussian_filter1d(np.eye(side), sigma, axis=0, mode="nearest", truncate=4.0)
    )


def _fast_length(length: int) -> int:
    """A product of small primes: 240 points are transformed in 0.6 of the time of 238."""
    return int(fft.next_fast_len(length, real=True))


@lru_cache(maxsize=_SPECTRA_KEPT)
def _disk_spectrum(radius: float, softness: float, size: tuple[int, int]) -> Tensor:
    spectrum: Tensor = torch.fft.rfft2(_disk(radius, softness), s=size)
    return spectrum


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
