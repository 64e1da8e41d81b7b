"""Image files in folders: which there are, what they hold, how to read them."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compressor.files import digest
from compressor.pixels import DataError, Pixels, decode_file
from compressor.threads import in_threads
from compressor.wording import few

_EXTENSIONS: Final = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """Images and nothing that is said about them: all but their pixels."""

    names: tuple[str, ...]
    """Paths relative to their folder, with "/" on every system."""
    digest: str
    """Of names and contents, in their order."""
    read: Callable[[int], Pixels]
    """Pixels [h w c] of the image with this number; may be called from several threads."""


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in ``folder``, in alphabetical order.

    Raises:
        DataError: there is no such folder, or none in it.
    """
    expected = f"expected {folder}/<class>/<image>.jpg"
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; {expected}")
    names = sorted(
        entry.name for entry in folder.iterdir() if _visible(entry.name) and entry.is_dir()
    )
    if not names:
        raise DataError(f"{folder} has no class folders; {expected}")
    return tuple(names)


def images_by_class(folder: Path, classes: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Names of the images of each class folder, relative to ``folder``, at any depth.

    Raises:
        DataError: naming the class folders without images, or what cannot be read.
    """
    found = tuple(tuple(sorted(_below(folder, name))) for name in classes)
    if empty := [name for name, images in zip(classes, found, strict=True) if not images]:
        raise DataError(
            f"no images in the class folders {few(empty)} of {folder}; allowed are "
            f"{', '.join(_EXTENSIONS)}. Add images, or remove the folder"
        )
    return found


def images_below(folder: Path) -> tuple[str, ...]:
    """Names of all images in ``folder``, relative to it, at any depth.

    Raises:
        DataError: there is no such folder, no image in it, or something that cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; expected image files in it, at any depth")
    names = tuple(sorted(_below(folder, "")))
    if not names:
        raise DataError(f"no images in {folder}; allowed are {', '.join(_EXTENSIONS)}")
    return names


def image_files(folder: Path, names: Sequence[str], *, channels: int) -> ImageFiles:
    """The images of these names, whose files are read once for their digest.

    Raises:
        DataError: a file cannot be read, or ``channels`` is not what image files have.
    """
    if channels not in (1, 3):
        raise DataError(
            f"image files have 1 or 3 channels, and input.size says {channels}; give an npz or a "
            "factory"
        )

    def read(index: int) -> Pixels:
        return decode_file(folder / names[index], channels=channels)

    contents = _file_digests(folder, names)
    return ImageFiles(
        names=tuple(names),
        digest=digest(*(part for pair in zip(names, contents, strict=True) for part in pair)),
        read=read,
    )


def _visible(name: str) -> bool:
    return not name.startswith(".")


def _below(root: Path, name: str) -> Iterator[str]:
    """Names of the images below ``root / name``, relative to ``root``."""
    for place, folders, files in os.walk(root / name, followlinks=True, onerror=_refuse):
        here = Path(place)
        # A link to a folder above would give its images again, once for every turn.
        above = {path.resolve() for path in (here, *here.parents)}
        folders[:] = [n for n in folders if _visible(n) and (here / n).resolve() not in above]
        prefix = here.relative_to(root)
        images = (file for file in filter(_visible, files) if file.lower().endswith(_EXTENSIONS))
        yield from ((prefix / file).as_posix() for file in images)


def _refuse(error: OSError) -> None:
    raise DataError(f"cannot read {error.filename}: {error.strerror or error}") from error


def _file_digests(root: Path, names: Sequence[str]) -> Iterator[bytes]:
    def of_chunk(chunk: range) -> list[bytes]:
        return [hashlib.sha256(_content(root / names[index])).digest() for index in chunk]

    return (found for chunk in in_threads(of_chunk, len(names)) for found in chunk)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
