"""Random views of training images that keep their class.

Every augmentation works on whole batches of bytes, so that preparing a batch costs a few
percent of the training step that uses it.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

# He et al. 2016 (arXiv:1512.03385), section 4.2: four pixels on each side.
CROP_PADDING: Final = 4


class RandomView(Protocol):
    """A random variant of every image of a batch."""

    def __call__(
        self, images: NDArray[np.uint8], generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Images [n c h w] to images [n c h w]; what was given stays as it was."""
        ...


class Augment(Protocol):
    """Images as training should see them, a shift of the gate for instance."""

    def __call__(
        self, images: NDArray[np.uint8], ids: NDArray[np.uint64], epoch: int
    ) -> NDArray[np.uint8]:
        """Images [n c h w] to images [n c h w]; the same arguments give the same images."""
        ...


def flip(images: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Mirror half of the images, left to right."""
    mirrored = generator.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[..., ::-1], images)


def crop(images: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Shift every image by up to four pixels each way, its border mirrored into the gap.

    Mirrored rather than black: a frame of constant colour appears in no image of the test set,
    and would enter the statistics of every BatchNorm.
    """
    n, _, h, w = images.shape
    around = (CROP_PADDING, CROP_PADDING)
    padded = np.pad(images, ((0, 0), (0, 0), around, around), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))
    top, left = generator.integers(0, 2 * CROP_PADDING + 1, size=(2, n))
    return windows[np.arange(n), :, top, left]


AUGMENTS: Final[Mapping[str, RandomView]] = {"flip": flip, "crop": crop}
