"""Masks of images: found, read, brought to the images' size, and checked once for all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from compressor.files import atomic_path, digest
from compressor.image_files import image_files, images_below
from compressor.labels import MOST_CLASSES, NOT_LABELLED, Mask
from compressor.pixels import DataError, picture
from compressor.threads import in_threads
from compressor.wording import few

# Part of every cache file's name; raise it when the same files would give other masks.
_DECODER: Final = "masks-1"

_ENDING: Final = ".png"

# Grey, and colours from a palette: what is stored are the numbers themselves.
_MODES: Final = ("L", "P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """The masks of a source's images, in the order of the images: all but their pixels."""

    names: tuple[str, ...]
    """For messages: the file's name, or the image's number."""
    digest: str
    """Of everything that decides the masks and their order."""
    read: Callable[[int], Mask]
    """The mask with this number; may be called from several threads."""
    image_size: Callable[[int], tuple[int, int]]
    """Height and width of its image, before any resizing."""


def mask_files(folder: Path, *, images: Path, names: Sequence[str]) -> Masks:
    """The mask of each image of these ``names`` below ``images``: the PNG of the same name.

    Raises:
        DataError: an image without a mask, a mask without an image, or two images of one name.
    """
    found = {_stem(n): n for n in images_below(folder) if n.lower().endswith(_ENDING)}
    stems = [_stem(name) for name in names]
    if len(set(stems)) < len(stems):
        doubled = sorted(name for name in names if stems.count(_stem(name)) > 1)
        raise DataError(
            f"images of {images} that differ in their ending alone have one mask together: "
            f"{few(doubled)}; rename them"
        )
    if missing := [name for name in names if _stem(name) not in found]:
        raise DataError(
            f"{len(missing)} of {len(names)} images of {images} have no mask: {few(missing)}; the "
            f"mask of {missing[0]} is {folder / (_stem(missing[0]) + _ENDING)}. Add it, or take "
            "the image away"
        )
    if more := sorted(found[stem] for stem in found.keys() - set(stems)):
        raise DataError(
            f"{len(more)} masks of {folder} have no image in {images}: {few(more)}; add the "
            "images, or take the masks away"
        )
    chosen = [found[stem] for stem in stems]
    return Masks(
        names=tuple(str(folder / name) for name in chosen),
        digest=image_files(folder, chosen, channels=1).digest,
        read=lambda index: _of_file(folder / chosen[index]),
        image_size=lambda index: _size_of(images / names[index]),
    )


def to_mask(mask: object, *, name: str) -> Mask | None:
    """The mask that a data set gave with an image; None if it is none.

    Raises:
        DataError: it is an image or an array, and no mask.
    """
    match mask:
        case Image.Image():
            return _of_picture(mask, name=name)
        case Tensor(ndim=2) if not mask.is_floating_point():
            return _of_array(mask.numpy(force=True), name=name)
        case np.ndarray(ndim=2) if np.issubdtype(mask.dtype, np.integer):
            return _of_array(mask, name=name)
        case Tensor() | np.ndarray() if mask.ndim > 0:
            raise DataError(
                f"the mask of {name} is {mask.dtype} {list(mask.shape)}; allowed are a grey or "
                "palette PIL image, and integers [h w]"
            )
        case _:
            return None


def mask_array(masks: NDArray[Any], *, images: Sequence[int], path: Path) -> Masks:
    """The masks [n h w] of an archive, whose images are [n h w c].

    Raises:
        DataError: they are no integers of 0..255, or not of the images' size.
    """
    if not np.issubdtype(masks.dtype, np.integer) or masks.shape != tuple(images[:3]):
        raise DataError(
            f"masks of {path} are {masks.dtype} {list(masks.shape)}, and its images "
            f"{list(images)}; masks are integers [n h w], one for each pixel of the images"
        )
    rows = _of_array(masks, name=str(path))
    return Masks(
        names=tuple(f"image {index} of {path}" for index in range(len(rows))),
        digest=digest(repr(rows.shape), rows.tobytes()),
        read=lambda index: rows[index],
        image_size=lambda index: rows[index].shape,
    )


def decoded(
    masks: Masks, *, size: tuple[int, int], classes: Sequence[str], cache: Path
) -> NDArray[np.uint8]:
    """Masks [n h w] of ``size``, memory-mapped from ``cache``; decoded if not there yet.

    Those of another size go the way of their image: scaled until they just cover the size, and cut
    to the middle; each pixel is the nearest one, for classes cannot be averaged.

    Raises:
        DataError: a mask is unreadable, not of its image's size, holds a class that there is not,
            or nothing at all; names it.
    """
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"{len(classes)} classes are more than the {MOST_CLASSES} that a mask can hold"
        )
    key = digest(_DECODER, PIL.__version__, repr(size), masks.digest)[:32]
    masks_path, facts_path = cache / f"{key}.masks.npy", cache / f"{key}.facts.npy"
    # The facts are written last: where they are, the masks are whole.
    if not facts_path.exists():
        facts = _decode(masks, masks_path, size=size)
        with atomic_path(facts_path) as temporary, temporary.open("wb") as file:
            np.save(file, facts)
    try:
        found, facts = np.load(masks_path, mmap_mode="r"), np.load(facts_path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"the cache {cache} is damaged ({error}); delete it and try again"
        ) from error
    _check(masks, facts, classes=classes, size=size)
    rows: NDArray[np.uint8] = found
    return rows


def fit_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """``mask`` as [h w] of exactly ``size``, cut as its image is, each pixel the nearest one."""
    if mask.shape == size:
        return mask
    height, width = size
    covered = ImageOps.fit(Image.fromarray(mask), (width, height), method=Image.Resampling.NEAREST)
    return np.asarray(covered)


def _decode(masks: Masks, path: Path, *, size: tuple[int, int]) -> NDArray[np.int64]:
    """Write all masks to ``path``; for each its largest class, or -1, and its labelled pixels."""
    count = len(masks.names)
    facts = np.empty((count, 2), dtype=np.int64)
    with atomic_path(path) as temporary:
        rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(count, *size))

        def decode(chunk: range) -> None:
            for index in chunk:
                mask, image = masks.read(index), masks.image_size(index)
                if mask.shape != image:
                    raise DataError(
                        f"{masks.names[index]} is {list(mask.shape)} pixels high and wide, and its "
                        f"image {list(image)}; a mask has its image's size"
                    )
                rows[index] = fit_mask(mask, size)
                known = rows[index][rows[index] != NOT_LABELLED]
                facts[index] = int(known.max(initial=0)) if known.size else -1, known.size

        in_threads(decode, count)
        rows.flush()
    return facts


def _check(
    masks: Masks, facts: NDArray[np.int64], *, classes: Sequence[str], size: tuple[int, int]
) -> None:
    outside = np.flatnonzero(facts[:, 0] >= len(classes))
    if outside.size:
        first = int(outside[0])
        raise DataError(
            f"{masks.names[first]} holds the class {facts[first, 0]}, and there are {len(classes)} "
            f"({few(classes)}), counted from 0; {NOT_LABELLED} is a pixel that nobody labelled. "
            f"{outside.size} masks are so"
        )
    empty = np.flatnonzero(facts[:, 1] == 0)
    if empty.size:
        raise DataError(
            f"{masks.names[int(empty[0])]} has no labelled pixel at {size[0]} x {size[1]}: all are "
            f"{NOT_LABELLED}, so that no answer to its image is right or wrong; take the image "
            f"away. {empty.size} masks are so"
        )


def _stem(name: str) -> str:
    return name[: name.rindex(".")]


def _of_file(path: Path) -> Mask:
    return _of_picture(picture(path), name=str(path))


def _of_picture(image: Image.Image, *, name: str) -> Mask:
    if image.mode not in _MODES:
        raise DataError(
            f"{name} is a picture of mode {image.mode}, and the pixels of a mask are numbers of "
            f"classes (modes {', '.join(_MODES)}); save it as a grey or palette PNG"
        )
    return np.asarray(image)


def _of_array(values: NDArray[Any], *, name: str) -> Mask:
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if not 0 <= low <= high <= NOT_LABELLED:
        raise DataError(
            f"the masks of {name} go from {low} to {high}; classes count from 0, and "
            f"{NOT_LABELLED} is a pixel that nobody labelled"
        )
    return values.astype(np.uint8)


def _size_of(path: Path) -> tuple[int, int]:
    """Height and width of an image file, by its header."""
    with Image.open(path) as image:
        return image.height, image.width
