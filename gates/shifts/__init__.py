"""The distributions that a pruned model may have to survive, made from the images at hand.

``shifted(images, ids, name="gaussian_noise", severity=3, seed=0)`` is all that a caller needs.
The same image, id, shift, severity and seed give the same bytes, whatever the batch size, the
order or the number of threads. Names and strengths are those of ImageNet-C and CIFAR-10-C
(Hendrycks & Dietterich 2019, arXiv:1903.12261); with the same draws the pixels equal those of its
generator to within 1/255. The published ImageNet-C files went through JPEG once more; these do
not. ``uniform_noise`` is from Liebenwein et al. 2021 (arXiv:2103.03014).

A new shift is a function, a line in ``SHIFTS`` and a row in each of ``tables.TABLES``.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gates.shifts.blur import defocus_blur, gaussian_blur
from gates.shifts.digital import brightness, contrast, jpeg_compression
from gates.shifts.draws import Draws, draws_for
from gates.shifts.noise import gaussian_noise, impulse_noise, speckle_noise, uniform_noise
from gates.shifts.tables import (
    AUTO,
    CLEAN,
    PROFILES,
    Parameters,
    ShiftError,
    parameters,
    profile_of,
)

__all__ = [
    "PROFILES",
    "SHIFTS",
    "Shift",
    "ShiftError",
    "available",
    "parameters",
    "profile_of",
    "shifted",
]

SMALLEST_SIDE: Final = 8
"""Pixels. A JPEG block; on less than that no table says anything."""

_CHUNK_VALUES: Final = 2**18
"""Values that are in work at a time: 2 MiB as float64, whatever the caller's batch."""

# Bytes are cut off, not rounded, as in the generator's ``np.uint8(255 * x)``. In exact arithmetic
# many values are whole numbers (a flat area after a blur, an untouched pixel), and an error in the
# last place must not make them one less. float64 errs by less than 1e-12 here. A defocus kernel
# with a nearly hard edge (weights below 1e-11) leaves values within 3e-9 of whole ones; the slack
# lifts these too, so that none of them is decided by the order of a sum.
_SLACK: Final = 1e-8


class Shift(Protocol):
    """Move images away from what the model was trained on.

    ``images`` [n c h w] lie in [0, 1], c is 1 or 3; the same shape comes back, perhaps beyond
    [0, 1]. ``draws`` are the only source of randomness. The given images are left alone.
    """

    def __call__(self, images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor: ...


def clean(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """The images as they are. No parameters."""
    del parameters, draws
    return images


SHIFTS: Final[Mapping[str, Shift]] = {
    CLEAN: clean,
    "gaussian_noise": gaussian_noise,
    "uniform_noise": uniform_noise,
    "impulse_noise": impulse_noise,
    "speckle_noise": speckle_noise,
    "gaussian_blur": gaussian_blur,
    "defocus_blur": defocus_blur,
    "brightness": brightness,
    "contrast": contrast,
    "jpeg_compression": jpeg_compression,
}


def available() -> tuple[str, ...]:
    """The names of all shifts, ``clean`` first."""
    return tuple(SHIFTS)


def shifted(
    images: NDArray[np.uint8],
    ids: NDArray[np.uint64],
    *,
    name: str,
    severity: int | None,
    seed: int,
    profile: str = AUTO,
) -> NDArray[np.uint8]:
    """The images [n c h w] under shift ``name``; a new array, the given one is left alone.

    ``ids`` [n] name the images; what is drawn for an image hangs on its id and not on its place.
    ``severity`` is 1 to 5, or None for ``clean`` alone. ``profile`` is a table of ``PROFILES``;
    "auto" takes the one for the shorter side of the images.

    Raises:
        ShiftError: The shift, severity or profile does not exist, or the images do not fit.
    """
    _check_images(images, ids)
    strength = parameters(name, severity=severity, profile=profile, side=min(images.shape[2:]))
    shift = SHIFTS[name]
    result = np.empty(images.shape, dtype=np.uint8)
    step = max(1, _CHUNK_VALUES // images[0:1].size) if len(images) else 1
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        draws = draws_for(ids[part], shift=name, severity=severity, seed=seed)
        # float64: sums in another order must not change a byte (see _SLACK).
        pixels = torch.from_numpy(np.divide(images[part], 255.0, dtype=np.float64))
        moved = shift(pixels, parameters=strength, draws=draws)
        result[part] = (255.0 * moved.clamp(0.0, 1.0) + _SLACK).to(torch.uint8).numpy()
    return result


def _check_images(images: NDArray[np.uint8], ids: NDArray[np.uint64]) -> None:
    """Raise ShiftError unless every shift can be applied to ``images``."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ShiftError(
            f"images must be uint8 [n c h w], got {images.dtype} {list(images.shape)};"
            " give the pixels as they were decoded, before any normalisation"
        )
    _, channels, height, width = images.shape
    if channels not in {1, 3}:
        raise ShiftError(
            f"images must have 1 or 3 channels, got {channels} in {list(images.shape)};"
            " channels come before height and width"
        )
    if min(height, width) < SMALLEST_SIDE:
        raise ShiftError(
            f"images must be at least {SMALLEST_SIDE} pixels high and wide, got {height} x {width}"
        )
    if ids.shape != (len(images),):
        raise ShiftError(f"{len(images)} images need as many ids, got {list(ids.shape)}")
