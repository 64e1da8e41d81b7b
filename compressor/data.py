"""Images as memory-mapped uint8 arrays, decoded once, and what must hold between two sets."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import PIL
from numpy.typing import NDArray

from compressor.config import Source
from compressor.data_sources import Listing, list_images
from compressor.files import atomic_path, digest
from compressor.image_files import ImageFiles
from compressor.pixels import DataError, Pixels, fit
from compressor.threads import in_threads
from compressor.wording import few

__all__ = [
    "DataError",
    "ImageSet",
    "UnlabelledSet",
    "check_classes",
    "check_disjoint",
    "check_same_classes",
    "labelled",
    "load_images",
    "split",
    "subset",
    "unlabelled",
]

# Part of every cache file's name, with Pillow's version; raise it when the same files would give
# other pixels.
_DECODER: Final = "pixels-1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """n images and their classes. Two sets hold the same when their digests are equal."""

    images: Pixels
    """[n c h w], channels first, before any normalisation; memory-mapped as loaded."""
    labels: NDArray[np.int64]
    """[n], positions in ``classes``."""
    ids: NDArray[np.uint64]
    """[n], the first 8 bytes (little endian) of the sha256 of an image's pixels [c h w]."""
    names: tuple[str, ...]
    """[n], for messages: the file's name, or the image's number."""
    classes: tuple[str, ...]
    digest: str
    """Of classes, labels and ids, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnlabelledSet:
    """n images whose classes nobody knows."""

    images: Pixels
    """[n c h w], as in an ``ImageSet``."""
    ids: NDArray[np.uint64]
    """[n], as in an ``ImageSet``."""
    names: tuple[str, ...]
    """[n], for messages."""
    digest: str
    """Of the ids, in their order."""


def load_images(source: Source, *, size: tuple[int, int, int], cache: Path, root: Path) -> ImageSet:
    """The images of ``source``, decoded into ``cache`` unless the same are there already.

    Images of another size are scaled until they just cover the size, bilinear with antialiasing,
    and cut to the middle. To evaluate in another way, give images that have the right size.

    Args:
        source: one of the kinds that compress.yaml knows.
        size: what the network takes: channels, height, width in pixels.
        cache: folder of decoded images; files in it are only ever added.
        root: the project's folder; importable while a factory makes its data set.

    Raises:
        DataError: saying which file, class or image is unusable, and why.
    """
    listing = list_images(source, size=size, root=root)
    if not listing.names:
        raise DataError(f"no images in the source {source!r}")
    return labelled(listing, size=size, cache=cache)


def labelled(listing: Listing, *, size: tuple[int, int, int], cache: Path) -> ImageSet:
    """The images of ``listing``, decoded as ``load_images`` says.

    Raises:
        DataError: a label out of range, or an image that is unusable.
    """
    _check_labels(listing)
    images, ids = _pixels(listing, size=size, cache=cache)
    return _image_set(images, listing.labels, ids, names=listing.names, classes=listing.classes)


def unlabelled(files: ImageFiles, *, size: tuple[int, int, int], cache: Path) -> UnlabelledSet:
    """The images of ``files``, decoded as ``load_images`` says.

    Raises:
        DataError: an image is unusable.
    """
    images, ids = _pixels(files, size=size, cache=cache)
    return UnlabelledSet(
        images=images, ids=ids, names=files.names, digest=digest(ids.astype("<u8").tobytes())
    )


def subset(images: ImageSet, indices: NDArray[np.integer] | Sequence[int]) -> ImageSet:
    """The images with these numbers, in this order, copied into memory."""
    chosen = np.asarray(indices, dtype=np.int64)
    return _image_set(
        images.images[chosen],
        images.labels[chosen],
        images.ids[chosen],
        names=tuple(images.names[index] for index in chosen),
        classes=images.classes,
    )


def split(images: ImageSet, *, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """(rest, part), where part has about ``fraction`` of the images.

    Whether an image goes into part hangs on ``seed`` and its own pixels alone: equal images go the
    same way, and neither the order nor the other images matter.

    Raises:
        DataError: the images are so few that a side is empty.
    """
    limit = int(fraction * 2**64)
    inside = np.array([_draw(seed, int(image)) < limit for image in images.ids])
    if inside.all() or not inside.any():
        raise DataError(
            f"a fraction of {fraction} of {len(inside)} images leaves one side empty; give more "
            "images or another fraction"
        )
    return subset(images, np.flatnonzero(~inside)), subset(images, np.flatnonzero(inside))


def check_disjoint(train: ImageSet, judged: ImageSet | UnlabelledSet, *, source: str) -> None:
    """No image of the gate may have been trained on, for its answer would prove nothing.

    Raises:
        DataError: with the number of equal images, and some of their names in ``source``.
    """
    shared = np.flatnonzero(np.isin(judged.ids, train.ids))
    if shared.size:
        examples = few(judged.names[index] for index in shared)
        raise DataError(
            f"{shared.size} of {len(judged.ids)} images of {source} are training images too, pixel "
            f"by pixel (in {source}: {examples}); remove them there or from data.train"
        )


def check_classes(images: ImageSet, outputs: int) -> None:
    """The network must have one output per class.

    Raises:
        DataError: with both numbers.
    """
    if len(images.classes) != outputs:
        raise DataError(
            f"the network has {outputs} outputs, and the images {len(images.classes)} classes "
            f"({few(images.classes)}); give images of the classes that it was trained on, in the "
            "same order (class folders count in alphabetical order)"
        )


def check_same_classes(train: ImageSet, gate: ImageSet) -> None:
    """A class must have the same position in both sets.

    Raises:
        DataError: with the classes that only one set has.
    """
    if train.classes != gate.classes:
        differing = sorted(set(train.classes) ^ set(gate.classes)) or ["their order"]
        raise DataError(
            f"data.train has {len(train.classes)} classes and data.gate {len(gate.classes)}; they "
            f"differ in {few(differing)}. A network answers with a class's position, so both need "
            "the same classes"
        )


def _image_set(
    images: Pixels,
    labels: NDArray[np.int64],
    ids: NDArray[np.uint64],
    *,
    names: tuple[str, ...],
    classes: tuple[str, ...],
) -> ImageSet:
    content = (json.dumps(classes), labels.astype("<i8").tobytes(), ids.astype("<u8").tobytes())
    return ImageSet(
        images=images, labels=labels, ids=ids, names=names, classes=classes, digest=digest(*content)
    )


def _check_labels(listing: Listing) -> None:
    outside = np.flatnonzero((listing.labels < 0) | (listing.labels >= len(listing.classes)))
    if outside.size:
        first = int(outside[0])
        raise DataError(
            f"{outside.size} labels are out of range: {listing.names[first]} has "
            f"{listing.labels[first]}; labels count from 0, and there are {len(listing.classes)} "
            "classes"
        )


class _Readable(Protocol):
    """What a decoder must know of a source: a ``Listing`` or ``ImageFiles``."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def digest(self) -> str: ...
    @property
    def read(self) -> Callable[[int], Pixels]: ...


def _pixels(
    source: _Readable, *, size: tuple[int, int, int], cache: Path
) -> tuple[Pixels, NDArray[np.uint64]]:
    """Pixels [n c h w], memory-mapped from ``cache``, and ids [n]; decoded if not there yet."""
    key = digest(_DECODER, PIL.__version__, json.dumps(size), source.digest)[:32]
    images_path, ids_path = cache / f"{key}.images.npy", cache / f"{key}.ids.npy"
    # The ids are written last: where they are, the images are whole.
    if not ids_path.exists():
        ids = _decode(source, images_path, size=size)
        with atomic_path(ids_path) as temporary, temporary.open("wb") as file:
            np.save(file, ids)
    try:
        return np.load(images_path, mmap_mode="r"), np.load(ids_path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"the cache {cache} is damaged ({error}); delete it and try again"
        ) from error


def _decode(source: _Readable, path: Path, *, size: tuple[int, int, int]) -> NDArray[np.uint64]:
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

        in_threads(decode, count)
        images.flush()
    return ids


def _id(pixels: Pixels) -> int:
    return int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:8], "little")


def _draw(seed: int, image: int) -> int:
    """A number below 2**64 that is as good as random, and always the same."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{image}".encode()).digest()[:8], "little")
