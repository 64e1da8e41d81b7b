"""Light, colour and encoding: brightness, contrast, saturation, coarse pixels, JPEG.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
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


def saturate(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Change S of HSV to ``factor * S + offset``, hue and V kept. Parameters: factor, offset.

    V minus a channel is proportional to S, so no colour space has to be entered. Grey has no hue:
    the hue of red is taken, as the colour space's formulas do.
    """
    del draws
    factor, offset = parameters
    value, low = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    span = value - low
    saturation = torch.where(value > 0.0, span / value, torch.zeros_like(value))
    wanted = (factor * saturation + offset).clamp(0.0, 1.0)
    if images.shape[1] == 1:
        # The one channel of a grey image is its red one, which is V.
        return images
    coloured = value - (value - images) * (wanted * value / span)
    reddened = torch.cat([value, *[value * (1.0 - wanted)] * 2], dim=1)
    return torch.where(span > 0.0, coloured, reddened)


def contrast(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Pull every channel towards its mean over the image. Parameter: share of contrast kept."""
    del draws
    (kept,) = parameters
    mean = images.mean(dim=(-2, -1), keepdim=True)
    return (images - mean) * kept + mean


def pixelate(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Scale bytes down and up again with box filters. Parameter: factor of the small side.

    Pillow's box filter rounds to bytes in between; the pixels are its own.
    """
    del draws
    (factor,) = parameters
    height, width = images.shape[-2:]
    small = (int(width * factor), int(height * factor))

    def through(image: Image.Image) -> Image.Image:
        box = Image.Resampling.BOX
        return image.resize(small, box).resize((width, height), box)

    return _with_pillow(images, through)


def jpeg_compression(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Encode bytes as JPEG and decode again. Parameter: Pillow's quality, 1 to 95.

    The bytes are libjpeg's: another version may round some of them differently.
    """
    del draws
    (quality,) = parameters
    return through_jpeg(images, quality=int(quality))


def through_jpeg(images: Tensor, *, quality: int) -> Tensor:
    """The images [n c h w], uint8, as a JPEG of this quality keeps them."""

    def through(image: Image.Image) -> Image.Image:
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=quality)
        return Image.open(encoded)

    return _with_pillow(images, through)


def _with_pillow(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Every image [c h w] of a batch through a function of Pillow's."""
    grey = images.shape[1] == 1
    pixels_NHWC = images.permute(0, 2, 3, 1).cpu().contiguous().numpy()
    result = np.empty_like(pixels_NHWC)
    for index, pixels in enumerate(pixels_NHWC):
        changed = np.asarray(change(Image.fromarray(pixels[..., 0] if grey else pixels)))
        result[index] = changed[..., None] if grey else changed
    return torch.from_numpy(result).permute(0, 3, 1, 2).contiguous().to(images.device)
