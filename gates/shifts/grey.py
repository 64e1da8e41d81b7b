"""How bright a colour is."""

from typing import Final

import torch
from torch import Tensor

WEIGHTS: Final = (0.299, 0.587, 0.114)
"""Of red, green and blue: ITU-R BT.601, OpenCV's ``COLOR_RGB2GRAY``."""


def grey(images: Tensor) -> Tensor:
    """The brightness [n 1 h w] of images [n c h w]; a single channel is its own."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    # One after the other: a sum over channels may change its order with the batch.
    bright = WEIGHTS[0] * red
    return bright.add_(green, alpha=WEIGHTS[1]).add_(blue, alpha=WEIGHTS[2]).unsqueeze(1)


def coloured(colour: tuple[float, float, float], *, like: Tensor) -> Tensor:
    """The colour [1 c 1 1] for images [n c h w]; its brightness where they are grey."""
    channels = torch.tensor(colour, dtype=like.dtype, device=like.device).reshape(1, 3, 1, 1)
    return channels if like.shape[1] == 3 else grey(channels)
