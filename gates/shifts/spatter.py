"""Spatter: drops of water on the lens, or mud.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``, and what
scikit-image and OpenCV compute for it.
"""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.drops import relief
from gates.shifts.grey import coloured
from gates.shifts.tables import Parameters

# Red, green, blue. The generator names the first channel's number first and never swaps channels
# on the way, whatever its conversions are called.
_WATER: Final = (175 / 255, 238 / 255, 238 / 255)
_MUD: Final = (63 / 255, 42 / 255, 20 / 255)

_OPAQUE_FROM: Final = np.float32(0.8)
"""Share of mud around a pixel from which on there is mud on it."""


def spatter(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Add the light of water drops, or cover the image with mud.

    Parameters: mean and standard deviation of the noise that drops are made from, standard
    deviation of its blur in pixels, value from which on there is liquid; for water the greatest
    share of its colour, for mud the standard deviation of its edge in pixels; 0 for water, 1 for
    mud.
    """
    height, width = images.shape[-2:]
    layer = draws.layers(spatter_layer, size=(height, width), parameters=parameters)
    cover = layer.to(images).unsqueeze(1)
    if _is_mud(parameters):
        return torch.lerp(images, coloured(_MUD, like=images), cover)
    return images + cover * coloured(_WATER, like=images)


def spatter_layer(draws: Draws, *, size: tuple[int, int], parameters: Parameters) -> Tensor:
    """How much of the liquid's colour there is on each pixel, float32 [n h w]."""
    mean, deviation, blur, threshold, strength, _ = parameters
    noise = mean + deviation * draws.normal(*size).numpy()
    liquid = _blurred(noise, sigma=blur)
    liquid[liquid < threshold] = 0.0
    if _is_mud(parameters):
        return torch.from_numpy(_mud(liquid > threshold, edge=strength))
    return torch.from_numpy(_water(liquid, strength=strength))


def _is_mud(parameters: Parameters) -> bool:
    return parameters[-1] > 0


def _water(liquid: NDArray[np.float64], *, strength: float) -> NDArray[np.float32]:
    # By way of int64: where the noise is wide, liquid may exceed 1, and the generator's bytes wrap
    # around there, which leaves a hole in the drop.
    thickness = (255.0 * liquid).astype(np.int64).astype(np.uint8)
    light = thickness.astype(np.float32) * relief(thickness).astype(np.float32)
    brightest = light.max(axis=(1, 2), keepdims=True)
    # A layer without any drop has no light; the generator divides by zero there.
    brightest[brightest == 0.0] = 1.0
    shares: NDArray[np.float32] = light / brightest * np.float32(strength)
    return shares


def _mud(wet: NDArray[np.bool_], *, edge: float) -> NDArray[np.float32]:
    cover: NDArray[np.float32] = _blurred(wet.astype(np.float32), sigma=edge)
    cover[cover < _OPAQUE_FROM] = 0.0
    return cover


def _blurred(layers: NDArray[Any], *, sigma: float) -> NDArray[Any]:
    """scikit-image's ``gaussian`` of layers [n h w], in their precision."""
    return ndimage.gaussian_filter(layers, (0.0, sigma, sigma), mode="nearest", truncate=4.0)
