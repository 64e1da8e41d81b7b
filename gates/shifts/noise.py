"""Noise of the sensor: a value per pixel and channel, drawn for each image on its own.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``.
"""

import torch
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.photons import poisson
from gates.shifts.tables import Parameters


def gaussian_noise(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Add normal noise. Parameter: standard deviation."""
    (sigma,) = parameters
    return draws.normal(*images.shape[1:]).to(images).mul_(sigma).add_(images)


def shot_noise(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Count photons: a Poisson number whose mean is the pixel's. Parameter: photons of white.

    Images are bytes, divided by 255.
    """
    (photons,) = parameters
    levels = (255.0 * images).round().to(torch.uint8).cpu().numpy()
    uniform = draws.uniform(*images.shape[1:]).numpy()
    counts = poisson(uniform, levels, photons=photons)
    return torch.from_numpy(counts).to(images).div_(photons)


def uniform_noise(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Add noise from [-half_width, half_width]; Liebenwein et al. 2021 (arXiv:2103.03014).

    Parameter: half width.
    """
    (half_width,) = parameters
    noise = draws.uniform(*images.shape[1:]).to(images).mul_(2.0).sub_(1.0)
    return noise.mul_(half_width).add_(images)


def impulse_noise(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Turn a share of the bytes to 0 or 255, as skimage's ``random_noise(mode="s&p")`` does.

    Each channel of a pixel is hit on its own, so a hit grey pixel comes out coloured.
    Parameter: share of the values that are hit.
    """
    (amount,) = parameters
    shape = images.shape[1:]
    hit = draws.uniform(*shape) <= amount
    salt = 255 * (draws.uniform(*shape) <= 0.5).to(torch.uint8)
    return torch.where(hit.to(images.device), salt.to(images.device), images)


def speckle_noise(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Multiply by normal noise around one. Parameter: standard deviation."""
    (sigma,) = parameters
    noise = draws.normal(*images.shape[1:]).to(images).mul_(sigma)
    return noise.mul_(images).add_(images)
