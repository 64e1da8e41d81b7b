"""One image of any kind -> uint8 pixels of the size that the network takes."""

import hashlib
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

Pixels = NDArray[np.uint8]

# Per channel count: the mode that pixels are converted to, and the modes that lose nothing that a
# network of so many channels could see (but for transparency).
_MODES: Final[Mapping[int, tuple[str, tuple[str, ...]]]] = {
    1: ("L", ("L", "1")),
    3: ("RGB", ("RGB", "RGBA", "P", "CMYK", "YCbCr")),
}


# What Pillow raises for a damaged file, by format.
_UNREADABLE: Final = (
    EOFError,
    Image.DecompressionBombError,
    IndexError,
    OSError,
    OverflowError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
)


class DataError(ValueError):
    """The images are missing, damaged, or not fit for their use."""


def decode_file(path: Path, *, channels: int) -> Pixels:
    """The pixels [h w c] or [h w] of an image file.

    Orientation tags are not followed, as they are not by torchvision's ImageFolder.

    Raises:
        DataError: the file is no readable image, or not of so many channels.
    """
    return _of_picture(picture(path), name=str(path), channels=channels)


def decode_as_it_is(path: Path) -> Pixels:
    """The pixels [h w] of a grey image file, or [h w 3] of a coloured one.

    Raises:
        DataError: the file is no readable image, or neither grey nor coloured in 8 bits.
    """
    image = picture(path)
    for channels, (_, allowed) in _MODES.items():
        if image.mode in allowed:
            return _of_picture(image, name=str(path), channels=channels)
    modes = ", ".join(mode for _, allowed in _MODES.values() for mode in allowed)
    raise DataError(
        f"{path} is neither grey nor coloured in 8 bits: its mode is {image.mode}, allowed are "
        f"{modes}; convert it"
    )


def picture(path: Path) -> Image.Image:
    """What an image file holds, in the mode that it has.

    Raises:
        DataError: the file is no readable image.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except _UNREADABLE as error:
        raise DataError(f"cannot decode {path}: {error}") from error
    return image


def _of_picture(image: Image.Image, *, name: str, channels: int) -> Pixels:
    mode, allowed = _MODES.get(channels, ("", ()))
    if image.mode not in allowed:
        raise DataError(
            f"{name} has {len(image.getbands())} channels (mode {image.mode}), and input.size says "
            f"{channels} (modes {', '.join(allowed) or 'none'}); set input.size to "
            f"[{len(image.getbands())}, h, w] if the network takes such images, or convert them"
        )
    return np.asarray(image if image.mode == mode else image.convert(mode))


def to_pixels(image: object, *, name: str, channels: int) -> Pixels:
    """The pixels [h w c] of what a data set gave; ``name`` is for the error message.

    Raises:
        DataError: it is no image, or not of so many channels.
    """
    match image:
        case Image.Image():
            return _of_picture(image, name=name, channels=channels)
        case Tensor(ndim=3) if image.dtype == torch.uint8:
            pixels: Pixels = image.permute(1, 2, 0).numpy(force=True)
            return pixels
        case np.ndarray(ndim=2 | 3) if image.dtype == np.uint8:
            return image
        case _:
            raise DataError(
                f"{name} is a {type(image).__name__} of {getattr(image, 'dtype', 'no dtype')}; "
                "allowed are a PIL image, a uint8 tensor [c h w] and a uint8 array [h w c], before "
                "any normalisation"
            )


def fit(pixels: Pixels, size: tuple[int, int, int], *, name: str) -> Pixels:
    """``pixels`` [h w c] or [h w] as [c h w] of exactly ``size`` (c, h, w).

    Another size is scaled, bilinear with antialiasing, until it just covers ``size``, and the
    middle is taken. An image of the right size is taken as it is.

    Raises:
        DataError: the channels do not fit.
    """
    channels, height, width = size
    rows = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if rows.shape[2] != channels:
        raise DataError(
            f"{name} has {rows.shape[2]} channels, and input.size says {channels}; correct "
            "input.size, or convert the images"
        )
    if rows.shape[:2] != (height, width):
        if channels not in _MODES:
            raise DataError(
                f"{name} is {list(rows.shape[:2])}, not {[height, width]}; images of {channels} "
                "channels are not resized, so give them in the size of input.size"
            )
        picture = Image.fromarray(rows[:, :, 0] if channels == 1 else rows)
        covered = ImageOps.fit(picture, (width, height), method=Image.Resampling.BILINEAR)
        rows = np.asarray(covered).reshape(height, width, channels)
    return rows.transpose(2, 0, 1)


def pixels_digest(pixels: Pixels) -> bytes:
    """sha256 of shape and values."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
