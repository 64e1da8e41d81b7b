"""Images to shift where no data set is at hand."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""One image [h w 3]."""


def photographs(n: int, *, height: int, width: int) -> list[Pixels]:
    """Images with the spectrum of photographs: large shapes, little colour, some fine texture.

    Parts of each are black, white and grey, where the formulas of colour spaces have no hue.
    """
    rng = np.random.default_rng(n)
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    waves[0, 0] = np.inf
    waves **= 1.4
    images = []
    for _ in range(n):
        light, *colours = (
            field / field.std()
            for field in np.fft.irfft2(
                np.fft.rfft2(rng.normal(size=(4, height, width))) / waves, s=(height, width)
            )
        )
        image = 128 + 60 * light[..., None] + 20 * np.stack(colours, axis=-1)
        image += rng.normal(scale=4.0, size=image.shape)
        image[:3, :5], image[-4:, :5] = 0, 255
        image[:3, -5:] = image[:3, -5:, :1]
        images.append(image.clip(0, 255).astype(np.uint8))
    return images


def noise(*, height: int, width: int) -> Pixels:
    """Every byte at random: edges everywhere, and every saturation."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
