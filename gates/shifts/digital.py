"""Light and encoding: brightness, contrast, JPEG.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``.
"""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.tables import Parameters


def brightness(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Raise V of the HSV colour space, hue and saturation kept. Parameter: what V gains.

    V is the largest channel; at fixed hue and saturation all channels are proportional to it,
    so no colour space has to be entered. Black has no hue and becomes grey.
    """
    del draws
    (gain,) = parameters
    value = images.amax(dim=1, keepdim=True)
    raised = (value + gain).clamp(max=1.0)
    return torch.where(value > 0.0, images * (raised / value), raised)


def contrast(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Pull every channel towards its mean over the image. Parameter: share of contrast kept."""
    del draws
    (kept,) = parameters
    mean = images.mean(dim=(-2, -1), keepdim=True)
    return (images - mean) * kept + mean


def jpeg_compression(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Encode as JPEG and decode again. Parameter: Pillow's quality, 1 to 95.

    The bytes are libjpeg's: another version may round some of them differently.
    """
    del draws
    (quality,) = parameters
    pixels_NHWC = (255.0 * images).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.stack([_through_jpeg(pixels, quality=int(quality)) for pixels in pixels_NHWC])
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(images) / 255.0


def _through_jpeg(pixels_HWC: NDArray[np.uint8], *, quality: int) -> NDArray[np.uint8]:
    encoded = io.BytesIO()
    grey = pixels_HWC.shape[-1] == 1
    Image.fromarray(pixels_HWC[..., 0] if grey else pixels_HWC).save(
        encoded, "JPEG", quality=quality
    )
    with Image.open(encoded) as decoded:
        return np.asarray(decoded).reshape(pixels_HWC.shape)
