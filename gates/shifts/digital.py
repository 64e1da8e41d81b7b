"""Light, colour and encoding: brightness, contrast, saturation, coarse pixels, JPEG.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``.
"""

import io
from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.tables import Parameters

_BOX: Final = Image.Resampling.BOX


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
    if not len(images):
        return images
    height, width = images.shape[-2:]
    pixels = images.cpu().numpy()
    narrow = _box_resized(pixels, int(width * factor))
    small = _box_resized(narrow.swapaxes(2, 3), int(height * factor)).swapaxes(2, 3)
    # Enlarged, every pixel is one of the small image's.
    rows, columns = (
        _chosen(few, side) for few, side in zip(small.shape[2:], (height, width), strict=True)
    )
    return torch.from_numpy(small.take(columns, axis=3).take(rows, axis=2)).to(images.device)


def _box_resized(lines: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Lines [... w] of bytes, scaled to ``side`` by Pillow, all of them as one tall image."""
    tall = Image.fromarray(lines.reshape(-1, lines.shape[-1]))
    scaled = tall.resize((side, tall.height), _BOX)
    return np.asarray(scaled).reshape(*lines.shape[:-1], side)


@cache
def _chosen(few: int, side: int) -> NDArray[np.intp]:
    """Which of ``few`` pixels each of ``side`` is where Pillow's box filter enlarges a line."""
    units = Image.fromarray(np.eye(few, dtype=np.float32))
    chosen: NDArray[np.intp] = np.asarray(units.resize((side, few), _BOX)).argmax(axis=0)
    return chosen


def jpeg_compression(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Encode bytes as JPEG and decode again. Parameter: Pillow's quality, 1 to 95.

    The bytes are libjpeg's: another version may round some of them differently.
    """
    del draws
    (quality,) = parameters
    return through_jpeg(images, quality=int(quality))


def through_jpeg(images: Tensor, *, quality: int) -> Tensor:
    """The images [n c h w], uint8, as a JPEG of this quality keeps them."""
    mode, rows = ("RGB", "RGB;L") if images.shape[1] == 3 else ("L", "L")
    before_NHCW = np.ascontiguousarray(images.cpu().numpy().swapaxes(1, 2))
    result = np.empty(images.shape, dtype=np.uint8)
    # Pillow moves channels in half of numpy's time: it takes rows of red, green and blue in turn,
    # and gives one channel after the other.
    for before_HCW, after_CHW in zip(before_NHCW, result, strict=True):
        height, _, width = before_HCW.shape
        image = Image.frombytes(mode, (width, height), before_HCW.data, "raw", rows)
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=quality)
        # The decoder that ``Image.open`` would find; to look for it and to read the headers in
        # Python takes a sixth of the time of a small image.
        decoded = Image.frombytes(mode, image.size, encoded.getvalue(), "jpeg", mode, "")
        for plane, band in zip(after_CHW, mode, strict=True):
            plane[:] = np.frombuffer(decoded.tobytes("raw", band), np.uint8).reshape(plane.shape)
    return torch.from_numpy(result).to(images.device)
