"""Frost: a piece of a photograph of ice laid over the image.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``. The photographs
are other people's and not part of this package; they come with ``imagecorruptions``. Ice that needs
no photograph is that of ``frost_synthetic``.
"""

import hashlib
import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.grey import grey
from gates.shifts.ice import ice
from gates.shifts.tables import Parameters, ShiftError

# A sixth photograph lies beside these; the published sets never used it (``randint(5)``).
_NAMES: Final = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")

_ONE: Final = 2**11
"""A weight of one in OpenCV's bilinear resize of bytes."""


def frost(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Add a random piece of a random photograph of ice.

    For an image larger than the photograph, which the generator does not know, the photograph is
    enlarged just enough.

    Parameters: weight of the image, weight of the ice, scale of the photograph.

    Raises:
        ShiftError: the photographs are not installed.
    """
    image_weight, ice_weight, scale = parameters
    height, width = images.shape[-2:]
    photographs = _photographs(_folder(), scale=scale, height=height, width=width)
    pieces = np.empty((len(images), 3, height, width), dtype=np.uint8)
    # The three whole numbers that the generator draws; the bounds hang on the photograph.
    for piece, (which, down, right) in zip(pieces, draws.uniform(3).tolist(), strict=True):
        photograph = photographs[int(which * len(photographs))]
        top = int(down * (photograph.shape[1] - height))
        left = int(right * (photograph.shape[2] - width))
        piece[:] = photograph[:, top : top + height, left : left + width]
    return _iced(images, torch.from_numpy(pieces), image_weight=image_weight, ice_weight=ice_weight)


def frost_synthetic(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Add drawn ice, about as bright and as uneven as that of the photographs.

    Parameters: weight of the image, weight of the ice.
    """
    image_weight, ice_weight = parameters
    height, width = images.shape[-2:]
    drawn = draws.layers(ice, size=(height, width), parameters=())
    return _iced(images, drawn, image_weight=image_weight, ice_weight=ice_weight)


def _iced(images: Tensor, ice_N3HW: Tensor, *, image_weight: float, ice_weight: float) -> Tensor:
    """The images [n c h w] under bytes of ice; grey images get the ice's brightness."""
    layer = ice_N3HW.to(images)
    if images.shape[1] == 1:
        layer = grey(layer)
    return (image_weight * images).add_(layer, alpha=ice_weight / 255.0)


def textures() -> Mapping[str, str]:
    """The photographs' names and the sha256 digests of their files.

    Raises:
        ShiftError: they are not installed.
    """
    folder = _folder()
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _NAMES}


def _folder() -> Path:
    """Where the photographs lie, found without importing the package (it would import OpenCV).

    Raises:
        ShiftError: at least one of them is missing.
    """
    package = importlib.util.find_spec("imagecorruptions")
    folders = package.submodule_search_locations if package else None
    for folder in (Path(place) / "frost" for place in folders or ()):
        if all((folder / name).is_file() for name in _NAMES):
            return folder
    raise ShiftError(
        "frost needs five photographs of ice that are not part of this package "
        f"({', '.join(_NAMES)}); pip install 'compressor[frost]' brings them, or take "
        "frost_synthetic, which needs nothing"
    )


@lru_cache(maxsize=8)
def _photographs(
    folder: Path, *, scale: float, height: int, width: int
) -> tuple[NDArray[np.uint8], ...]:
    """The photographs [3 h' w'], scaled, and at least as large as ``height`` and ``width``."""
    return tuple(
        _at_least(_pixels(folder / name), scale=scale, height=height, width=width)
        for name in _NAMES
    )


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def _at_least(
    pixels_CHW: NDArray[np.uint8], *, scale: float, height: int, width: int
) -> NDArray[np.uint8]:
    full_height, full_width = pixels_CHW.shape[1:]
    enough = max(scale, height / full_height, width / full_width)
    return pixels_CHW if enough == 1.0 else _resized(pixels_CHW, scale=enough)


def _resized(pixels_CHW: NDArray[np.uint8], *, scale: float) -> NDArray[np.uint8]:
    """OpenCV's bilinear ``resize`` of bytes, without smoothing beforehand.

    Half-pixel centres; whole-number arithmetic with the bits that OpenCV drops between the passes.
    """
    upper, lower, much, little = _neighbours(pixels_CHW.shape[1], scale)
    left, right, near, far = _neighbours(pixels_CHW.shape[2], scale)
    whole = pixels_CHW.astype(np.int64)
    lines = (whole[:, :, left] * near + whole[:, :, right] * far) >> 4
    above, below = lines[:, upper] * much[:, None], lines[:, lower] * little[:, None]
    return (((above >> 16) + (below >> 16) + 2) >> 2).astype(np.uint8)


def _neighbours(side: int, scale: float) -> tuple[NDArray[np.int64], ...]:
    """For each pixel of the scaled line: the two that it lies between, and the weights of both."""
    places = ((np.arange(round(scale * side)) + 0.5) / scale - 0.5).astype(np.float32)
    first = np.floor(places).astype(np.int64)
    share = np.where((first < 0) | (first >= side - 1), np.float32(0.0), places - first)
    second_weight = np.rint(_ONE * share).astype(np.int64)
    first = first.clip(0, side - 1)
    return first, np.minimum(first + 1, side - 1), _ONE - second_weight, second_weight
