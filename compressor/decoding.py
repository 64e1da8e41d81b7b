"""The pixels of a source of images, decoded once into files that are mapped into memory."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import PIL
from numpy.typing import NDArray

from compressor.files import atomic_path, digest
from compressor.pixels import DataError, Pixels, fit
from compressor.threads import in_threads

# Part of every cache file's name, with Pillow's version; raise it when the same files would give
# other pixels.
_DECODER: Final = "pixels-1"


Told = Callable[[int, int], None]
"""Hears how many of how many are done."""


class _Readable(Protocol):
    """What a decoder must know of a source: a ``Listing`` or ``ImageFiles``."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def digest(self) -> str: ...
    @property
    def read(self) -> Callable[[int], Pixels]: ...


def decoded_pixels(
    source: _Readable, *, size: tuple[int, int, int], cache: Path, told: Told | None = None
) -> tuple[Pixels, NDArray[np.uint64]]:
    """Pixels [n c h w], memory-mapped from ``cache``, and ids [n]; decoded if not there yet.

    ``told`` hears how many are decoded, and of how many; nothing if all are there.

    Raises:
        DataError: an image is unusable, or the cache is damaged.
    """
    key = digest(_DECODER, PIL.__version__, json.dumps(size), source.digest)[:32]
    images_path, ids_path = cache / f"{key}.images.npy", cache / f"{key}.ids.npy"
    # The ids are written last: where they are, the images are whole.
    if not ids_path.exists():
        ids = _decode(source, images_path, size=size, told=told)
        with atomic_path(ids_path) as temporary, temporary.open("wb") as file:
            np.save(file, ids)
    try:
        return np.load(images_path, mmap_mode="r"), np.load(ids_path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"the cache {cache} is damaged ({error}); delete it and try again"
        ) from error


def _decode(
    source: _Readable, path: Path, *, size: tuple[int, int, int], told: Told | None
) -> NDArray[np.uint64]:
    """Write the pixels of all images to ``path``; their ids."""
    count = len(source.names)
    ids = np.empty(count, dtype=np.uint64)
    with atomic_path(path) as temporary:
        images = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.uint8, shape=(count, *size)
        )

        def decode(chunk: range) -> None:
            for index in chunk:
                images[index] = fit(source.read(index), size, name=source.names[index])
                ids[index] = _id(images[index])

        in_threads(decode, count, on_done=None if told is None else lambda n: told(n, count))
        images.flush()
    return ids


def _id(pixels: Pixels) -> int:
    return int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:8], "little")
